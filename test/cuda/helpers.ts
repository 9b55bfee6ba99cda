import { add, compile, type Device, Dimension, input, linear, Tensor, tensor } from "../../lib/graph/index.ts";

/** y = x wᵀ + x for a symbolic number of rows. */
export function program(width = 48) {
  return compile(() => {
    const x = input("x", "f32", [new Dimension("rows", 40), width]);
    return { y: add(linear(x, tensor("w", "f32", [width, width])), x) };
  });
}
export const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => (((i + seed) * 7919) % 256) / 128 - 1);

/** Whether two arrays have the same bytes. `expect` is much slower, because it compares element by element. */
export const sameNumbers = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

export async function bound(device: Device, width = 48) {
  const w = await Tensor.from(device, "f32", [width, width], numbers(width * width, 3));
  return program(width).bind(device, new Map([["w", w]]));
}
