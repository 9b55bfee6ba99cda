// The steps of scripts/gpu-check.sh, in order: tests, then tools that find errors which tests do not show, then benchmarks.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cardOf } from "../cuda/forecast.mjs";
import { deviceTests, root } from "../testing.mjs";

const node = process.execPath;
const EMULATED = "the device is emulated";
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
// Runs from the sources, so that only the addon must be built.
const heddle = [node, join(root, "node_modules", "jiti", "lib", "jiti-cli.mjs"), join(root, "lib", "cli", "main.ts")];

/** Returns the properties of the first device according to nvidia-smi, or undefined. */
export function deviceFacts() {
  const query = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks_throttle_reasons.active";
  const { status, stdout } = spawnSync("nvidia-smi", [`--query-gpu=${query}`, "--format=csv,noheader"], {
    encoding: "utf8",
    timeout: 20_000,
  });
  if (status !== 0) return undefined;
  const values = stdout.trim().split("\n")[0].split(", ");
  return Object.fromEntries(query.split(",").map((name, i) => [name, values[i]]));
}

/**
 * @param {{ mode: "gpu" | "emulator" | "no-gpu", out: string }} options
 * @returns {import("./runner.mjs").Step[]}
 */
export function stepsOf({ mode, out }) {
  const emulated = mode === "emulator";
  const built = join(root, ".cmake", { gpu: "gpu", emulator: "emulator", "no-gpu": "release" }[mode]);
  const program = (name) => join(built, `${emulated ? "emulator" : "cuda"}_${name}`);
  const device = {
    HEDDLE_BINARY: join(built, "heddle.node"),
    HEDDLE_DEVICE: "cuda",
    ...(emulated && { HEDDLE_EMULATE_CUDA: "1" }),
  };
  const build = {
    name: "build",
    seconds: 170,
    command: [
      node,
      join(root, "scripts", "build-addon.mjs"),
      ...["-D", "HEDDLE_TESTS=ON"],
      // Kernels for other instruction sets of the CPU take longer to compile than all CUDA kernels.
      ...(mode === "gpu" ? ["-D", "HEDDLE_ISAS=baseline;neon", "--build-dir", built] : []),
      ...(emulated ? ["--emulator"] : []),
    ],
  };
  if (mode === "no-gpu") return [build, ...withoutGpu(program, device)];

  const tests = (name, paths, seconds, ...options) => {
    const report = join(tmpdir(), `heddle-gpu-check-${process.pid}-${name}.json`); // a temporary file; its counts and failures go into the summary
    return {
      name,
      seconds,
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
      env: device,
      after: ["build"],
      facts: () => testFacts(report),
    };
  };
  const bench = (name, seconds, args, env = {}) => ({
    name,
    seconds,
    command: [...heddle, "bench", ...args, "--device", "cuda", "--json"],
    stdout: join(out, `${name}.json`),
    env: { ...device, ...env },
    after: ["build"],
    facts: () => ({ device: deviceFacts(), results: benchFacts(join(out, `${name}.json`)) }),
  });
  const small = emulated ? ["--quick"] : [];
  return [
    build,
    { name: "info", seconds: 20, command: [...heddle, "info", "--json"], env: device, after: ["build"] },
    { name: "fragments", seconds: 30, command: [program("fragments")], env: device, after: ["build"] },
    { name: "kernels", seconds: emulated ? 120 : 40, command: [program("kernels")], env: device, after: ["build"] },
    tests("runs", ["test/cuda"], 60, "--config", join(root, "test", "cuda", "vitest.config.ts")),
    tests("ops", deviceTests.ops, emulated ? 500 : 90),
    tests("models", emulated ? deviceTests.quick : [...deviceTests.models, ...deviceTests.large], emulated ? 500 : 100),
    ...["memcheck", "racecheck", "synccheck", "initcheck"].map((tool) =>
      sanitizer(tool, program("kernels"), device, emulated),
    ),
    bench("bench-kernels", 90, ["gemm", "attention", "rows", "--rounds", "5", ...small]),
    bench("bench-tf32", 30, ["gemm", "--rounds", "3", ...small], { HEDDLE_ALLOW_TF32: "1" }),
    bench("bench-models", 90, ["inference", "train", "--rounds", "3", ...small]),
    torchPeer(out, emulated),
    profile("gemm", "regex:tensor|sm90", out, device, emulated),
    profile("attention", "regex:attention|gradient", out, device, emulated),
    {
      name: "autotune",
      seconds: 60,
      command: [
        ...heddle,
        ...["autotune", "--device", "cuda", "--json", "--training", "bf16", "--out", join(out, "tuning.json")],
        ...(emulated ? ["--rows", "8", "--rounds", "1"] : []),
      ],
      stdout: join(out, "autotune.json"),
      env: device,
      after: ["build"],
    },
    forecastStep(out, emulated),
  ];
}

/** Predicts the results of the benchmarks from the machine code, for cards whose rates scripts/cuda/cards.mjs has. */
function forecastStep(out, emulated) {
  const file = join(out, "forecast.json");
  const card = emulated ? undefined : cardOf(deviceFacts()?.name);
  return {
    name: "forecast",
    seconds: 120,
    command: [node, join(root, "scripts", "cuda-forecast.mjs"), "--card", String(card), "--json"],
    stdout: file,
    optional: true,
    absent: () => (emulated ? EMULATED : card ? undefined : "scripts/cuda/cards.mjs does not have the card"),
    facts: () => ({ results: existsSync(file) ? forecastResults(readFileSync(file, "utf8")) : undefined }),
  };
}

/** Returns the predicted results by the names and in the units of `heddle bench`, which have thousandths of the forecast's. */
export function forecastResults(json) {
  return JSON.parse(json)
    .flatMap(({ results }) => results)
    .filter(({ unit }) => unit !== "ms")
    .flatMap(({ bench = [], value }) => bench.map((name) => ({ name, value: value * 1e3 })));
}

/** Runs the same benchmarks in PyTorch, for comparison, if python3 has it. */
function torchPeer(out, emulated) {
  const file = join(out, "torch.json");
  const there = () =>
    spawnSync("python3", ["-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"], {
      stdio: "ignore",
      timeout: 60_000,
    }).status === 0;
  return {
    name: "torch",
    seconds: 60,
    command: ["python3", join(root, "bench", "peers", "torch", "torch_cuda.py")],
    stdout: file,
    optional: true,
    absent: () => (emulated ? EMULATED : there() ? undefined : "python3 has no torch with a CUDA device"),
    facts: () => ({ results: existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).results : undefined }),
  };
}

/**
 * Returns a command that runs another, and fails unless that ends with `status` and prints a line that matches. Its output
 * goes to stderr too. `tee` appends to it, because it would truncate the log that stderr is.
 */
export function printing(pattern, status, command) {
  const script = `"\${@:3}" | tee -a /dev/stderr | grep "$1" >/dev/null; s=("\${PIPESTATUS[@]}"); [ "\${s[0]}" = "$2" ] && [ "\${s[2]}" = 0 ]`;
  return ["bash", "-c", script, "bash", pattern, String(status), ...command];
}

function withoutGpu(program, device) {
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
      env: { HEDDLE_BINARY: device.HEDDLE_BINARY, CUDA_VISIBLE_DEVICES: "" },
      after: ["build"],
    },
    refuses("fragments"),
    refuses("kernels"),
  ];
}

/** Returns the path of a tool of the CUDA toolkit, or undefined. */
function toolkit(name) {
  const found = spawnSync("bash", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
  if (found) return found;
  const nested = { "compute-sanitizer": "compute-sanitizer/compute-sanitizer" };
  const places = [join("/usr/local/cuda/bin", name), join("/usr/local/cuda", nested[name] ?? name)];
  return places.find((path) => existsSync(path));
}

function sanitizer(tool, program, env, emulated) {
  const found = toolkit("compute-sanitizer");
  return {
    name: tool,
    seconds: 25,
    command: [found ?? "compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", program],
    env,
    after: ["kernels"],
    optional: true,
    absent: () => (emulated ? EMULATED : found ? undefined : "compute-sanitizer is not installed"),
  };
}

/** Profiles the main kernels of a suite with ncu, which reports their share of peak compute and of peak memory bandwidth. */
function profile(suite, kernels, out, env, emulated) {
  const found = toolkit("ncu");
  return {
    name: `ncu-${suite}`,
    seconds: 40,
    // Clocks are not changed, because other processes may measure on the same GPU.
    command: [
      found ?? "ncu",
      ...["--clock-control", "none", "--target-processes", "all", "--kernel-name", kernels, "--launch-count", "16"],
      ...["--section", "SpeedOfLight", "--section", "LaunchStats", "--section", "Occupancy"],
      ...["--csv", "--log-file", join(out, `ncu-${suite}.csv`)],
      ...[...heddle, "bench", suite, "--rounds", "1", "--device", "cuda"],
    ],
    env: { ...env, HEDDLE_CUDA_GRAPHS: "0" },
    after: ["kernels"],
    optional: true,
    absent: () => (emulated ? EMULATED : found ? undefined : "ncu is not installed"),
  };
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
  return JSON.parse(text).results.map(({ name, value, unit, roofline, dataSheet }) => ({
    name,
    value,
    unit,
    roofline,
    dataSheet,
  }));
}

/** Returns the names of all steps, for messages. */
export const stepNames = () => [
  ...new Set(["gpu", "no-gpu"].flatMap((mode) => stepsOf({ mode, out: "." }).map(({ name }) => name))),
];
