import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

export default defineConfig(
  testOptions({
    include: ["test/packaging/*.test.ts"],
    exclude: ["test/packaging/*.full.test.ts"],
    // A prebuild moves the checkout's addon for a while, which others copy.
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 1_200_000,
  }),
);
