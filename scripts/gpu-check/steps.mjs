// The steps of scripts/gpu-check.sh, in order. Phase "correctness": tests, then compute-sanitizer, which finds errors that tests do not show.
// Phase "bench": products and attention, what the benchmarks are compared with, then heddle's other benchmarks.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deviceTests, root } from "../testing.mjs";
import { deviceFacts } from "./machine.mjs";
import { forecastStep, profile, sanitizer, torchPeer } from "./tools.mjs";

/** @typedef {"gpu" | "emulator" | "simulator" | "no-gpu"} Mode */
/** @typedef {"correctness" | "bench"} Phase */
/** @type {readonly Phase[]} */
export const phases = ["correctness", "bench"];

const node = process.execPath;
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
// Runs from the sources, so that only the addon must be built.
const heddle = [node, join(root, "node_modules", "jiti", "lib", "jiti-cli.mjs"), join(root, "lib", "cli", "main.ts")];
/** Suites of `heddle bench` that compute on the device, with a time limit in seconds. The suite gemm includes products of one row. */
const benchSuites = { gemm: 120, attention: 100, rows: 80, vocabulary: 80, inference: 100, train: 100 };

/** Returns the simulated device that is most like the machine's card. */
const likeCard = () => (deviceFacts()?.compute_cap === "9.0" ? "sm_90" : "sm_80");

/** Removes a build folder of another checkout, such as that of a copy, which CMake would reject. */
export function removeOtherBuild(folder, checkout = root) {
  const cache = join(folder, "CMakeCache.txt");
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, "utf8"))?.[1];
  if (home !== checkout) rmSync(folder, { recursive: true });
}

/**
 * @param {{ mode: Mode, phase: Phase, out: string }} options
 * @returns {import("./runner.mjs").Step[]}
 */
export function stepsOf({ mode, phase, out }) {
  const built = join(root, ".cmake", mode === "no-gpu" ? "release" : mode);
  const emulated = mode === "emulator";
  const program = (name) => join(built, `${emulated ? "emulator" : "cuda"}_${name}`);
  const env = {
    HEDDLE_BINARY: join(built, "heddle.node"),
    HEDDLE_DEVICE: "cuda",
    ...(emulated && { HEDDLE_EMULATE_CUDA: "1" }),
    ...(mode === "simulator" && { HEDDLE_SIMULATOR: process.env.HEDDLE_SIMULATOR || likeCard() }),
  };
  const build = {
    name: "build",
    seconds: 1500, // more than a phase has, because a slow build has not failed, and the next call continues it
    least: 10,
    prepare: () => removeOtherBuild(built),
    command: [
      node,
      join(root, "scripts", "build-addon.mjs"),
      ...["-D", "HEDDLE_TESTS=ON"],
      // Kernels for other instruction sets of the CPU take longer to compile than all CUDA kernels.
      ...(mode === "gpu" ? ["-D", "HEDDLE_ISAS=baseline;neon", "--build-dir", built] : []),
      ...(emulated || mode === "simulator" ? [`--${mode}`] : []),
    ],
  };
  const about = { mode, out, program, env, why: { emulator: "emulated device", simulator: "simulated device" }[mode] };
  if (mode === "no-gpu") return phase === "bench" ? [] : [build, ...withoutGpu(about)];
  return [build, ...(phase === "bench" ? benches(about) : checks(about))];
}

function checks({ mode, program, env, why }) {
  const simulated = mode === "simulator";
  // An emulated or simulated device takes minutes for what a card does in seconds.
  const time = (onCard, otherwise) => (why === undefined ? onCard : otherwise);
  const tests = (name, paths, seconds, ...options) => {
    const report = join(tmpdir(), `heddle-gpu-check-${process.pid}-${name}.json`); // a temporary file; its counts and failures go into the summary
    return {
      name,
      seconds,
      least: 10,
      // The time limit of a test is that of its step, so that only the step's limit matters.
      command: [
        node,
        vitest,
        "run",
        ...options,
        ...paths,
        `--testTimeout=${seconds * 1000}`,
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${report}`,
      ],
      env,
      after: ["build"],
      facts: () => testFacts(report),
      // The simulator runs these for hours: npm run test:simulator.
      ...(simulated && { absent: () => why, extra: true }),
    };
  };
  const native = (name, seconds, ...args) => ({
    name,
    seconds,
    command: [program(name), ...args],
    env,
    after: ["build"],
  });
  return [
    { name: "info", seconds: time(20, 120), command: [...heddle, "info", "--json"], env, after: ["build"] },
    native("fragments", time(30, 120)),
    // Cases with this prefix are enough to try the step.
    native("kernels", time(80, 300), ...(simulated ? ["rows"] : [])),
    tests("runs", ["test/cuda"], 60, "--config", join(root, "test", "cuda", "vitest.config.ts")),
    tests("ops", deviceTests.ops, time(120, 500)),
    tests(
      "models",
      mode === "emulator" ? deviceTests.quick : [...deviceTests.models, ...deviceTests.large],
      time(120, 500),
    ),
    ...["memcheck", "racecheck", "synccheck", "initcheck"].map((tool) => sanitizer(tool, program("kernels"), env, why)),
  ];
}

function benches({ out, env: common, why }) {
  const env = { ...common, HEDDLE_TUNING: "off" }; // without the choices of earlier autotunes on this machine
  const bench = (name, seconds, args, more = {}) => ({
    name,
    seconds: why === undefined ? seconds : 5 * seconds,
    least: 15,
    command: [...heddle, "bench", ...args, "--device", "cuda", "--json", ...(why ? ["--quick"] : [])],
    stdout: join(out, `${name}.json`),
    env: { ...env, ...more },
    after: ["build"],
    facts: () => ({ device: deviceFacts(), results: benchFacts(join(out, `${name}.json`)) }),
  });
  const suites = Object.entries(benchSuites).map(([suite, seconds]) =>
    bench(`bench-${suite}`, seconds, [suite, "--rounds", "5"]),
  );
  // The comparisons come early, because the time may not suffice for the slow suites.
  const quick = 2;
  return [
    ...suites.slice(0, quick),
    torchPeer(out, why),
    forecastStep(out, why),
    ...suites.slice(quick),
    bench("bench-tf32", 60, ["gemm", "--rounds", "3"], { HEDDLE_ALLOW_TF32: "1" }),
    {
      name: "autotune",
      seconds: why === undefined ? 90 : 450,
      least: 20,
      command: [
        ...heddle,
        ...["autotune", "--device", "cuda", "--json", "--training", "bf16", "--out", join(out, "tuning.json")],
        ...(why ? ["--rows", "8", "--rounds", "1"] : []),
      ],
      stdout: join(out, "autotune.json"),
      env,
      after: ["build"],
    },
    profile("gemm", "regex:tensor|sm90", [...heddle, "bench"], out, env, why),
    profile("attention", "regex:attention|gradient", [...heddle, "bench"], out, env, why),
  ];
}

/**
 * Returns a command that runs another, and fails unless that ends with `status` and prints a line that matches. Its output
 * goes to stderr too. `tee` appends to it, because it would truncate the log that stderr is.
 */
export function printing(pattern, status, command) {
  const script = `"\${@:3}" | tee -a /dev/stderr | grep "$1" >/dev/null; s=("\${PIPESTATUS[@]}"); [ "\${s[0]}" = "$2" ] && [ "\${s[2]}" = 0 ]`;
  return ["bash", "-c", script, "bash", pattern, String(status), ...command];
}

function withoutGpu({ program, env }) {
  // The program must exit with 1 and a message that names the number of devices, 0.
  const refuses = (name) => ({
    name: `${name} without a GPU`,
    seconds: 20,
    command: printing("one of the 0 CUDA devices", 1, [program(name)]),
    env: { CUDA_VISIBLE_DEVICES: "" },
    after: ["build"],
  });
  return [
    { name: "static gates", seconds: 500, command: [node, join(root, "scripts", "check-cuda.mjs")] },
    {
      name: "info without a GPU",
      seconds: 20,
      command: printing('"cudaDevices": *0\\b', 0, [...heddle, "info", "--json"]),
      env: { HEDDLE_BINARY: env.HEDDLE_BINARY, CUDA_VISIBLE_DEVICES: "" },
      after: ["build"],
    },
    refuses("fragments"),
    refuses("kernels"),
  ];
}

/** Reads vitest's report: the counts, and the first line of each failure. */
function testFacts(report) {
  if (!existsSync(report)) return undefined;
  const text = readFileSync(report, "utf8");
  rmSync(report);
  const { numPassedTests: passed, numTotalTests: total, testResults } = JSON.parse(text);
  const failures = testResults.flatMap(({ assertionResults, message, name }) => [
    ...(message && assertionResults.length === 0 ? [`${name}: ${message.split("\n")[0]}`] : []),
    ...assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => `${fullName}: ${(failureMessages[0] ?? "").split("\n")[0]}`),
  ]);
  return { tests: { passed, total }, failures: failures.slice(0, 60) };
}

function benchFacts(file) {
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, "utf8").trim();
  if (!text) return undefined; // the bench did not finish; its output is in the log
  return JSON.parse(text).results.map(({ name, value, unit, roofline, dataSheet, interval }) => ({
    name,
    value,
    unit,
    roofline,
    dataSheet,
    interval,
  }));
}

/** Returns the names of all steps, for messages. */
export const stepNames = () => [
  ...new Set(
    ["gpu", "no-gpu"].flatMap((mode) =>
      phases.flatMap((phase) => stepsOf({ mode, phase, out: "." }).map(({ name }) => name)),
    ),
  ),
];
