import { expect, test } from "vitest";
import { prefillRuns } from "../../lib/inference/prefill-runs.ts";

const item = (slot: number, length: number) => ({ slot, ids: Array.from({ length }, (_, i) => 100 * slot + i) });

/** Returns the runs' parts as [slot, index of the first id, number of ids]. */
const shapesOf = (...[items, options]: Parameters<typeof prefillRuns>) =>
  [...prefillRuns(items, options)].map((run) => run.map(({ slot, from, ids }) => [slot, from, ids.length]));

test("fills each run with as many ids as fit, and continues an item in the next run", () => {
  expect(shapesOf([item(0, 3), item(1, 4)], { rows: 5 })).toEqual([
    [
      [0, 0, 3],
      [1, 0, 2],
    ],
    [[1, 2, 2]],
  ]);
});

test("yields all ids of each item in order, with the item's other fields", () => {
  const given = { ...item(2, 11), length: 40, name: "text" };
  const parts = [...prefillRuns([given], { rows: 4 })].flat();
  expect(parts.flatMap(({ ids }) => ids)).toEqual(given.ids);
  expect(parts.map(({ slot, length, name }) => [slot, length, name])).toEqual(parts.map(() => [2, 40, "text"]));
});

test("cuts an item into the same chunks, whether other items share its runs or not", () => {
  const options = { rows: 10, chunk: 4 };
  const alone = shapesOf([item(2, 9)], options).flat();
  const beside = shapesOf([item(0, 7), item(1, 9), item(2, 9)], options);
  expect(beside.flat().filter(([slot]) => slot === 2)).toEqual(alone);
  expect(alone.map(([, , count]) => count)).toEqual([4, 4, 1]);
  expect(beside.every((run) => run.reduce((rows, [, , count]) => rows + count!, 0) <= 10)).toBe(true);
});

test("yields no run for items without ids", () => {
  expect(shapesOf([item(0, 0)], { rows: 4 })).toEqual([]);
});
