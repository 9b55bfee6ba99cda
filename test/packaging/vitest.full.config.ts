import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

// Long tests of other runtimes and bundlers.
export default defineConfig(
  testOptions({
    include: ["test/packaging/*.full.test.ts"],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 1_200_000,
  }),
);
