import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

export default defineConfig(
  testOptions({
    include: ["test/packaging/*.test.ts"],
    exclude: ["test/packaging/*.full.test.ts"],
    // A prebuild temporarily moves the checkout's addon, which other test files copy.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 1_200_000,
  }),
);
