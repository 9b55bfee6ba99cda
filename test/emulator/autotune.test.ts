// Autotuning on an emulated device. It measures each kernel for a model's matrix products, stores the fastest and uses them. Times are
// those of the CPU that emulates the device.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { autotune } from "../../lib/bench/index.ts";
import { DTYPES } from "../../lib/graph/dtype.ts";
import { compile, Device, deviceInfo, input, linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";
import { readTuning, tuningKey, writeTuning } from "../../lib/graph/tuning.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { failureOf, tinyModel } from "../inference/helpers.ts";

beforeAll(() => {
  vi.stubEnv("HEDDLE_EMULATE_CUDA", "2");
  vi.stubEnv("HEDDLE_TUNING", "off");
});
afterAll(() => void vi.unstubAllEnvs());

test("autotuning measures every kernel of every matrix product of a model", async () => {
  const folder = join(temporaryFolder(), "model");
  const path = join(temporaryFolder(), "tuning.json");
  {
    await using model = tinyModel({ device: new Device(1) });
    await model.save(folder);
  }
  const measured: string[] = [];
  const { device, results } = await autotune({
    device: "cuda",
    model: folder,
    rows: [40],
    training: "bf16",
    rounds: 1,
    path,
    onResult: ({ product }) => measured.push(product),
  });
  expect(device).toBe(tuningKey(deviceInfo().cuda.devices[0]!));
  // q and o (32, 32), k and v (16, 32), gate and up (64, 32), down (32, 64), forward and gradients for 40 rows. A product's name begins
  // with m, n and k, and m is rounded up to a power of two.
  expect(measured).toEqual(results.map((r) => r.product));
  expect(measured).toContain("64 16 32 bf16 bf16 bf16 NT");
  expect(measured).toContain("64 32 16 bf16 bf16 bf16 NN");
  expect(measured).toContain("16 32 64 bf16 bf16 f32 TN");
  for (const { variants, chosen } of results) {
    expect(variants.length).toBeGreaterThan(1);
    expect(new Set(variants.map(({ name }) => name)).size).toBe(variants.length);
    expect(variants.map(({ name }) => name)).toContain(chosen);
    for (const { seconds } of variants) expect(seconds).toBeGreaterThan(0);
  }
  const kept = readTuning(path).get(device)!;
  for (const { product, chosen } of results) expect(kept.get(product)).toBe(chosen);
  expect(kept.get("64 16 32 bf16 bf16 f32 NT")).toBe(kept.get("64 16 32 bf16 bf16 bf16 NT"));
}, 600_000);

/** Computes a product that is deep enough to be split along k. The split changes the rounding of the sums, so the bits identify the kernel. */
async function bits(device: Device): Promise<Float32Array> {
  const [m, n, k] = [20, 24, 1096];
  const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1));
  const w = await Tensor.from(device, "f32", [n, k], numbers(n * k));
  const program = compile(() => ({ y: linear(input("x", "f32", [m, k]), tensor("w", "f32", [n, k])) }));
  const executable = program.bind(device, new Map([["w", w]]));
  return (await executable.run({ x: numbers(m * k) })).y as Float32Array;
}

test("devices use the kernels chosen in the tuning file and ignore kernels that they do not have", async () => {
  const path = join(temporaryFolder(), "tuning.json");
  const info = deviceInfo().cuda.devices[0]!;
  const device = new Device(1, 0);
  const { key, names } = device.lane.variants(20, 24, 1096, DTYPES.f32, DTYPES.f32, DTYPES.f32, "NT");
  expect(key).toBe("32 24 1096 f32 f32 f32 NT");
  expect(names).toEqual(["multiply_add 64x64 parts", "multiply_add 64x64"]);
  const own = await bits(device);
  device.lane.choose([[key, names[1]!]]);
  const other = await bits(device);
  expect(other).not.toEqual(own);
  device.lane.choose([[key, "tensor 128x128"]]); // not a candidate for f32
  expect(await bits(device)).toEqual(own);
  writeTuning(path, tuningKey(info), new Map([[key, names[1]!]]));
  vi.stubEnv("HEDDLE_TUNING", path);
  // With tf32 the file's kernel is not a candidate, and tensor cores round the operands.
  expect(await bits(openDevice({ device: "cuda:1", allowTf32: true }))).not.toEqual(own);
  expect(await bits(openDevice({ device: "cuda:1" }))).toEqual(other);
});

test("autotuning rejects unsupported devices, and invalid rows, choices, shapes and layouts", async () => {
  expect(await failureOf(() => autotune({ device: "cpu" }))).toMatchObject({ code: "UNSUPPORTED" });
  expect(await failureOf(() => autotune({ device: "cuda", rows: [0] }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "rows: expected a whole number from 1 to 1048576, got 0",
  });
  const { lane } = new Device(1, 0);
  expect(() => lane.choose([["a"]] as never)).toThrow("choices: expected pairs");
  expect(() => lane.variants(1, 0, 1, 0, 0, 0, "NT")).toThrow("n: expected 1 or more");
  expect(() => lane.variants(1, 1, 1, 0, 0, 0, "TT" as never)).toThrow("layout: expected NN, NT or TN, got TT");
});
