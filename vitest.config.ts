import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

const lib = (path: string) => fileURLToPath(new URL(`lib/${path}`, import.meta.url));

/**
 * The options that every test run shares. HEDDLE_TEST_REPORT names a folder that receives one JSON report for each
 * run, so that .ci/run can add them up.
 */
export function testOptions(options: NonNullable<ViteUserConfig["test"]>): ViteUserConfig {
  const folder = process.env.HEDDLE_TEST_REPORT;
  return {
    // Examples import the package by its name.
    resolve: {
      alias: [
        { find: /^heddle$/, replacement: lib("index.ts") },
        { find: /^heddle\/graph$/, replacement: lib("graph/index.ts") },
      ],
    },
    test: {
      pool: "forks",
      // A processor is left free where there are more than two: half of the time on two.
      maxWorkers: Math.max(2, availableParallelism() - 1),
      testTimeout: 60_000,
      reporters: folder ? ["default", ["json", { outputFile: join(folder, `${process.pid}.json`) }]] : ["default"],
      ...options,
    },
  };
}

// Long sets are called x.full.test.ts (npm run test:full); packaging needs a prebuild (npm run test:packaging), test/cuda a device of
// its own and test/emulator an emulated one (npm run test:emulator).
export default defineConfig(
  testOptions({
    include: ["test/**/*.test.ts"],
    exclude: ["test/packaging/**", "test/cuda/**", "test/emulator/**", "test/**/*.full.test.ts"],
  }),
);
