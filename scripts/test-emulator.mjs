// The CUDA kernels without a GPU: compiled as C++ and run on native/emulator, in the tests that the CPU's kernels pass too.
//
//   npm run test:emulator [-- PATH ...]
//
// First the PTX fragments and small cases of every kernel under the race detector, then the planted mistakes of
// test/emulator/mutants.mjs, each of which must be noticed, then vitest with HEDDLE_DEVICE=cuda.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildWithTests, root, runVitest, testPaths } from "./testing.mjs";

const paths = testPaths(process.argv.slice(2), [
  "test/ops/ops.test.ts",
  "test/ops/empty.test.ts",
  "test/generate/golden.test.ts",
  "test/generate/fixtures.test.ts",
  "test/train/stories260k.test.ts",
]);
const emulator = join(root, ".cmake", "emulator");
const races = join(root, ".cmake", "races");
const env = { HEDDLE_EMULATE_CUDA: "1", HEDDLE_DEVICE: "cuda", HEDDLE_BINARY: join(emulator, "heddle.node") };

function runs(program, ...args) {
  console.log(`\n--- ${[program, ...args].join(" ").replace(root, ".")}`);
  return spawnSync(program, args, { stdio: "inherit", cwd: root }).status === 0;
}

buildWithTests("--races");
buildWithTests("--emulator");
const results = {
  "PTX fragments": runs(join(races, "emulator_ptx")),
  "kernels under the race detector": runs(join(races, "emulator_kernels")),
  "planted mistakes": runs(process.execPath, join(root, "test", "emulator", "mutants.mjs")),
  // Several CPU threads stand for thousands of CUDA ones: a test takes as long as it takes.
  "op cases and models": runVitest(paths, env, "--testTimeout=1200000"),
};
console.log("\nEmulated CUDA device:");
for (const [name, passed] of Object.entries(results))
  console.log(`  ${name.padEnd(32)} ${passed ? "passed" : "FAILED"}`);
process.exit(Object.values(results).every(Boolean) ? 0 : 1);
