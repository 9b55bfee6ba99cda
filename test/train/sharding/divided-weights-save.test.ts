// How rank 0 tells the other ranks which divided weight it saves. A stand-in world records the calls of rank 0.
import { afterAll, expect, test } from "vitest";
import { openDevice, Tensor } from "../../../lib/graph/index.ts";
import type { Optimizer } from "../../../lib/optim/optimizer.ts";
import { DividedWeights } from "../../../lib/train/sharding/divided-weights.ts";
import type { SharedState } from "../../../lib/train/sharding/sharding.ts";
import type { World } from "../../../lib/train/world/world.ts";

const device = openDevice({ device: "cpu", threads: 1 });
const whole = Tensor.zeros(device, "f32", [4]);
const own = Tensor.zeros(device, "f32", [2]);
afterAll(() => {
  for (const one of [whole, own]) one.dispose();
});

/** Saves the weight on rank 0 of 2 with a collection that may fail. Returns the calls of the world, and the error. */
async function save(collect: () => Promise<void>): Promise<{ calls: string[]; error: unknown }> {
  const calls: string[] = [];
  const world: World = {
    rank: 0,
    size: 2,
    allReduce: async () => {},
    async sum(values) {
      calls.push(`sum ${[...values]}`);
      return [...values];
    },
    barrier: async () => {},
    reduceScatter: async () => {},
    async allGather() {
      calls.push("allGather");
      await collect();
    },
  };
  const pieces = [[{ name: "w", start: 0, count: 2 }], [{ name: "w", start: 2, count: 2 }]];
  const optimizer = {
    divided: new Set(["w"]),
    weights: new Map([["part.w", own]]),
    parts: pieces,
    state: new Map(),
  } as unknown as Optimizer;
  const weights = new DividedWeights(world as never, optimizer, { weight: () => whole });
  await weights.divide();
  const shared = { stateData: () => [] } as unknown as SharedState;
  const data = {
    name: "w",
    dtype: "F32",
    shape: [4],
    bytes: async () => new Uint8Array((await whole.toFloat32()).buffer),
  };
  try {
    await weights.writing(shared, async ({ weight }) => {
      await (weight(data as never, whole).bytes as () => Promise<Uint8Array>)();
    });
    return { calls, error: undefined };
  } catch (error) {
    return { calls, error };
  } finally {
    await whole.reload();
  }
}

test("rank 0 announces each weight before it collects it, and then the end", async () => {
  expect(await save(async () => {})).toEqual({ calls: ["sum 1", "allGather", "sum 0"], error: undefined });
});

test("after a failed collection rank 0 announces nothing, because the other ranks wait for the weight", async () => {
  const failure = new Error("out of memory");
  const found = await save(async () => {
    throw failure;
  });
  expect(found).toEqual({ calls: ["sum 1", "allGather"], error: failure });
});
