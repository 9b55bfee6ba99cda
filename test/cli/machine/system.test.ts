import { expect, test } from "vitest";
import { neededDriver, nvidiaDriver, processorLimit } from "../../../lib/cli/machine/system.ts";

const files = (texts: Record<string, string>) => (path: string) => texts[path];

test("reads the CPU limit from a cgroup v2", () => {
  expect(processorLimit(files({ "/sys/fs/cgroup/cpu.max": "150000 100000\n" }))).toBe(1.5);
  expect(processorLimit(files({ "/sys/fs/cgroup/cpu.max": "max 100000\n" }))).toBeUndefined();
});

test("reads the CPU limit from a cgroup v1", () => {
  const group = (quota: string) =>
    files({ "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota, "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n" });
  expect(processorLimit(group("200000\n"))).toBe(2);
  expect(processorLimit(group("-1\n"))).toBeUndefined();
});

test("reports no CPU limit without a cgroup", () => {
  expect(processorLimit(files({}))).toBeUndefined();
});

test.runIf(process.platform === "linux")("reads the version of the open and the closed NVIDIA driver", () => {
  const version = (text: string) => nvidiaDriver(files({ "/proc/driver/nvidia/version": text }));
  expect(version("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n")).toBe(
    "550.54.15",
  );
  expect(version("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build\n")).toBe(
    "580.82.07",
  );
  expect(nvidiaDriver(files({}))).toBeUndefined();
});

test("names the oldest driver for a version of CUDA", () => {
  expect(["11.8", "12.4", "13.0"].map(neededDriver)).toEqual(["450", "525", "580"]);
  expect(neededDriver(undefined)).toBeUndefined();
  expect(neededDriver("99.0")).toBeUndefined();
});
