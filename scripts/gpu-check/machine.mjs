// Facts about the machine that identify results: the card, the driver, CUDA and the commit.
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { root } from "../testing.mjs";

/** Returns what a command prints, or undefined if it fails. */
function printed(command, args, options) {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8", timeout: 20_000, ...options });
  return status === 0 ? stdout.trim() : undefined;
}

/** Returns the properties of the first device according to nvidia-smi, or undefined. */
export function deviceFacts() {
  const query =
    "name,compute_cap,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks_throttle_reasons.active";
  const values = printed("nvidia-smi", [`--query-gpu=${query}`, "--format=csv,noheader"])
    ?.split("\n")[0]
    .split(", ");
  return values && Object.fromEntries(query.split(",").map((name, i) => [name, values[i]]));
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
