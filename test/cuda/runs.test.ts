// Runs, copies and memory of a real or emulated CUDA device: `npm run test:emulator`, scripts/gpu-check.sh.
import { afterEach, describe, expect, test, vi } from "vitest";
import { Executable } from "../../lib/graph/compile.ts";
import {
  compile,
  Device,
  deviceInfo,
  embedding,
  input,
  linear,
  mul,
  openDevice,
  sum,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { temporaryFile } from "../formats/helpers.ts";
import { tinyModel } from "../inference/helpers.ts";
import { bound, numbers, sameNumbers } from "./helpers.ts";

afterEach(() => void vi.unstubAllEnvs());

describe("recorded runs", () => {
  test("equal unrecorded runs, for sizes that change and recur", async () => {
    const device = openDevice({ device: "cuda" });
    const recorded = await bound(device);
    vi.stubEnv("HEDDLE_CUDA_GRAPHS", "0");
    const plain = await bound(device);
    const sizes = [1, 1, 1, 1, 7, 1, 7, 7, 40, 40, 40, 7, 1];
    for (const [i, rows] of sizes.entries()) {
      const inputs = { x: numbers(rows * 48, i) };
      expect((await recorded.run(inputs)).y, `run ${i}`).toEqual((await plain.run(inputs)).y);
    }
    expect(recorded.recordings).toBe(3);
    expect(plain.recordings).toBe(0);
    expect(recorded.deviceSeconds).toBeGreaterThan(0);
  });

  test("are kept for the latest sizes only", async () => {
    const executable = await bound(openDevice({ device: "cuda" }));
    for (let rows = 1; rows <= 12; rows++)
      for (let i = 0; i < 3; i++) {
        const x = numbers(rows * 48, rows + i);
        const { y } = await executable.run({ x });
        expect(y).toHaveLength(rows * 48);
      }
    expect(executable.recordings).toBe(8);
  });

  test("give the same results after a larger program reallocates memory", async () => {
    const device = new Device(1, 0); // a new device has its own lane, whose memory is still small
    const small = await bound(device);
    const x = numbers(48, 1);
    const { y } = await small.run({ x });
    for (let i = 0; i < 3; i++) expect((await small.run({ x })).y).toEqual(y);
    const width = 256;
    const large = await bound(device, width);
    await large.run({ x: numbers(40 * width, 1) });
    for (let i = 0; i < 3; i++) expect((await small.run({ x })).y).toEqual(y);
    expect([1, 2]).toContain(small.recordings);
  });

  test("report an invalid index like other runs, and continue", async () => {
    const device = openDevice({ device: "cuda" });
    const table = await Tensor.from(device, "f32", [4, 8], numbers(32, 1));
    const lookup = compile(() => ({ y: embedding(tensor("t", "f32", [4, 8]), input("ids", "i32", [2])) }));
    const executable = lookup.bind(device, new Map([["t", table]]));
    const good = { ids: Int32Array.of(3, 0) };
    const { y } = await executable.run(good);
    await executable.run(good);
    expect(executable.recordings).toBe(1);
    const bad = executable.run({ ids: Int32Array.of(0, 4) });
    await expect(bad).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^embedding: /),
    });
    expect((await executable.run(good)).y).toEqual(y);
  });

  test("can be aborted before they start", async () => {
    const executable = await bound(openDevice({ device: "cuda" }));
    const x = numbers(48, 1);
    for (let i = 0; i < 3; i++) await executable.run({ x });
    await expect(executable.run({ x }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect((await executable.run({ x })).y).toHaveLength(48);
  });

  test("a model decodes with one run per token, and gives the same tokens without recordings", async () => {
    const runs = vi.spyOn(Executable.prototype, "start");
    const complete = async () => {
      runs.mockClear();
      await using model = tinyModel({ device: "cuda" });
      const session = model.session(); // the session keeps the model's executables alive
      const { tokens } = await session.complete([1, 2, 3, 4], { maxTokens: 12, temperature: 0, ignoreEos: true });
      const decoding = runs.mock.contexts.at(-1) as Executable;
      expect(runs.mock.contexts.filter((e) => e === decoding).length).toBeGreaterThan(10);
      const { recordings } = decoding;
      session.dispose();
      return { tokens, recordings };
    };
    const { tokens, recordings } = await complete();
    expect(tokens).toHaveLength(12);
    expect(recordings).toBe(1);
    vi.stubEnv("HEDDLE_CUDA_GRAPHS", "0");
    expect(await complete()).toEqual({ tokens, recordings: 0 });
    runs.mockRestore();
  });
});

describe("copies", () => {
  test.each([0, 1, 4097, 2 ** 20 + 1, 2 * 2 ** 20 + 3, 3 * 2 ** 20])(
    "%i values are copied to the device and back",
    async (count) => {
      const device = openDevice({ device: "cuda" });
      const data = numbers(count, 5);
      const there = await Tensor.from(device, "f32", [count], data);
      data.fill(0); // the data was copied before `from` resolved
      expect(sameNumbers(await there.toFloat32(), numbers(count, 5))).toBe(true);
      there.dispose();
    },
  );

  test("outputs that are too large to be mirrored in host memory are complete", async () => {
    const device = openDevice({ device: "cuda" });
    const size = 600_000;
    const executable = compile(() => ({
      y: mul(input("x", "f32", [size]), input("x", "f32", [size])),
      total: sum(input("x", "f32", [size])),
    })).bind(device, new Map());
    const x = numbers(size, 9);
    const squares = x.map((v) => v * v);
    for (let i = 0; i < 3; i++) expect(sameNumbers((await executable.run({ x })).y, squares)).toBe(true);
  });
});

test("a mapped matrix with permuted rows is reordered on load, even if it may keep the order of the file", async () => {
  const [rows, columns] = [12, 5];
  const values = numbers(rows * columns, 1);
  const file = mapFile(temporaryFile(new Uint8Array(values.buffer)));
  const order = Int32Array.of(2, 0, 1, 3);
  const expected = Float32Array.from(values, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return values[(row - (row % 4) + order[row % 4]!) * columns + column]!;
  });
  for (const keepOrder of [false, true]) {
    const made = Tensor.mapped(openDevice({ device: "cuda" }), "f32", [rows, columns], file, 0, { order, keepOrder });
    expect(made.rowOrder).toBeUndefined();
    expect(await made.read()).toEqual(expected);
    made.dispose();
  }
  file.close();
});

test("disposing of a tensor does not wait for a run", async () => {
  const device = openDevice({ device: "cuda" });
  const executable = await bound(device, 1024);
  const other = Tensor.zeros(device, "f32", [1024]);
  const inputs = { x: numbers(40 * 1024, 1) };
  await executable.run(inputs);
  const start = performance.now();
  const run = executable.run(inputs);
  await new Promise((resolve) => setTimeout(resolve, 20)); // the run has begun
  const before = performance.now();
  other.dispose();
  const disposed = performance.now() - before;
  await run;
  expect(disposed).toBeLessThan(Math.max(5, (performance.now() - start) / 4));
});

describe("out of memory", () => {
  test("a tensor that has been disposed of leaves its memory to the next", () => {
    const device = openDevice({ device: "cuda" });
    const most = deviceInfo().cuda.devices[0]!.memoryBytes;
    // Two of these tensors would not fit at the same time.
    for (let i = 0; i < 2; i++) Tensor.zeros(device, "f32", [Math.floor(most / 4 / 1.6)]).dispose();
  });

  test("allocating a tensor fails with the needed and free memory, and the process continues", async () => {
    const device = openDevice({ device: "cuda" });
    const memory = deviceInfo().cuda.devices[0]!.memoryBytes;
    const tooMuch = () => Tensor.zeros(device, "f32", [Math.ceil(memory / 4) + 2 ** 20]);
    expect(tooMuch).toThrowError(
      expect.objectContaining({
        name: "HeddleError",
        code: "OUT_OF_MEMORY",
        message: expect.stringMatching(
          new RegExp(`^cuda:0: expected ${4 * Math.ceil(memory / 4) + 2 ** 22} bytes, got \\d+ free of \\d+$`),
        ),
      }),
    );
    expect((await (await bound(device)).run({ x: numbers(48, 1) })).y).toHaveLength(48);
  });

  test("a run fails if its intermediate values do not fit, and smaller runs still work", async () => {
    const device = openDevice({ device: "cuda" });
    const small = await bound(device);
    const { y } = await small.run({ x: numbers(48, 1) });
    const rows = Math.ceil(Math.sqrt(deviceInfo().cuda.devices[0]!.memoryBytes / 4)) + 1;
    const wide = compile(() => {
      const x = tensor("x", "f32", [rows, 1]);
      return { total: sum(linear(x, tensor("w", "f32", [rows, 1]))) };
    });
    const tensors = new Map([
      ["x", Tensor.zeros(device, "f32", [rows, 1])],
      ["w", Tensor.zeros(device, "f32", [rows, 1])],
    ]);
    const executable = wide.bind(device, tensors);
    for (let i = 0; i < 3; i++) await expect(executable.run({})).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
    for (let i = 0; i < 3; i++) expect((await small.run({ x: numbers(48, 1) })).y).toEqual(y);
  });
});
