// Weights are packed in parts over several runs. A profile reports the bytes that each run packed.
import { describe, expect, test } from "vitest";
import {
  compile,
  type Executable,
  input,
  linear,
  openDevice,
  type Profile,
  profile,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { leastOf } from "../helpers/clock.ts";
import { generator } from "../ops/harness.ts";

const packing = "packing of weights";
const [width, layers] = [1024, 24];
const device = openDevice();
const random = generator(5);
const x = Float32Array.from({ length: width }, () => random() - 0.5);

/** Blocks of random integers with a small scale. */
function q8Blocks(seed: number): Uint8Array {
  const next = generator(seed);
  const bytes = Uint8Array.from({ length: (width * width * 34) / 32 }, () => next() * 256);
  for (let b = 0; b < bytes.length; b += 34) [bytes[b], bytes[b + 1]] = [0x00, 0x10];
  return bytes;
}
const blocks = Array.from({ length: layers }, (_, i) => q8Blocks(i + 1));
const names = blocks.map((_, i) => `w${i}`);

/** A program of layers in sequence. */
const programOf = (rows: number) =>
  compile(() => {
    let y = input("x", "f32", [rows, width]);
    for (const name of names) y = linear(y, tensor(name, "q8_0", [width, width]), undefined, { activations: "int8" });
    return { y };
  });
const program = programOf(1);

async function weights(): Promise<Map<string, Tensor>> {
  const tensors = blocks.map((bytes) => Tensor.from(device, "q8_0", [width, width], bytes));
  return new Map((await Promise.all(tensors)).map((tensor, i) => [names[i]!, tensor]));
}

interface Run {
  y: Float32Array;
  /** Bytes packed in this run. */
  packed: number;
}

async function run(executable: Executable, rows = x): Promise<Run> {
  const { result, profile: found } = await profile(() => executable.run({ x: rows }));
  return { y: result.y as Float32Array, packed: packedBytes(found) };
}

function packedBytes({ operations }: Profile): number {
  const rows = operations.filter(({ op }) => op === packing);
  return rows.reduce((n, { bytes, calls }) => n + bytes * calls, 0);
}

/** Total bytes of the packed layers. For q8_0, packed and stored sizes are equal. */
const everything = layers * blocks[0]!.length;

/** Runs until everything is packed, plus a few more runs. */
async function runs(executable: Executable, done: Run[] = [], rows = x): Promise<Run[]> {
  for (let left = 3000; left > 0 && bytesOf(done) < everything; left--) done.push(await run(executable, rows));
  for (let i = 0; i < 3; i++) done.push(await run(executable, rows));
  return done;
}

function dispose(executable: Executable, tensors: Map<string, Tensor>): void {
  executable.dispose();
  for (const tensor of tensors.values()) tensor.dispose();
}

const bytesOf = (all: readonly Run[]) => all.reduce((n, { packed }) => n + packed, 0);
/** Whether this processor's kernels pack weights. A small weight is packed in its second run. */
const packs = await (async () => {
  const w = await Tensor.from(device, "q8_0", [32, width], blocks[0]!.subarray(0, (32 * width * 34) / 32));
  const small = compile(() => ({
    y: linear(input("x", "f32", [1, width]), tensor("w", "q8_0", [32, width]), undefined, { activations: "int8" }),
  })).bind(device, new Map([["w", w]]));
  await small.run({ x });
  const { profile: found } = await profile(() => small.run({ x }));
  dispose(small, new Map([["w", w]]));
  return found.operations.some(({ op }) => op === packing);
})();

describe.runIf(packs)("gradual packing", () => {
  test("packs every part once, packs nothing in the first run, and does not change results", async () => {
    const tensors = await weights();
    const executable = program.bind(device, tensors);
    const all = await runs(executable);
    dispose(executable, tensors);
    expect(all[0]!.packed).toBe(0);
    expect(bytesOf(all)).toBe(everything);
    expect(all[0]!.y.some((v) => Math.abs(v) > 1e-6)).toBe(true);
    for (const { y } of all) expect(y).toEqual(all[0]!.y);
  });

  test.each([1, 5, 8, 12])("packs less than half of the bytes in each run of %i rows", async (count) => {
    const rows = Float32Array.from({ length: count * width }, (_, i) => x[i % width]!);
    const program = programOf(count);
    // Retry, because a run may pack more if other load has slowed the run before it.
    const most = await leastOf(0.5, async () => {
      const tensors = await weights();
      const executable = program.bind(device, tensors);
      const all = await runs(executable, [], rows);
      dispose(executable, tensors);
      expect(bytesOf(all)).toBe(everything);
      return Math.max(...all.map(({ packed }) => packed)) / everything;
    });
    expect(most).toBeLessThan(0.5);
  });

  test("continues where another program stopped", async () => {
    const tensors = await weights();
    const [first, second] = [program.bind(device, tensors), program.bind(device, tensors)];
    const all: Run[] = [];
    while (bytesOf(all) === 0) all.push(await run(first));
    first.dispose();
    expect(bytesOf(await runs(second, all))).toBe(everything);
    for (const { y } of all) expect(y).toEqual(all[0]!.y);
    dispose(second, tensors);
  });

  test("starts over with a weight that is written during packing", async () => {
    const tensors = await weights();
    const executable = program.bind(device, tensors);
    const before: Run[] = [];
    while (bytesOf(before) === 0) before.push(await run(executable));
    for (const name of names) await tensors.get(name)!.write(blocks[1]!);
    const after = await runs(executable);
    expect(bytesOf(after)).toBe(everything);
    const same = await Promise.all(names.map(() => Tensor.from(device, "q8_0", [width, width], blocks[1]!)));
    const fresh = program.bind(device, new Map(same.map((tensor, i) => [names[i]!, tensor])));
    const expected = (await fresh.run({ x })).y;
    for (const { y } of after) expect(y).toEqual(expected);
    expect(before[0]!.y).not.toEqual(expected);
    dispose(fresh, new Map(same.map((tensor, i) => [names[i]!, tensor])));
    dispose(executable, tensors);
  });

  test("survives aborted runs", async () => {
    const tensors = await weights();
    const executable = program.bind(device, tensors);
    const expected = (await executable.run({ x })).y;
    let [aborted, packed] = [0, 0];
    for (let i = 0; i < 400; i++) {
      const controller = new AbortController();
      const { result: done, profile: found } = await profile(async () => {
        const running = executable.run({ x }, { signal: controller.signal }).then(
          ({ y }) => y,
          () => undefined,
        );
        if (i % 2) setTimeout(() => controller.abort(), (i % 20) / 4);
        return running;
      });
      packed += packedBytes(found);
      if (done) expect(done).toEqual(expected);
      else aborted++;
    }
    const all = await runs(executable, [{ y: expected as Float32Array, packed }]);
    expect(bytesOf(all)).toBe(everything);
    for (const { y } of all) expect(y).toEqual(expected);
    expect(aborted).toBeGreaterThan(0);
    dispose(executable, tensors);
  });

  test("continues after its tensors are disposed", async () => {
    const tensors = await weights();
    const executable = program.bind(device, tensors);
    const all: Run[] = [];
    while (bytesOf(all) === 0) all.push(await run(executable));
    for (const tensor of tensors.values()) tensor.dispose();
    expect(bytesOf(await runs(executable, all))).toBe(everything);
    for (const { y } of all) expect(y).toEqual(all[0]!.y);
    executable.dispose();
  });
});
