import { expect, test } from "vitest";
import { eachUrgently, inSlices, type Slices } from "../../lib/core/slices.ts";

function busyFor(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** Work of `count` steps that cannot be divided further. */
function* steps(count: number, milliseconds: number): Slices<number> {
  for (let i = 0; i < count; i++) {
    busyFor(milliseconds);
    yield;
  }
  return count;
}

/** Returns the number of turns that the event loop gets during `work`. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  await work();
  running = false;
  return turns;
}

test.each([4, 30])("the event loop gets a turn after each step that takes %i ms, longer than a slice", async (ms) => {
  expect(await turnsDuring(() => inSlices(steps(8, ms), "the test"))).toBeGreaterThanOrEqual(7);
});

test("steps shorter than a slice share a turn", async () => {
  expect(await turnsDuring(() => inSlices(steps(100, 0.05), "the test"))).toBeLessThan(40);
});

test("concurrent work shares one slice per turn", async () => {
  const work = () => Promise.all(Array.from({ length: 4 }, () => inSlices(steps(20, 1), "the test")));
  expect(await turnsDuring(work)).toBeGreaterThanOrEqual(15);
});

test("concurrent work advances at the same rate", async () => {
  const done = [0, 0, 0];
  const work = function* (which: number): Slices<void> {
    for (; done[which]! < 300; done[which]!++) {
      busyFor(0.1);
      yield;
    }
  };
  await Promise.race(done.map((_, which) => inSlices(work(which), "the test")));
  expect(Math.min(...done)).toBeGreaterThan(150);
});

test("work that ends early leaves the rest of its slice to the others", async () => {
  const work = () => Promise.all(Array.from({ length: 40 }, () => inSlices(steps(2, 0.1), "the test")));
  expect(await turnsDuring(work)).toBeLessThan(20);
});

test("an aborted signal ends the work at its next pause", async () => {
  const controller = new AbortController();
  setImmediate(() => controller.abort());
  await expect(inSlices(steps(1000, 4), "the test", controller.signal)).rejects.toMatchObject({ code: "ABORTED" });
});

test("urgent work resumes before work that has waited longer", async () => {
  let others = 0;
  const other = function* (): Slices<void> {
    for (let i = 0; i < 100; i++) {
      busyFor(1);
      others++;
      yield;
    }
  };
  const controller = new AbortController();
  const waiting = Array.from({ length: 20 }, () => inSlices(other(), "the test", controller.signal).catch(() => {}));
  const before = others;
  await eachUrgently(Array(12).keys(), () => busyFor(1));
  const meanwhile = others - before;
  controller.abort();
  await Promise.all(waiting);
  // If the urgent work took turns with the twenty others, its twelve steps would take four rounds. In each round, each of the others would make
  // three steps.
  expect(meanwhile).toBeLessThan(40);
});

test("urgent work lets the event loop have turns", async () => {
  expect(await turnsDuring(() => eachUrgently(Array(8).keys(), () => busyFor(4)))).toBeGreaterThanOrEqual(7);
});
