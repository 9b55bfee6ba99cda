import { availableParallelism } from "node:os";
import { binding, type NativeLaneHandle } from "../binding.ts";
import { HeddleError, invalidArgument } from "../errors.ts";

/** Where programs run: a device and the one native thread (its lane) that takes work for it, first-in first-out. */
export class Device {
  readonly kind: "cpu";
  readonly threads: number;
  /** @internal */ readonly lane: NativeLaneHandle;

  /** @internal */ constructor(kind: "cpu", threads: number) {
    this.kind = kind;
    this.threads = threads;
    this.lane = new binding.NativeLane(threads);
  }
  toString(): string {
    return `${this.kind} (${this.threads} thread${this.threads === 1 ? "" : "s"})`;
  }
}

const devices = new Map<string, Device>();

export interface DeviceOptions {
  /** `auto` is the fastest device there is. */
  device?: string | Device | undefined;
  /** Worker threads of the CPU; HEDDLE_THREADS or the number of cores where not given. */
  threads?: number | undefined;
}

/**
 * The device of a name: `auto`, `cpu`, `cuda`, `cuda:N`. One lane serves every model on a device in this thread.
 * @throws HeddleError INVALID_ARGUMENT for another name, UNSUPPORTED where the device is not there
 */
export function openDevice({ device = "auto", threads }: DeviceOptions = {}): Device {
  if (device instanceof Device) return device;
  if (!/^(auto|cpu|cuda(:\d+)?)$/.test(device)) throw invalidArgument("device", "auto, cpu, cuda or cuda:N", device);
  if (device.startsWith("cuda")) {
    const { cuda } = binding.info();
    throw new HeddleError(
      "UNSUPPORTED",
      `device: expected one that this build computes on (cpu), got ${device} (CUDA ${cuda.built ? "toolkit present" : "not built in"}, ${cuda.devices.length} devices; its kernels are not part of this version)`,
    );
  }
  const count = threads ?? (process.env.HEDDLE_THREADS ? Number(process.env.HEDDLE_THREADS) : availableParallelism());
  if (!Number.isInteger(count) || count < 1 || count > 1024)
    throw invalidArgument("threads", "an integer of 1 to 1024", count);
  const key = `cpu/${count}`;
  let found = devices.get(key);
  if (!found) {
    found = new Device("cpu", count);
    devices.set(key, found);
  }
  return found;
}

/** What this build and this machine offer. */
export function deviceInfo() {
  return { ...binding.info(), cpu: { ...binding.cpuInfo(), threads: availableParallelism() } };
}
