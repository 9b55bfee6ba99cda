// Products by wgmma and TMA on an emulated device of compute capability 9.0, with and without CUDA graphs. The number of rows changes
// between runs.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { cast, compile, Device, Dimension, deviceInfo, input, linear, Tensor, tensor } from "../../lib/graph/index.ts";
import { numbers, sameNumbers } from "../cuda/helpers.ts";

const [width, outputs] = [72, 264];
const product = () =>
  compile(() => {
    const x = input("x", "f32", [new Dimension("rows", 300), width]);
    return { y: cast(linear(cast(x, "bf16"), cast(tensor("w", "f32", [outputs, width]), "bf16")), "f32") };
  });
async function bound(device: Device) {
  const w = await Tensor.from(device, "f32", [outputs, width], numbers(outputs * width, 3));
  return product().bind(device, new Map([["w", w]]));
}

beforeAll(() => void vi.stubEnv("HEDDLE_EMULATE_CUDA", "sm_90"));
afterAll(() => void vi.unstubAllEnvs());

test("products match the CPU's, and recorded runs equal unrecorded ones", async () => {
  expect(deviceInfo().cuda.devices[0]).toMatchObject({ computeCapability: "9.0" });
  const device = new Device(1, 0);
  const recorded = await bound(device);
  const exact = await bound(new Device(1));
  vi.stubEnv("HEDDLE_CUDA_GRAPHS", "0");
  const plain = await bound(device);
  for (const [i, rows] of [300, 300, 300, 257, 300, 257, 257].entries()) {
    const x = numbers(rows * width, i);
    const { y } = await recorded.run({ x });
    expect((await plain.run({ x })).y, `run ${i}`).toEqual(y);
    const want = (await exact.run({ x })).y as Float32Array;
    const range = want.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const worst = want.reduce((most, v, j) => Math.max(most, Math.abs(v - (y as Float32Array)[j]!)), 0);
    expect(worst).toBeLessThanOrEqual(2 ** -8 * range); // rounding of the outputs
  }
  expect(recorded.recordings).toBe(2);
});

test("a result that TMA stores has the same bits as a result that an epilogue stores after adding a bias of zeros", async () => {
  const rows = 300;
  const device = new Device(1, 0);
  const program = compile(() => {
    const x = cast(input("x", "f32", [rows, width]), "bf16");
    const w = cast(tensor("w", "f32", [outputs, width]), "bf16");
    const zeros = tensor("zeros", "f32", [outputs]);
    return { stored: cast(linear(x, w), "f32"), biased: cast(linear(x, w, zeros), "f32") };
  });
  const tensors = new Map([
    ["w", await Tensor.from(device, "f32", [outputs, width], numbers(outputs * width, 3))],
    ["zeros", await Tensor.from(device, "f32", [outputs], new Float32Array(outputs))],
  ]);
  const { stored, biased } = await program.bind(device, tensors).run({ x: numbers(rows * width, 1) });
  expect(sameNumbers(stored as Float32Array, biased as Float32Array)).toBe(true);
  expect((stored as Float32Array).filter((v) => v !== 0).length).toBeGreaterThan(0.9 * rows * outputs);
});
