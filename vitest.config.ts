import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { publishedClients } from "./test/serve/clients/resolve.ts";

const lib = (path: string) => fileURLToPath(new URL(`lib/${path}`, import.meta.url));

const processors = availableParallelism();

/**
 * The options that every test run shares. HEDDLE_TEST_REPORT names a folder that receives one JSON report for each
 * run, so that .ci/run can add them up.
 */
export function testOptions(options: NonNullable<ViteUserConfig["test"]>): ViteUserConfig {
  const folder = process.env.HEDDLE_TEST_REPORT;
  return {
    plugins: [publishedClients()],
    // Examples import the package by its name.
    resolve: {
      alias: [
        { find: /^heddle$/, replacement: lib("index.ts") },
        { find: /^heddle\/graph$/, replacement: lib("graph-entry.ts") },
        { find: /^heddle\/serve$/, replacement: lib("serve/index.ts") },
        { find: /^heddle\/tokenizer$/, replacement: lib("tokenizer/index.ts") },
      ],
    },
    test: {
      pool: "forks",
      // All processors where there are one or two, else one is left free, as vitest does even of two.
      maxWorkers: processors > 2 ? processors - 1 : processors,
      // What hangs is found late, but a machine that is slow for a while fails nothing.
      testTimeout: 180_000,
      hookTimeout: 180_000,
      reporters: folder ? ["default", ["json", { outputFile: join(folder, `${process.pid}.json`) }]] : ["default"],
      ...options,
    },
  };
}

// Packaging needs a prebuild (npm run test:packaging), test/cuda a device of its own and test/emulator an emulated one
// (npm run test:emulator).
const exclude = ["test/packaging/**", "test/cuda/**", "test/emulator/**"];
// It forces the portable set itself.
if (process.env.HEDDLE_ISA) exclude.push("test/ops/baseline.test.ts");
// Sanitizers change how long things take.
if (process.env.HEDDLE_SANITIZED) exclude.push("test/tokenizer/sharing/growth.test.ts");
// They look at a clock that other work on the machine moves: each runs by itself, after the others.
const clocked = [
  "test/bench/planted.test.ts",
  "test/constrain/attacks.test.ts",
  "test/data/packing.test.ts",
  "test/data/parquet/parquet.test.ts",
  "test/gpu-check/plain.test.ts",
  "test/gpu-check/runner.test.ts",
  "test/inference/lifetime.test.ts",
  "test/graph/abort.test.ts",
  "test/process/event-loop.test.ts",
  "test/process/lane.test.ts",
  "test/serve/http/clients.test.ts",
  "test/serve/http/large-bodies.test.ts",
  "test/serve/http/limits.test.ts",
  "test/tokenizer/start.test.ts",
  "test/train/world/peer-watch.test.ts",
  "test/train/world/watched-world.test.ts",
];

/** The tests of a run, and those that look at a clock after them. `more` holds further options of the first. */
export const projects = (more: { exclude?: string[]; testTimeout?: number }) => [
  {
    extends: true as const,
    test: {
      name: "unit",
      include: ["test/**/*.test.ts"],
      ...more,
      exclude: [...exclude, ...clocked, ...(more.exclude ?? [])],
    },
  },
  { extends: true as const, test: { name: "clock", include: clocked, fileParallelism: false } },
];

// Long sets are called x.full.test.ts (npm run test:full).
export default defineConfig(testOptions({ projects: projects({ exclude: ["test/**/*.full.test.ts"] }) }));
