import fc from "fast-check";
import { expect, test } from "vitest";
import { packBestFit } from "../../lib/data/packing.ts";
import { leastOf } from "../helpers/clock.ts";

/** Reference best-fit decreasing that tries every bin. */
function plainly(lengths: readonly number[], capacity: number): number[][] {
  const items = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const bins: { room: number; items: number[] }[] = [];
  for (const item of items) {
    const length = lengths[item]!;
    const fitting = bins.filter((bin) => bin.room >= length);
    const least = Math.min(...fitting.map((bin) => bin.room));
    if (fitting.length === 0) bins.push({ room: capacity - length, items: [item] });
    else {
      const best = fitting.find((bin) => bin.room === least)!;
      best.items.push(item);
      best.room -= length;
    }
  }
  return bins.map((bin) => bin.items);
}

test("packing puts every item into exactly one bin without overflow, with the fill levels of a naive best fit", () => {
  const cases = fc.integer({ min: 1, max: 40 }).chain((capacity) =>
    fc.record({
      capacity: fc.constant(capacity),
      lengths: fc.array(fc.integer({ min: 1, max: capacity }), { maxLength: 60 }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ capacity, lengths }) => {
      const bins = packBestFit(lengths, capacity);
      expect(bins.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
      const fills = (of: number[][]) => of.map((bin) => bin.reduce((n, i) => n + lengths[i]!, 0));
      for (const fill of fills(bins)) expect(fill).toBeLessThanOrEqual(capacity);
      // An item may go into any of several equal bins, so compare only the fill levels.
      const sorted = (list: number[]) => list.sort((a, b) => a - b);
      expect(sorted(fills(bins))).toEqual(sorted(fills(plainly(lengths, capacity))));
    }),
  );
});

test("packing a hundred thousand items takes less than two seconds", async () => {
  const lengths = Array.from({ length: 100_000 }, (_, i) => 1 + ((i * 7919) % 2048));
  let bins: number[][] = [];
  const pack = () => {
    const started = performance.now();
    bins = packBestFit(lengths, 2048);
    return performance.now() - started;
  };
  expect(await leastOf(2000, pack)).toBeLessThan(2000);
  const total = lengths.reduce((a, b) => a + b, 0);
  expect(total / (bins.length * 2048)).toBeGreaterThan(0.99);
});
