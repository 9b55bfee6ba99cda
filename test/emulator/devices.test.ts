// Several devices, and incompatible drivers and devices, which are emulated. Needs an addon that was built with --emulator.
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { Device, deviceInfo, openDevice, Tensor } from "../../lib/graph/index.ts";
import { bound, numbers, program } from "../cuda/helpers.ts";

const emulate = (value: string) => vi.stubEnv("HEDDLE_EMULATE_CUDA", value);
beforeAll(() => {
  emulate("1");
  expect(deviceInfo().cuda.devices[0]?.name).toMatch(/^emulated/);
});
beforeEach(() => void emulate("1"));
afterEach(() => void vi.unstubAllEnvs());

describe("several devices", () => {
  test("each compute in separate memory", async () => {
    emulate("2");
    expect(deviceInfo().cuda.devices.map((d) => d.index)).toEqual([0, 1]);
    expect(deviceInfo().cuda.devices.map((d) => d.pciBusId)).toEqual(["0000:01:00.0", "0000:02:00.0"]);
    const [first, second] = [openDevice({ device: "cuda:0" }), openDevice({ device: "cuda:1" })];
    expect(String(second)).toBe("cuda:1");
    const [a, b] = [await bound(first), await bound(second)];
    const all = await Promise.all([a, b, a, b, a, b].map((e) => e.run({ x: numbers(48, 1) })));
    for (const { y } of all) expect(y).toEqual(all[0]!.y);
    const there = Tensor.zeros(first, "f32", [48, 48]);
    expect(() => program().bind(second, new Map([["w", there]]))).toThrowError(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: "bind: expected tensors of cuda:1, got one of cuda:0",
      }),
    );
    expect(() => openDevice({ device: "cuda:2" })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("cpu, cuda:0, cuda:1") }),
    );
  });
});

test("a tensor is copied from another device, with and without peer access, repeatedly", async () => {
  emulate("3");
  const values = numbers(3000, 5);
  const from = await Tensor.from(openDevice({ device: "cuda:0" }), "f32", [3000], values);
  // Devices 0 and 1 can access each other, but not device 2. When device 1 is opened again, peer access is already enabled.
  for (const index of [1, 2, 1]) {
    const to = Tensor.zeros(new Device(1, index), "f32", [3000]);
    for (let i = 0; i < 2; i++) await to.copyFrom(from);
    expect(await to.read()).toEqual(values);
    to.dispose();
  }
});

describe("an incompatible system", () => {
  test("reports a driver that is too old, and uses the CPU", () => {
    emulate("old-driver");
    const problem = "the driver supports CUDA 12.4, but this build needs CUDA 13.0 or newer";
    expect(deviceInfo().cuda).toMatchObject({ devices: [], problem });
    expect(() => openDevice({ device: "cuda" })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining(problem) }),
    );
    expect(openDevice({ device: "auto" }).kind).toBe("cpu");
  });

  test("reports a device that is too old for this build's kernels", () => {
    emulate("old-device");
    expect(() => new Device(1, 0)).toThrowError(
      expect.objectContaining({
        code: "UNSUPPORTED",
        message: expect.stringMatching(
          /^device: expected a compute capability .*, got 6\.0 \(cuda:0, .*heddle supports 8\.0 and newer/,
        ),
      }),
    );
  });

  test("reports a missing device", () => {
    emulate("");
    expect(binding.info().cuda).toEqual({ built: true, toolkit: "13.0", devices: [] });
    expect(() => openDevice({ device: "cuda" })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("0 CUDA devices") }),
    );
  });
});

test("device auto warns once, in one line, that it ignores a GPU", async () => {
  const lines: Error[] = [];
  const listen = (warning: Error) => lines.push(warning);
  process.on("warning", listen);
  vi.stubEnv("HEDDLE_DEVICE", "");
  vi.resetModules();
  const { openDevice: fresh } = await import("../../lib/graph/device.ts");
  for (let i = 0; i < 3; i++) expect(fresh({ threads: 1 }).kind).toBe("cpu");
  await new Promise((done) => setImmediate(done));
  process.off("warning", listen);
  expect(lines.map((w) => w.message)).toEqual([
    'device auto is the CPU: the CUDA kernels have not run on hardware yet; device "cuda" asks for emulated (no hardware)',
  ]);
});
