// The CUDA kernels without a GPU: compiled as C++ and run on native/emulator, in the tests that the CPU's kernels pass too.
//
//   npm run test:emulator [-- [--fast] PATH ...]
//
// The PTX fragments and small cases of every kernel under the race detector, then the planted mistakes of test/emulator/mutants.mjs,
// each of which must be noticed, then the runtime's tests and vitest with HEDDLE_DEVICE=cuda. --fast is what .ci/run has time for: one
// build without races and mistakes, the fragments and kernels in every order, the runtime, two models and a training run.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildWithTests, deviceTests, report, root, runVitest, testPaths } from "./testing.mjs";

const asked = process.argv.slice(2);
const fast = asked.includes("--fast");
const paths = testPaths(
  asked.filter((argument) => argument !== "--fast"),
  fast ? deviceTests.quick : [...deviceTests.ops, ...deviceTests.models],
);
const emulator = join(root, ".cmake", "emulator");
const races = join(root, ".cmake", "races");
const env = { HEDDLE_EMULATE_CUDA: "1", HEDDLE_DEVICE: "cuda", HEDDLE_BINARY: join(emulator, "heddle.node") };
const results = {};

function step(name, work) {
  const start = performance.now();
  const passed = work();
  results[name] = { passed, seconds: (performance.now() - start) / 1000 };
}
function program(name, path, ...args) {
  step(name, () => {
    console.log(`\n--- ${[path, ...args].join(" ").replace(root, ".")}`);
    const passed = spawnSync(path, args, { stdio: "inherit", cwd: root }).status === 0;
    report({ numPassedTests: Number(passed), numFailedTests: Number(!passed) });
    return passed;
  });
}
const build = (option) =>
  step(`build ${option}`, () => {
    buildWithTests(option);
    return true;
  });

if (fast) {
  build("--emulator");
  program("the choice of a product's kernel", join(emulator, "cuda_choice"));
  program("PTX fragments", join(emulator, "emulator_fragments"));
  program("what the emulator reports", join(emulator, "emulator_ptx"));
  program("kernels in every order", join(emulator, "emulator_kernels"));
} else {
  build("--races");
  program("the choice of a product's kernel", join(races, "cuda_choice"));
  program("PTX fragments", join(races, "emulator_fragments"));
  program("what the emulator reports", join(races, "emulator_ptx"));
  program("kernels under the race detector", join(races, "emulator_kernels"));
  program("planted mistakes", process.execPath, join(root, "test", "emulator", "mutants.mjs"));
  build("--emulator");
}
const config = ["--config", join(root, "test", "cuda", "vitest.config.ts")];
step("runtime", () => runVitest([], env, ...config));
// Several CPU threads stand for thousands of CUDA ones: a test takes as long as it takes.
step(fast ? "models and training" : "op cases, models and training", () =>
  runVitest(paths, env, "--testTimeout=1200000"),
);
if (!fast)
  step("products and attention of sm_90", () =>
    runVitest(
      deviceTests.ops,
      { ...env, HEDDLE_EMULATE_CUDA: "sm_90" },
      "-t",
      "attention|linear",
      "--testTimeout=1200000",
    ),
  );
console.log("\nEmulated CUDA device:");
for (const [name, { passed, seconds }] of Object.entries(results))
  console.log(`  ${name.padEnd(32)} ${passed ? "passed" : "FAILED"} ${seconds.toFixed(0).padStart(5)} s`);
process.exit(Object.values(results).every(({ passed }) => passed) ? 0 : 1);
