// Facts about the machine that identify results: the card, the driver, CUDA and the commit.
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { join } from "node:path";
import { root } from "../testing.mjs";

/** Returns what a command prints, or undefined if it fails. */
function printed(command, args, options) {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8", timeout: 20_000, ...options });
  return status === 0 ? stdout.trim() : undefined;
}

/** Runs a command of bash that may call the functions of preflight.sh. Returns what it prints, or undefined if it fails. */
function examined(command, ...args) {
  const preflight = join(root, "scripts", "gpu-check", "preflight.sh");
  return printed("bash", ["-c", `. "$0"; smi_seconds=20; ${command}`, preflight, ...args], { timeout: 90_000 });
}

let known;
/** Returns CUDA's first card, which CUDA_VISIBLE_DEVICES may select, and nvidia-smi's option for it. Undefined without a card. */
function firstCard() {
  if (known) return known;
  const printing = `printf '%s\\n' "$card" "$capability" "$driver" "\${card_option[@]-}"`;
  const lines = examined(`read_card; ${printing}`)?.split("\n");
  if (!lines) return undefined;
  const [name, capability, driver, ...option] = lines;
  known = { facts: { name, compute_cap: capability, driver_version: driver }, option };
  return known;
}

/** Returns the properties of CUDA's first card according to nvidia-smi, with its clocks at this moment. Undefined without a card. */
export function deviceFacts() {
  const card = firstCard();
  if (!card) return undefined;
  const ask = (names) => {
    const query = [...card.option, `--query-gpu=${names.join(",")}`, "--format=csv,noheader"];
    const values = examined('smi "$@"', ...query)
      ?.split("\n")[0]
      .split(", ");
    return values && Object.fromEntries(names.map((name, i) => [name, values[i]]));
  };
  const names = ["memory.total", "clocks.sm", "clocks.mem", "clocks.max.sm"];
  // Drivers rename the reasons, and nvidia-smi fails if it does not know one of the names.
  return { ...card.facts, ...(ask([...names, "clocks_throttle_reasons.active"]) ?? ask(names)) };
}

/** Returns the commit, with "-dirty" after changes. A copy without git takes it from HEDDLE_COMMIT. */
function commit() {
  const hash = printed("git", ["rev-parse", "--short", "HEAD"], { cwd: root });
  if (hash === undefined || hash === "") return process.env.HEDDLE_COMMIT ?? "unknown";
  return printed("git", ["status", "--porcelain", "--untracked-files=no"], { cwd: root }) === ""
    ? hash
    : `${hash}-dirty`;
}

/** @param {"gpu" | "emulator" | "simulator" | "no-gpu"} mode */
export function machineFacts(mode) {
  const device = deviceFacts();
  const simulated = { emulator: "emulated device", simulator: "simulated device", "no-gpu": "no device" }[mode];
  return {
    gpu: simulated ?? device?.name ?? "unknown",
    ...(device && { computeCapability: device.compute_cap, driver: device.driver_version }),
    cuda: /release ([\d.]+),/.exec(printed("nvcc", ["--version"]) ?? "")?.[1] ?? "none",
    commit: commit(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    node: process.versions.node,
  };
}
