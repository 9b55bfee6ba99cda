// Tests the CUDA kernels without a GPU. They are compiled as C++ and run on native/emulator, with the tests of the CPU kernels.
//
//   npm run test:emulator [-- [--fast] PATH ...]
//
// Runs the PTX fragments and small cases of every kernel under the race detector. Then runs the mutations of
// test/emulator/mutants.mjs, each of which must be detected, and the runtime's tests and vitest with HEDDLE_DEVICE=cuda. --fast is for
// .ci/run: one build without the race detector and mutations, the fragments and kernels in every order, the runtime, two models and a training run.
//
// An emulated device uses one CPU thread, so this script runs independent steps in parallel.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { deviceTests, report, root, testPaths } from "./testing.mjs";

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

/** Runs a program. Prints its output when it has ended, because other programs run in parallel. Returns true if it exits with 0. */
function step(name, program, args, more = {}) {
  const start = performance.now();
  return new Promise((done) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...more },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    const end = (passed) => {
      results[name] = { passed, seconds: (performance.now() - start) / 1000 };
      console.log(`\n--- ${name}: ${[program, ...args].join(" ").replaceAll(root, ".")}\n${output}`);
      done(passed);
    };
    child.on("error", (error) => {
      output += error.message;
      end(false);
    });
    child.on("close", (status) => end(status === 0));
  });
}
async function program(name, path, ...args) {
  const passed = await step(name, path, args);
  report({ numPassedTests: Number(passed), numFailedTests: Number(!passed) });
}
async function build(option) {
  const script = join(root, "scripts", "build-addon.mjs");
  if (!(await step(`build ${option}`, process.execPath, [script, "-D", "HEDDLE_TESTS=ON", option]))) process.exit(1);
}
const vitest = (name, args, more = {}) =>
  step(name, process.execPath, [join(root, "node_modules", "vitest", "vitest.mjs"), "run", ...args], {
    ...env,
    ...more,
  });
/** Runs the native test programs of a build. `kernels` names the step of emulator_kernels. */
async function programs(folder, kernels) {
  await program("the choice of a product's kernel", join(folder, "cuda_choice"));
  await program("the sizes of strips", join(folder, "cuda_decoded"));
  await program("PTX fragments", join(folder, "emulator_fragments"));
  await program("what the emulator reports", join(folder, "emulator_ptx"));
  await program("descriptors and tensor maps", join(folder, "emulator_encodings"));
  await program(kernels, join(folder, "emulator_kernels"));
  await program("small benchmark", join(folder, "emulator_bench"), "--quick");
}

if (fast) {
  await build("--emulator");
  await programs(emulator, "kernels in every order");
} else {
  await build("--races");
  await Promise.all([programs(races, "kernels under the race detector"), build("--emulator")]);
  const mutants = join(root, "test", "emulator", "mutants.mjs");
  await program("mutations", process.execPath, mutants, "--checked");
}
// One CPU thread emulates thousands of CUDA threads, so tests may take long.
const patient = "--testTimeout=1200000";
const steps = [
  vitest("runtime", ["--config", join(root, "test", "cuda", "vitest.config.ts")]),
  vitest(fast ? "models and training" : "op cases, models and training", [...paths, patient]),
];
if (!fast)
  steps.push(
    vitest("products and attention of sm_90", [...deviceTests.ops, "-t", "attention|linear", patient], {
      HEDDLE_EMULATE_CUDA: "sm_90",
    }),
  );
await Promise.all(steps);
console.log("\nEmulated CUDA device:");
for (const [name, { passed, seconds }] of Object.entries(results))
  console.log(`  ${name.padEnd(32)} ${passed ? "passed" : "FAILED"} ${seconds.toFixed(0).padStart(5)} s`);
process.exit(Object.values(results).every(({ passed }) => passed) ? 0 : 1);
