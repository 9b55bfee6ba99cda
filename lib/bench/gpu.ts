import { spawnSync } from "node:child_process";
import { type Device, deviceInfo } from "../graph/index.ts";

const indexOf = (device: Device) => Number(device.name.split(":")[1]);

/** Queries nvidia-smi for fields of a card. Returns undefined if nvidia-smi is missing or does not know the card. */
function ask(device: Device, fields: readonly string[]): string[] | undefined {
  // CUDA numbers only the visible cards, and nvidia-smi all cards, so map the index through CUDA_VISIBLE_DEVICES.
  const visible = (process.env.CUDA_VISIBLE_DEVICES ?? "").split(",").filter(Boolean);
  const index = visible[indexOf(device)] ?? String(indexOf(device));
  const { status, stdout } = spawnSync(
    "nvidia-smi",
    [`--id=${index}`, `--query-gpu=${fields.join(",")}`, "--format=csv,noheader,nounits"],
    { encoding: "utf8", timeout: 10_000 },
  );
  const values = status === 0 ? stdout.trim().split(", ") : [];
  return values.length === fields.length ? values : undefined;
}

/** Returns the GPU's name, compute capability, number of multiprocessors, driver version and maximum clock rate. */
export function gpuFacts(device: Device): Record<string, string | number> {
  const info = deviceInfo().cuda.devices[indexOf(device)];
  const [driver, most] = ask(device, ["driver_version", "clocks.max.sm"]) ?? [];
  return {
    gpu: info?.name ?? "unknown",
    ...(info && { computeCapability: info.computeCapability, multiprocessors: info.multiprocessors }),
    ...(driver !== undefined && { driver }),
    ...(most !== undefined && { mostMHz: Number(most) }),
  };
}

/** Returns the current clock of the multiprocessors in MHz, or an empty array if it is unknown. */
export function gpuClock(device: Device): number[] {
  const [clock] = ask(device, ["clocks.sm"]) ?? [];
  return clock !== undefined && Number.isFinite(Number(clock)) ? [Number(clock)] : [];
}
