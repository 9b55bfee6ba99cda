import { expect, test } from "vitest";
import { SlowRanks } from "../../../lib/train/world/slow-ranks.ts";
import { stopIfAgreed, stopTogether } from "../../../lib/train/world/stop-together.ts";
import { worlds } from "./worlds.ts";

test("a signal of one rank stops all ranks at the same step", async () => {
  const controller = new AbortController();
  const ranks = worlds(3).map((world) => stopTogether(world, world.rank === 1 ? controller.signal : undefined));
  const step = () => Promise.allSettled(ranks.map(({ world, signal }) => stopIfAgreed(world!, signal)));
  expect((await step()).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  controller.abort();
  expect(ranks.map(({ signal }) => signal!.aborted)).toEqual([false, false, false]); // no rank stops alone
  for (const result of await step()) expect(result).toMatchObject({ status: "rejected", reason: { code: "ABORTED" } });
});

test("a process alone keeps its own signal", async () => {
  const { signal } = new AbortController();
  expect(stopTogether(undefined, signal)).toEqual({ world: undefined, signal });
});

test("a slow rank is named once", () => {
  const slow = new SlowRanks(4);
  const steps = (seconds: number[], count = 20) => Array.from({ length: count }, () => slow.add(seconds));
  expect(steps([1, 1.2, 1.1, 1])).toEqual(new Array(20).fill(undefined));
  const found = steps([1, 1, 2, 1]).filter((message) => message !== undefined);
  expect(found).toEqual([
    "world: rank 2 of 4 is slow: it computes for 2000 ms per step, and half of the ranks need at most 1000 ms; the other ranks wait for it",
  ]);
  expect(steps([1, 1, 2, 1]).filter((message) => message !== undefined)).toEqual([]);
  expect(new SlowRanks(2).add([0.001, 0.005])).toBeUndefined();
});
