// Facts about this system that decide whether the addon loads, and what it can use.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

/** Returns the C library of a Linux system, for example "glibc 2.36" or "musl". */
export function systemLibc(): string | undefined {
  const { platform, report } = process;
  if (platform !== "linux" || !report) return undefined;
  (report as { excludeNetwork?: boolean }).excludeNetwork = true; // DNS look-ups may take seconds
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : "musl";
}

/** Returns the memory limit of a container or a service in bytes, or undefined without a limit. */
export function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory?.();
  return limit !== undefined && limit > 0 && limit < totalmem() ? limit : undefined;
}

/** Returns how many processors a container may use, if its control group limits them: for example 1.5. */
export function processorLimit(read: (path: string) => string | undefined = fileText): number | undefined {
  // Version 2 of cgroups has one file, "quota period" or "max period". Version 1 has two, and its quota is -1 without a limit.
  const [quota, period] = read("/sys/fs/cgroup/cpu.max")?.trim().split(" ") ?? [
    read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
  ];
  const limit = Number(quota) / Number(period);
  return limit > 0 && Number.isFinite(limit) ? limit : undefined;
}

/** Returns the version of the NVIDIA driver, for example "580.82.07". Undefined if there is no driver. */
export function nvidiaDriver(read: (path: string) => string | undefined = fileText): string | undefined {
  if (process.platform === "win32") {
    const query = ["--query-gpu=driver_version", "--format=csv,noheader"];
    const { status, stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8", timeout: 10_000 });
    return status === 0 ? stdout.trim().split("\n", 1)[0] : undefined;
  }
  return /Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)/.exec(read("/proc/driver/nvidia/version") ?? "")?.[1];
}

/**
 * Returns the oldest driver that runs kernels built with a version of CUDA. Returns undefined for an unknown version. Only CUDA's major
 * version matters. Source: "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility", CUDA release notes.
 */
export function neededDriver(toolkit: string | undefined): string | undefined {
  return { 11: "450", 12: "525", 13: "580" }[toolkit?.split(".")[0] ?? ""];
}

function fileText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
