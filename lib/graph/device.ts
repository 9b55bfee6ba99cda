import type { CpuInfo, NativeLaneHandle } from "../binding/graph.ts";
import { binding } from "../binding/index.ts";
import type { BuildInfo } from "../binding/info.ts";
import { counted } from "../core/amounts.ts";
import { checkObject, HeddleError, invalidArgument } from "../core/errors.ts";
import { brand } from "../core/instanceof.ts";
import { checkFlag, checkWhole } from "../core/option-values.ts";
import { knownChoices } from "./tuning.ts";

/** A device that programs run on, and its lane: the one native thread that executes the device's work in first-in first-out order. */
export class Device {
  /** The kind of device. */
  readonly kind: "cpu" | "cuda";
  /** `cpu`, `cuda:0`, … */
  readonly name: string;
  /** Number of worker threads of the device's lane. */
  readonly threads: number;
  /** Whether f32 matrix products round their operands to tf32. */
  readonly allowTf32: boolean;
  /** @internal */ readonly lane: NativeLaneHandle;

  /** @internal */ constructor(threads: number, cudaDevice?: number, allowTf32 = false) {
    this.kind = cudaDevice === undefined ? "cpu" : "cuda";
    this.name = cudaDevice === undefined ? "cpu" : `cuda:${cudaDevice}`;
    this.threads = threads;
    this.allowTf32 = allowTf32;
    this.lane = new binding.NativeLane(threads, cudaDevice, allowTf32);
  }

  /** Whether the device multiplies bf16 faster than f32. */
  get multipliesBf16(): boolean {
    return this.kind === "cuda" || ["avx512bf16", "amx", "neoni8mm"].includes(binding.cpuInfo().isa);
  }

  /** Returns `cuda:0`, or `cpu (8 threads)`. */
  toString(): string {
    return this.kind === "cuda" ? this.name : `cpu (${counted(this.threads, "thread")})`;
  }

  /** @internal Size in bytes of the arena that the device keeps between runs. The next run reuses it. */
  get arenaBytes(): number {
    return this.lane.arenaBytes;
  }

  /** @internal Whether the device has failed for good. Every use of it then fails with DEVICE_LOST, until the process is restarted. */
  get isLost(): boolean {
    return this.lane.isLost;
  }

  static {
    brand(Device, "Device");
  }
}

/** Requires a device. @throws HeddleError INVALID_ARGUMENT */
export function checkDevice(device: unknown): asserts device is Device {
  if (!(device instanceof Device)) throw invalidArgument("device", "a Device, from openDevice()", device);
}

/** Returns how many bytes of memory the process can still allocate, within the limits of its container. */
export function availableBytes(): number {
  return binding.availableMemory();
}

const devices = new Map<string, Device>();

/** Options of `openDevice`. */
export interface DeviceOptions {
  /**
   * The device's name: `auto`, `cpu`, `cuda` or `cuda:N`. Default: HEDDLE_DEVICE, or `auto`. `auto` means the CPU for now, because the
   * CUDA kernels have not run on hardware yet. If there is a CUDA device, one warning says so.
   */
  device?: string | Device | undefined;
  /**
   * Number of CPU threads. Default: HEDDLE_THREADS, or the smaller of the number of CPUs and the CPU limit of the control group (a
   * container's `--cpus`, a pod's limit).
   */
  threads?: number | undefined;
  /**
   * Whether f32 matrix products on CUDA devices round their operands to tf32 (10 mantissa bits instead of 23) and use tensor cores, like
   * `torch.backends.cuda.matmul.allow_tf32`. Default: true if HEDDLE_ALLOW_TF32 is 1. The CPU ignores it.
   */
  allowTf32?: boolean | undefined;
}

/**
 * Opens a device. In one JavaScript thread, calls with the same settings return the same Device, so their models share its lane.
 * If `device` is a Device, returns it and ignores the other options.
 * @throws HeddleError INVALID_ARGUMENT for another name, UNSUPPORTED without the device, its driver or its kernels, DEVICE_LOST if it
 * has failed or is not available
 */
export function openDevice(options: DeviceOptions = {}): Device {
  checkObject("options", options);
  const {
    device = process.env.HEDDLE_DEVICE || "auto",
    threads,
    allowTf32 = process.env.HEDDLE_ALLOW_TF32 === "1",
  } = options;
  if (device instanceof Device) return device;
  checkFlag("allowTf32", allowTf32);
  if (typeof device !== "string" || !/^(auto|cpu|cuda(:\d+)?)$/.test(device))
    throw invalidArgument("device", "auto, cpu, cuda or cuda:N", device);
  if (device.startsWith("cuda")) return openCuda(device, allowTf32);
  if (device === "auto") warnOfUnusedGpu();
  const count =
    threads ?? (process.env.HEDDLE_THREADS ? Number(process.env.HEDDLE_THREADS) : binding.cpuInfo().threads);
  checkWhole("threads", count, 1, 1024);
  return cachedDevice(`cpu/${count}`, () => new Device(count));
}

function cachedDevice(key: string, open: () => Device): Device {
  let found = devices.get(key);
  if (!found) {
    found = open();
    devices.set(key, found);
  }
  return found;
}

/** Returns a lost device of `openDevice`, or undefined. */
export function lostDevice(): Device | undefined {
  return [...devices.values()].find((device) => device.isLost);
}

let hasWarned = false;

/** Warns once if the CPU is used although there is a GPU. */
function warnOfUnusedGpu(): void {
  if (hasWarned) return;
  hasWarned = true;
  const [first] = binding.info().cuda.devices;
  if (first)
    process.emitWarning(
      `device auto is the CPU: the CUDA kernels have not run on hardware yet; device "cuda" asks for ${first.name}`,
      { type: "HeddleWarning", code: "HEDDLE_AUTO_DEVICE" },
    );
}

function openCuda(name: string, allowTf32: boolean): Device {
  const { cuda } = binding.info();
  const index = Number(name.split(":")[1] ?? 0);
  const found = cuda.devices.find((device) => device.index === index);
  if (!found) {
    const names = ["cpu", ...cuda.devices.map((device) => `cuda:${device.index}`)].join(", ");
    const message = `device: expected a device of this machine (${names}), got ${name} (${absence(cuda)}); the device "cpu" still works`;
    throw new HeddleError("UNSUPPORTED", message);
  }
  // A CUDA device needs only one thread: the one that queues the kernels.
  return cachedDevice(`cuda/${index}${allowTf32 ? "/tf32" : ""}`, () => {
    const opened = new Device(1, index, allowTf32);
    opened.lane.choose([...knownChoices(found)]);
    return opened;
  });
}

/** Explains why a CUDA device is missing. */
function absence({ built, toolkit, devices: present, problem }: BuildInfo["cuda"]): string {
  if (!built) return "a build without CUDA";
  const count = `${present.length} CUDA device${present.length === 1 ? "" : "s"}`;
  if (problem !== undefined) return `${count}: ${problem}`;
  if (present.length > 0) return count;
  return `${count}: no NVIDIA driver, but this build needs one for CUDA ${toolkit} or newer`;
}

/** The result of `deviceInfo`: this build, its CUDA devices, and the CPU. */
export interface DeviceInfo extends BuildInfo {
  /** The processor, with the instruction sets that heddle uses. */
  cpu: CpuInfo;
}

/** Returns the properties of this build and this machine. */
export function deviceInfo(): DeviceInfo {
  return { ...binding.info(), cpu: binding.cpuInfo() };
}
