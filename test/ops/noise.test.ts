// The noise ops against lib/data/random.ts, another implementation of Philox, and their statistics.
import { expect, test } from "vitest";
import { philox } from "../../lib/data/random.ts";
import { compile, dropout, input, openDevice, uniformNoise } from "../../lib/graph/index.ts";

const device = openDevice();
const size = 4096;

async function drawn(noise: [number, number, number], stream: number) {
  const program = compile(() => {
    const [x, key] = [input("x", "f32", [size]), input("noise", "i32", [3])];
    return { dropped: dropout(x, key, { p: 0.25, stream }), moved: uniformNoise(x, key, { scale: 2, stream }) };
  });
  const executable = program.bind(device, new Map());
  const result = await executable.run({ x: new Float32Array(size).fill(3), noise: Int32Array.from(noise) });
  executable.dispose();
  return result as { dropped: Float32Array; moved: Float32Array };
}

test("draws equal Philox with the counter (position / 4, stream, step, micro-batch) and the seed as key", async () => {
  const { dropped, moved } = await drawn([-5, 17, 2], 9);
  for (let i = 0; i < size; i++) {
    const word = philox([i >> 2, 9, 17, 2], [-5 >>> 0, 0x6e6f6973])[i & 3]!;
    expect(dropped[i]).toBe(word < 2 ** 30 ? 0 : 4);
    expect(moved[i]).toBeCloseTo(3 + 2 * (word / 2 ** 31 - 1), 5);
  }
});

test("dropout keeps the mean, and draws differ by step, micro-batch, stream and seed", async () => {
  const base = await drawn([1, 1, 0], 0);
  const share = base.dropped.filter((v) => v === 0).length / size;
  expect(Math.abs(share - 0.25)).toBeLessThan(0.03);
  expect(Math.abs(base.dropped.reduce((n, v) => n + v, 0) / size - 3)).toBeLessThan(0.12);
  expect(Math.abs(base.moved.reduce((n, v) => n + v, 0) / size - 3)).toBeLessThan(0.1);
  expect(await drawn([1, 1, 0], 0)).toEqual(base);
  for (const other of [
    await drawn([2, 1, 0], 0),
    await drawn([1, 2, 0], 0),
    await drawn([1, 1, 1], 0),
    await drawn([1, 1, 0], 1),
  ]) {
    const same = other.dropped.filter((v, i) => v === base.dropped[i]).length / size;
    expect(Math.abs(same - (0.75 ** 2 + 0.25 ** 2))).toBeLessThan(0.04); // as for independent draws
  }
});
