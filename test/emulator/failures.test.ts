// Failures of the CUDA runtime library, which tests plant in the emulator. Needs an addon that was built with --emulator.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Device, deviceInfo, openDevice, Tensor } from "../../lib/graph/index.ts";
import { bound, numbers } from "../cuda/helpers.ts";
import { ILLEGAL_ADDRESS, INVALID_VALUE, LAUNCH_FAILURE, lossOf, nextDevice, OUT_OF_MEMORY, plant } from "./plant.ts";

const emulate = (value: string) => vi.stubEnv("HEDDLE_EMULATE_CUDA", value);
const x = numbers(48, 1);
const opened = (index: number) => openDevice({ device: `cuda:${index}` });
const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

/** Runs a program on the CPU. */
async function runsOnCpu(): Promise<void> {
  const executable = await bound(openDevice({ device: "cpu" }));
  expect((await executable.run({ x })).y).toHaveLength(48);
}

beforeEach(() => void emulate("40"));
afterEach(() => void vi.unstubAllEnvs());

describe("a device that cannot be opened", () => {
  const codes: Record<string, number[]> = {
    OUT_OF_MEMORY: [2],
    UNSUPPORTED: [
      3, 34, 35, 36, 49, 98, 100, 101, 102, 103, 200, 209, 218, 221, 222, 223, 302, 303, 800, 801, 802, 803, 804,
    ],
    DEVICE_LOST: [
      46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 805, 806, 807, 808, 809, 810, 911, 999,
    ],
    IO: [304],
    INTERNAL: [1, 9, 400, 600, 701, 720, 901],
  };
  test.each(Object.entries(codes))(
    "fails with the code %s for each CUDA status of that kind, and can be opened later",
    async (code, statuses) => {
      emulate("64");
      for (const [i, status] of statuses.entries()) {
        // These statuses would mark a device that was opened before as lost, so each status gets its own device.
        const index = code === "DEVICE_LOST" ? 40 + i : 0;
        plant(`${index}:cudaStreamCreateWithFlags:1:${status}`);
        const message = new RegExp(`^cuda:${index}: cudaStreamCreate: .* \\(CUDA error ${status}\\)`);
        expect(() => new Device(1, index), String(status)).toThrowError(
          expect.objectContaining({ code, message: expect.stringMatching(message) }),
        );
        expect(new Device(1, index).isLost).toBe(false);
      }
      await runsOnCpu();
    },
  );

  test("the error names the compute capabilities and CUDA version of the build, and those of the machine", () => {
    plant("0:cudaStreamCreateWithFlags:1:209");
    expect(() => new Device(1, 0)).toThrowError(
      expect.objectContaining({
        message: expect.stringContaining(
          "emulated (no hardware) has compute capability 8.0; this build has kernels for 8.0, 8.9, 9.0 and needs a driver for " +
            'CUDA 13.0, this driver supports CUDA 13.0; the device "cpu" still works',
        ),
      }),
    );
    emulate("old-device");
    expect(() => new Device(1, 0)).toThrowError(
      expect.objectContaining({
        code: "UNSUPPORTED",
        message: expect.stringMatching(
          /kernels for \(8\.0, 8\.9, 9\.0\), got 6\.0 .*heddle supports 8\.0 and newer; the device "cpu"/,
        ),
      }),
    );
  });
});

describe("a system without a usable device", () => {
  const reasons: [string, string, string][] = [
    ["", "", "0 CUDA devices: no NVIDIA driver, but this build needs one for CUDA 13.0 or newer"],
    ["no-card", "", "0 CUDA devices: the driver finds no GPU; the container or CUDA_VISIBLE_DEVICES may hide it"],
    ["old-driver", "", "0 CUDA devices: the driver supports CUDA 12.4, but this build needs CUDA 13.0 or newer"],
    ["1", "0:cudaGetDeviceCount:1:803:always", "another error (CUDA error 803): restart the machine"],
    ["1", "0:cudaGetDeviceCount:1:802:always", "another error (CUDA error 802): start nvidia-fabricmanager"],
    ["1", "0:cudaGetDeviceCount:1:3:always", "another error (CUDA error 3)"],
  ];
  test.each(reasons)(
    "the error says what is missing, and the CPU works: %j with failure %j",
    async (system, failure, reason) => {
      emulate(system);
      plant(failure);
      expect(() => openDevice({ device: "cuda" })).toThrowError(
        expect.objectContaining({
          code: "UNSUPPORTED",
          message: expect.stringMatching(
            /^device: expected a device of this machine \(cpu\), got cuda .*"cpu" still works$/,
          ),
        }),
      );
      expect(() => openDevice({ device: "cuda" })).toThrowError(reason);
      expect(openDevice({ device: "auto" }).kind).toBe("cpu");
      expect(deviceInfo().cuda.devices).toEqual([]);
      await runsOnCpu();
    },
  );

  test("a device that cannot be read does not hide the others", () => {
    emulate("3");
    // deviceInfo reads the properties of the three devices twice, for `devices` and for `problem`. Calls 2 and 5 read device 1. The second
    // entry says 4, because it does not count call 2, which the first entry fails. The emulator counts a call for the current device, which
    // may be any device.
    const calls = Array.from({ length: 40 }, (_, device) => `${device}:cudaGetDeviceProperties`);
    plant(...calls.flatMap((call) => [`${call}:2:999`, `${call}:4:999`]));
    const { devices, problem } = deviceInfo().cuda;
    expect(devices.map((d) => d.index)).toEqual([0, 2]);
    expect(problem).toBe("cuda:1: cudaGetDeviceProperties: another error (CUDA error 999)");
  });
});

describe("missing memory", () => {
  test("is reported with the bytes requested, free and in total, and a later allocation succeeds", async () => {
    const device = opened(0);
    plant("0:cudaMalloc:1:2:always");
    expect(() => Tensor.zeros(device, "f32", [1000])).toThrowError(
      expect.objectContaining({
        code: "OUT_OF_MEMORY",
        message: expect.stringMatching(/^cuda:0: expected 4000 bytes, got \d+ free of 2147483648$/),
      }),
    );
    plant();
    Tensor.zeros(device, "f32", [1000]).dispose();
  });

  test("that only the first call of cudaMalloc reports does not fail the allocation", () => {
    const device = opened(0);
    plant(`0:cudaMalloc:1:${OUT_OF_MEMORY}`);
    Tensor.zeros(device, "f32", [1000]).dispose();
  });

  test("is no failure if freeing disposed tensors makes room", async () => {
    const device = opened(0);
    const executable = await bound(device);
    // Two tensors of 1.2 GB exceed the device's 2 GiB. The runs occupy the thread that frees disposed tensors.
    const large = () => Tensor.zeros(device, "f32", [300_000_000]);
    const first = large();
    const runs = Array.from({ length: 20 }, () => executable.run({ x }));
    first.dispose();
    large().dispose();
    await Promise.all(runs);
  });

  test("on the host fails the call that needs pinned memory", async () => {
    const device = new Device(1, 0); // without staging buffers yet
    plant(`0:cudaHostAlloc:1:${OUT_OF_MEMORY}:always`);
    expect(await errorOf(Tensor.from(device, "f32", [48], x))).toMatchObject({
      code: "OUT_OF_MEMORY",
      message: expect.stringMatching(/^cuda:0: expected 4194304 bytes of pinned host memory, got \d+ free$/),
    });
    plant();
    expect(await (await Tensor.from(device, "f32", [48], x)).read()).toEqual(x);
  });

  test.each(["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])(
    "in %s leaves runs unrecorded and correct",
    async (call) => {
      const executable = await bound(opened(0));
      const { y } = await executable.run({ x });
      plant(`0:${call}:1:${OUT_OF_MEMORY}:always`);
      for (let i = 0; i < 3; i++) expect((await executable.run({ x })).y).toEqual(y);
      expect(executable.recordings).toBe(0);
    },
  );

  test("for the launch of a graph fails only that run", async () => {
    const executable = await bound(opened(0));
    const { y } = await executable.run({ x });
    await executable.run({ x });
    plant(`0:cudaGraphLaunch:1:${OUT_OF_MEMORY}`);
    expect(await errorOf(executable.run({ x }))).toMatchObject({
      code: "OUT_OF_MEMORY",
      message: expect.stringMatching(/^cuda:0: cudaGraphLaunch: .*, \d+ bytes free of 2147483648$/),
    });
    expect((await executable.run({ x })).y).toEqual(y);
  });
});

test.each([
  "cudaMemcpyAsync",
  "cudaMemsetAsync",
  "cudaLaunchKernel",
  "cudaEventRecord",
  "cudaEventElapsedTime",
  "cudaStreamSynchronize",
])("a temporary failure of %s fails one run, and the next is correct", async (call) => {
  vi.stubEnv("HEDDLE_CUDA_GRAPHS", "0");
  const executable = await bound(opened(0));
  const { y } = await executable.run({ x });
  plant(`0:${call}:1:${INVALID_VALUE}`);
  expect(await errorOf(executable.run({ x }))).toMatchObject({
    code: "INTERNAL",
    message: expect.stringMatching(/^cuda:0: .*invalid argument \(CUDA error 1\)$/),
  });
  for (let i = 0; i < 3; i++) expect((await executable.run({ x })).y).toEqual(y);
});

test.each(["cudaMemcpyAsync", "cudaEventRecord", "cudaEventSynchronize"])(
  "a temporary failure of %s in the middle of a copy leaves the staging buffers usable",
  async (call) => {
    const count = 3 * 2 ** 20; // three staging buffers
    const [first, second] = [numbers(count, 1), numbers(count, 2)];
    const device = opened(0);
    const there = await Tensor.from(device, "f32", [count], first);
    for (const work of [() => there.write(second), () => there.read()]) {
      plant(`0:${call}:2:${INVALID_VALUE}`);
      expect(await errorOf(work())).toMatchObject({ code: "INTERNAL" });
      plant();
      await there.write(second);
      expect(Buffer.from((await there.read()).buffer).equals(Buffer.from(second.buffer))).toBe(true);
    }
  },
);

describe("a lost device", () => {
  test.each([
    ["work", "cudaStreamSynchronize"], // a kernel that fails while the host waits
    ["cudaMemcpyAsync", "cudaMemcpy"],
    ["cudaMemsetAsync", "cudaMemset"],
    ["cudaLaunchKernel", "\\w+"],
    ["cudaEventRecord", "cudaEventRecord"],
    ["cudaStreamSynchronize", "cudaStreamSynchronize"],
    ["cudaSetDevice", "cudaSetDevice"],
  ])("lost in %s: all of its calls fail alike, and those of other devices succeed", async (call, reported) => {
    const index = nextDevice();
    const device = opened(index);
    const [executable, other] = [await bound(device), await bound(opened(0))];
    const there = Tensor.zeros(device, "f32", [48]);
    await executable.run({ x }); // allocates the memory of later runs
    plant(`${index}:${call}:1:${ILLEGAL_ADDRESS}:lost`);
    const loss = lossOf(index, reported);
    const first = (await errorOf(executable.run({ x }))) as Error;
    expect(first).toEqual(loss);
    expect(device.isLost).toBe(true);
    plant();

    // Later failures have the message of the first one.
    const { message } = first;
    const runs = Array.from({ length: 5 }, () => errorOf(executable.run({ x })));
    const others = [there.read(), there.write(x), there.copyFrom(there), Tensor.from(device, "f32", [48], x)].map(
      errorOf,
    );
    for (const error of await Promise.all([...runs, ...others]))
      expect(error).toMatchObject({ code: "DEVICE_LOST", message });
    expect(() => Tensor.zeros(device, "f32", [4])).toThrowError(
      expect.objectContaining({ code: "DEVICE_LOST", message }),
    );
    expect(() => new Device(1, index)).toThrowError(expect.objectContaining({ code: "DEVICE_LOST", message }));
    there.dispose();
    expect(deviceInfo().cuda.devices).toHaveLength(40);

    expect((await other.run({ x })).y).toHaveLength(48);
    await runsOnCpu();
  });

  test("fails all queued runs, and none hangs", async () => {
    const index = nextDevice();
    const executable = await bound(opened(index));
    await executable.run({ x });
    plant(`${index}:work:12:${LAUNCH_FAILURE}:lost`);
    const ends = await Promise.all(Array.from({ length: 20 }, () => errorOf(executable.run({ x }))));
    expect(ends.at(-1)).toEqual(lossOf(index, "cudaStreamSynchronize"));
    // A run copies its input, has at least one kernel and copies its output, so at most three runs end before the device's 12th copy or kernel.
    const succeeded = ends.findIndex((error) => error !== undefined);
    expect(succeeded).toBeLessThanOrEqual(3);
    for (const error of ends.slice(succeeded)) expect(error).toMatchObject({ message: (ends.at(-1) as Error).message });
  });

  test.each([
    "cudaStreamBeginCapture",
    "cudaLaunchKernel",
    "cudaStreamEndCapture",
    "cudaGraphInstantiate",
    "cudaGraphLaunch",
  ])("lost in %s while a run is recorded or replayed: the run fails", async (call) => {
    const index = nextDevice();
    const executable = await bound(opened(index));
    await executable.run({ x });
    plant(`${index}:${call}:1:${LAUNCH_FAILURE}:lost`);
    const loss = await errorOf(executable.run({ x }));
    expect(loss).toEqual(lossOf(index, "\\w+"));
    expect(await errorOf(executable.run({ x }))).toEqual(loss);
    expect(executable.recordings).toBe(call === "cudaGraphLaunch" ? 1 : 0);
  });

  test("is reported by a failed allocation and by a failed read, and other devices are not lost", async () => {
    const [first, second] = [nextDevice(), nextDevice()];
    const [one, two] = [opened(first), opened(second)];
    plant(`${first}:cudaMalloc:1:214:lost`, `${second}:cudaEventSynchronize:2:719:lost`);
    expect(() => Tensor.zeros(one, "f32", [4])).toThrowError(lossOf(first, "cudaMalloc"));
    const there = await Tensor.from(two, "f32", [48], x);
    expect(await errorOf(there.read())).toEqual(lossOf(second, "cudaEventSynchronize"));
    expect([one.isLost, two.isLost, opened(0).isLost]).toEqual([true, true, false]);
  });

  test("fails a copy to another device, which keeps working", async () => {
    const [index, healthy] = [nextDevice(), nextDevice()];
    const from = await Tensor.from(opened(index), "f32", [48], x);
    const to = Tensor.zeros(opened(healthy), "f32", [48]);
    plant(`${index}:cudaMemcpyAsync:1:${ILLEGAL_ADDRESS}:lost`);
    expect(await errorOf(from.read())).toEqual(lossOf(index, "cudaMemcpy"));
    expect(await errorOf(to.copyFrom(from))).toEqual(lossOf(index, "cudaMemcpy"));
    await to.write(x);
    expect(await to.read()).toEqual(x);
  });
});
