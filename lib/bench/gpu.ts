import { spawnSync } from "node:child_process";
import { type Device, deviceInfo } from "../graph/index.ts";

const indexOf = (device: Device) => Number(device.name.split(":")[1]);

/** Queries nvidia-smi for fields of a card. Returns undefined if nvidia-smi is missing or does not know the card. */
function queryNvidiaSmi(device: Device, fields: readonly string[]): string[] | undefined {
  // Indices do not name the card: CUDA numbers only the visible cards, and sorts them differently.
  const id = deviceInfo().cuda.devices[indexOf(device)]?.pciBusId;
  if (id === undefined) return undefined;
  const { status, stdout } = spawnSync(
    "nvidia-smi",
    [`--id=${id}`, `--query-gpu=${fields.join(",")}`, "--format=csv,noheader,nounits"],
    { encoding: "utf8", timeout: 10_000 },
  );
  const values = status === 0 ? stdout.trim().split(", ") : [];
  return values.length === fields.length ? values : undefined;
}

/** Returns the value as an array of one number, or an empty array if nvidia-smi does not know it: `[N/A]`. */
function numbersIn(value: string | undefined): number[] {
  return value !== undefined && Number.isFinite(Number(value)) ? [Number(value)] : [];
}

/** Returns the GPU's name, compute capability, number of multiprocessors, driver version and maximum clock rate. */
export function gpuFacts(device: Device): Record<string, string | number> {
  const info = deviceInfo().cuda.devices[indexOf(device)];
  const [driver, maxClock] = queryNvidiaSmi(device, ["driver_version", "clocks.max.sm"]) ?? [];
  const maxMHz = numbersIn(maxClock);
  return {
    gpu: info?.name ?? "unknown",
    ...(info && { computeCapability: info.computeCapability, multiprocessors: info.multiprocessors }),
    ...(driver !== undefined && { driver }),
    ...(maxMHz.length > 0 && { maxMHz: maxMHz[0]! }),
  };
}

/** Returns an array of the multiprocessors' current clock in MHz, empty if it is unknown. */
export function gpuClock(device: Device): number[] {
  const [clock] = queryNvidiaSmi(device, ["clocks.sm"]) ?? [];
  return numbersIn(clock);
}
