// Tests the CUDA kernels without a GPU. nvcc compiles them to PTX, which runs on native/simulator instead of the CUDA runtime.
//
//   npm run test:simulator [-- [--fast] [PATH ...]]
//
// First tests the simulator itself (test/simulator). Then, for devices of compute capability 8.0 and 9.0: the fragments and small cases of
// every kernel (test/emulator), and vitest with HEDDLE_DEVICE=cuda on PATHs, or on the op cases, models and training runs. Needs nvcc, which
// compiles for ten minutes. --fast, for .ci/run, stops after the first step, which needs no nvcc.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildAddon, deviceTests, finished, report, root, runVitest, testPaths } from "./testing.mjs";

const asked = process.argv.slice(2);
const fast = asked.includes("--fast");
const folder = join(root, ".cmake", "simulator");
const results = [];

async function program(name, path, env = {}, ...args) {
  const start = performance.now();
  const { status, output } = await finished([path, ...args], { ...process.env, ...env });
  console.log(`\n--- ${name}\n${output}`);
  done(name, status === 0, start);
  report({ numPassedTests: Number(status === 0), numFailedTests: Number(status !== 0) });
}
function done(name, passed, start) {
  results.push({ name, passed, seconds: (performance.now() - start) / 1000 });
}

const options = ["--simulator", "-D", "HEDDLE_TESTS=ON"];
buildAddon(...options, "--target", "simulator_reports");
await program("the simulator itself", join(folder, "simulator_reports"));
if (!fast) {
  buildAddon(...options);
  if (!existsSync(join(folder, "cuda_kernels"))) {
    console.error("test:simulator: nvcc was not found: it compiles the kernels to PTX");
    process.exit(1);
  }
  const paths = testPaths(
    asked.filter((argument) => argument !== "--fast"),
    [...deviceTests.ops, ...deviceTests.models],
  );
  for (const device of ["sm_80", "sm_90"]) {
    const env = { HEDDLE_SIMULATOR: device };
    await program(`PTX fragments, ${device}`, join(folder, "cuda_fragments"), env);
    await program(`kernels, ${device}`, join(folder, "cuda_kernels"), env);
    await program(`small benchmark, ${device}`, join(folder, "cuda_bench"), env, "--quick");
    const start = performance.now();
    const binary = join(folder, "heddle.node");
    // One CPU thread simulates thousands of CUDA threads, so tests may take long.
    const passed = runVitest(paths, { ...env, HEDDLE_DEVICE: "cuda", HEDDLE_BINARY: binary }, "--testTimeout=1200000");
    done(`op cases, models and training, ${device}`, passed, start);
  }
}
console.log("\nSimulated CUDA device:");
for (const { name, passed, seconds } of results)
  console.log(`  ${name.padEnd(40)} ${passed ? "passed" : "FAILED"} ${seconds.toFixed(0).padStart(5)} s`);
process.exit(results.every(({ passed }) => passed) ? 0 : 1);
