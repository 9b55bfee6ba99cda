// Ranks exchange data of different lengths.
import { expect, test } from "vitest";
import { openDevice } from "../../../lib/graph/index.ts";
import { gatherBySums, gatherByTensors } from "../../../lib/train/world/gather-bytes.ts";
import { stopTogether } from "../../../lib/train/world/stop-together.ts";
import { gather, soloWorld, type World } from "../../../lib/train/world/world.ts";
import { worlds } from "./worlds.ts";

const device = openDevice({ device: "cpu", threads: 1 });

test("gather gives every rank all ranks' data, of any length", async () => {
  const given = [{ text: "日本", list: [1, 2.5, null] }, {}, { more: "x".repeat(3000) }];
  for (const found of await Promise.all(worlds(3).map((world) => gather<object>(world, given[world.rank]!))))
    expect(found).toEqual(given);
});

test("gather prefers the world's own gatherBytes", async () => {
  const world: World = {
    ...soloWorld,
    size: 2,
    sum: () => Promise.reject(new Error("not needed")),
    gatherBytes: async (bytes) => [bytes, new TextEncoder().encode('"other"')],
  };
  expect(await gather(world, "mine")).toEqual(["mine", "other"]);
});

/** A world that counts its calls. Its sums have only the 24 bits that `World.sum` promises. */
function counted(world: World) {
  const calls = { sum: 0, allGather: 0 };
  const sum = async (values: readonly number[]) => {
    calls.sum += 1;
    return (await world.sum(values)).map(Math.fround);
  };
  const allGather: World["allGather"] = async (parts) => {
    calls.allGather += 1;
    await world.allGather!(parts);
  };
  return { world: { ...world, sum, allGather }, calls };
}

const bytesOf = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => 255 - ((i * i + seed) % 256));

// A chunk has 6 numbers, of 3 bytes each.
test.each([
  ["of different lengths, in several chunks", [40, 7, 0, 100], 1 + Math.ceil((14 + 3 + 34) / 6)],
  ["that one rank alone has", [0, 0, 5], 1 + 1],
  ["of no rank", [0, 0], 1],
])("sums of 24 bits gather bytes %s", async (_, lengths, calls) => {
  const given = lengths.map(bytesOf);
  const ranks = worlds(lengths.length).map(counted);
  for (const found of await Promise.all(ranks.map(({ world }, rank) => gatherBySums(world, given[rank]!, 6))))
    expect(found).toEqual(given);
  expect(ranks.map((rank) => rank.calls)).toEqual(lengths.map(() => ({ sum: calls, allGather: 0 })));
});

test.each([
  ["of different lengths, in several chunks", [40, 7, 0, 100], Math.ceil(100 / 8)],
  ["of equal lengths, in one chunk", [8, 8, 8, 8], 1],
  ["that one rank alone has", [0, 0, 0, 9], 2],
  ["of no rank", [0, 0, 0, 0], 0],
])("all-gathers of at most 32 bytes gather bytes %s", async (_, lengths, calls) => {
  const given = lengths.map(bytesOf);
  const ranks = worlds(lengths.length).map(counted);
  const all = ranks.map(({ world }, rank) => gatherByTensors(world, device, given[rank]!, 32));
  for (const found of await Promise.all(all)) expect(found).toEqual(given);
  expect(ranks.map((rank) => rank.calls)).toEqual(lengths.map(() => ({ sum: 1, allGather: calls })));
});

test("a rank passes a barrier only when all ranks have reached it", async () => {
  const ranks = worlds(3).map((world) => stopTogether(world, undefined).world!);
  const passed: number[] = [];
  const waiting = ranks.slice(0, 2).map((world) => world.barrier().then(() => passed.push(world.rank)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(passed).toEqual([]);
  await Promise.all([...waiting, ranks[2]!.barrier()]);
  expect(passed).toHaveLength(2);
  await soloWorld.barrier();
});
