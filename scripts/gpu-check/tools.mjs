// Steps that run other tools than heddle's: compute-sanitizer, ncu, PyTorch, and the forecast.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { benchValue, cardOf } from "../cuda/forecast.mjs";
import { root } from "../testing.mjs";
import { deviceFacts } from "./machine.mjs";

/** Returns the path of a tool of the CUDA toolkit, or undefined. */
function toolkit(name) {
  const found = spawnSync("bash", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
  if (found) return found;
  const nested = { "compute-sanitizer": "compute-sanitizer/compute-sanitizer" };
  const cuda = process.env.CUDA_HOME ?? "/usr/local/cuda";
  const places = [join(cuda, "bin", name), join(cuda, nested[name] ?? name)];
  return places.find((path) => existsSync(path));
}

/** The exit status that compute-sanitizer is asked to use for findings. */
const FINDINGS = 9;
/** How findings begin, which compute-sanitizer prints before its summary. */
const BEGINNINGS = [
  "Invalid ",
  "Misaligned ",
  "Uninitialized ",
  "Barrier error",
  "(?:Error|Warning): (?:Race|Potential)",
  "Program hit ",
];

/**
 * Decides about a run of compute-sanitizer by its report. A finding is a failure, even if the time ended before the program. Without a report,
 * the tool does not work on this machine.
 */
export function judgeSanitizer({ code, timedOut, output }) {
  const [, count] = /(?:ERROR SUMMARY: |RACECHECK SUMMARY: )(\d+)/.exec(output) ?? [];
  if (code === FINDINGS || Number(count) > 0) return { status: "failed", why: `${count ?? "some"} findings` };
  const early = new RegExp(`^========= ((?:${BEGINNINGS.join("|")}).*)$`, "m").exec(output);
  if (early) return { status: "failed", why: early[1] };
  if (timedOut) return { status: "no time", why: "no finding until the time ended" };
  if (count === undefined)
    return { status: "skipped", why: `compute-sanitizer does not work here (exit status ${code})` };
  return code === 0 ? { status: "passed" } : { status: "failed", why: `the program ended with exit status ${code}` };
}

export function sanitizer(tool, program, env, why) {
  const found = toolkit("compute-sanitizer");
  return {
    name: tool,
    seconds: 150,
    least: 20,
    command: [
      found ?? "compute-sanitizer",
      ...["--tool", tool, "--error-exitcode", String(FINDINGS), "--print-limit", "20"],
      program,
    ],
    env,
    after: ["kernels"],
    absent: () => why ?? (found ? undefined : "compute-sanitizer is not installed"),
    judge: judgeSanitizer,
    ...(why && { extra: true }),
  };
}

/** Profiles the main kernels of a suite with ncu, which reports their share of peak compute and of peak memory bandwidth. */
export function profile(suite, kernels, bench, out, env, why) {
  const found = toolkit("ncu");
  return {
    name: `ncu-${suite}`,
    seconds: 60,
    least: 20,
    // Clocks are not changed, because other processes may measure on the same GPU.
    command: [
      found ?? "ncu",
      ...["--clock-control", "none", "--target-processes", "all", "--kernel-name", kernels, "--launch-count", "16"],
      ...["--section", "SpeedOfLight", "--section", "LaunchStats", "--section", "Occupancy"],
      ...["--csv", "--log-file", join(out, `ncu-${suite}.csv`)],
      ...[...bench, suite, "--rounds", "1", "--device", "cuda"],
    ],
    env: { ...env, HEDDLE_CUDA_GRAPHS: "0" },
    after: ["build"],
    extra: true,
    absent: () => why ?? (found ? undefined : "ncu is not installed"),
  };
}

/** Runs the same benchmarks in PyTorch, for comparison, if python3 has it. */
export function torchPeer(out, why) {
  const file = join(out, "torch.json");
  const program = "import torch, sys; sys.exit(not torch.cuda.is_available())";
  // The outer timeout does not wait for a process that SIGKILL does not end, because it waits in the driver.
  const limits = ["-s", "KILL", "62", "timeout", "-k", "1", "60"];
  const there = () => spawnSync("timeout", [...limits, "python3", "-c", program], { stdio: "ignore" }).status === 0;
  return {
    name: "torch",
    seconds: 120,
    least: 20,
    command: ["python3", join(root, "bench", "peers", "torch", "torch_cuda.py")],
    stdout: file,
    extra: true,
    absent: () => why ?? (there() ? undefined : "python3 has no torch with a CUDA device"),
    facts: () => ({ results: existsSync(file) ? latestResults(readFileSync(file, "utf8")) : undefined }),
  };
}

/** Returns the results of the peer's last complete line. Each line has all results so far, and a step that is cut short may leave half a line. */
export function latestResults(text) {
  const lines = text.split("\n").slice(0, -1);
  return lines.length > 0 ? JSON.parse(lines.at(-1)).results : undefined;
}

/** Predicts the results of the benchmarks from the machine code, for cards whose rates scripts/cuda/cards.mjs has. */
export function forecastStep(out, why) {
  const file = join(out, "forecast.json");
  const card = why ? undefined : cardOf(deviceFacts()?.name);
  return {
    name: "forecast",
    seconds: 120,
    least: 15,
    command: [process.execPath, join(root, "scripts", "cuda-forecast.mjs"), "--card", String(card), "--json"],
    stdout: file,
    extra: true,
    absent: () => why ?? (card ? undefined : "scripts/cuda/cards.mjs does not have the card"),
    facts: () => ({ results: existsSync(file) ? forecastResults(readFileSync(file, "utf8")) : undefined }),
  };
}

/** Returns the predicted results by the names and in the units of `heddle bench`. */
export function forecastResults(json) {
  return JSON.parse(json)
    .flatMap(({ results }) => results)
    .flatMap((result) => (result.bench ?? []).map((name) => ({ name, value: benchValue(result) })));
}
