// Properties of GPUs that come from nvidia-smi, which is a script here.
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { gpuClock, gpuFacts } from "../../lib/bench/gpu.ts";
import type { Device } from "../../lib/graph/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";

vi.mock("../../lib/graph/index.ts", () => {
  const card = { name: "NVIDIA A", computeCapability: "9.0", multiprocessors: 132 };
  const devices = ["0000:3b:00.0", "0000:1a:00.0"].map((pciBusId, index) => ({ ...card, index, pciBusId }));
  return { deviceInfo: () => ({ cuda: { devices } }) };
});
afterEach(() => void vi.unstubAllEnvs());

const second = { name: "cuda:1" } as Device;

/** Puts an nvidia-smi on PATH that prints `values` of the queried fields. Returns a function that reads its newest arguments. */
function withNvidiaSmi(values: Record<string, string>): () => string {
  const folder = temporaryFolder();
  const asked = join(folder, "asked");
  const script = [
    "#!/bin/sh",
    `echo "$@" > ${asked}`,
    'case "$2" in',
    ...Object.entries(values).map(([fields, text]) => `--query-gpu=${fields}) echo "${text}";;`),
    "esac",
  ];
  writeFileSync(join(folder, "nvidia-smi"), script.join("\n"));
  chmodSync(join(folder, "nvidia-smi"), 0o755);
  vi.stubEnv("PATH", folder);
  return () => readFileSync(asked, "utf8");
}

describe.skipIf(process.platform === "win32")("a GPU", () => {
  const facts = { gpu: "NVIDIA A", computeCapability: "9.0", multiprocessors: 132 };

  test("is named by its PCI bus id, because CUDA and nvidia-smi number cards differently", () => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "1, 0");
    const asked = withNvidiaSmi({ "clocks.sm": "1410", "driver_version,clocks.max.sm": "580.82.07, 1980" });
    expect(gpuFacts(second)).toEqual({ ...facts, driver: "580.82.07", maxMHz: 1980 });
    expect(asked()).toContain("--id=0000:1a:00.0 ");
    expect(gpuClock(second)).toEqual([1410]);
    expect(asked()).toContain("--id=0000:1a:00.0 ");
  });

  test("has no clocks if nvidia-smi does not know them", () => {
    withNvidiaSmi({ "clocks.sm": "[N/A]", "driver_version,clocks.max.sm": "580.82.07, [N/A]" });
    expect(gpuFacts(second)).toEqual({ ...facts, driver: "580.82.07" });
    expect(gpuClock(second)).toEqual([]);
  });

  test("has only the facts that CUDA knows if nvidia-smi is missing or the card is unknown", () => {
    vi.stubEnv("PATH", temporaryFolder());
    expect(gpuFacts(second)).toEqual(facts);
    expect(gpuClock(second)).toEqual([]);
    expect(gpuFacts({ name: "cuda:2" } as Device)).toEqual({ gpu: "unknown" });
  });
});
