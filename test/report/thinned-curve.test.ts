import { describe, expect, test } from "vitest";
import { plotRange } from "../../lib/report/run/plot-range.ts";
import { ThinnedCurve } from "../../lib/report/run/thinned-curve.ts";

function curveOf(values: readonly (number | null)[]): ThinnedCurve {
  const curve = new ThinnedCurve();
  for (const [i, value] of values.entries()) curve.add(i + 1, value);
  return curve;
}

describe("a thinned curve", () => {
  test("keeps every value of a short run", () => {
    expect(curveOf([3, 1, null, 2]).points).toEqual([
      [1, 3],
      [2, 1],
      [3, null],
      [4, 2],
    ]);
  });

  test("keeps the mean, the extremes and the order of a million values in at most 600 points", () => {
    const count = 1_000_003;
    const curve = new ThinnedCurve();
    for (let i = 0; i < count; i++) curve.add(i + 1, i === 777_777 ? 1e6 : i % 2);
    const { points } = curve;
    expect(points.length).toBeGreaterThan(250);
    expect(points.length).toBeLessThanOrEqual(600);
    for (const [i, [step]] of points.entries()) expect(step).toBeGreaterThan(i === 0 ? 0 : points[i - 1]![0]);
    expect(points.at(-1)![0]).toBe(count);
    expect(points[0]![1]).toBeCloseTo(0.5, 3);
    expect(points.filter(([, , , high]) => high === 1e6)).toHaveLength(1);
    expect(curve.highest).toEqual({ step: 777_778, value: 1e6 });
    expect(curve.first).toEqual({ step: 1, value: 0 });
    expect(curve.last).toEqual({ step: count, value: 0 });
  });

  test("ignores a repeated step, because a chart has one value for each", () => {
    const curve = curveOf([1, 2]);
    curve.add(2, 9);
    curve.add(1, 9);
    expect(curve.points).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  test("leaves values that are not finite out of means and extremes", () => {
    const curve = curveOf([Number.NaN, Number.POSITIVE_INFINITY, 5]);
    expect(curve.lowest).toEqual({ step: 3, value: 5 });
    expect(curve.points.map(([, mean]) => mean)).toEqual([null, null, 5]);
  });
});

describe("the range of a chart", () => {
  const points = (values: readonly number[]) => ({ points: values.map((value, i) => [i + 1, value] as const) });

  test("contains all values, and zero if it is near", () => {
    const { range, above, below } = plotRange([points([2, 5]), points([6])]);
    expect(range[0]).toBe(0);
    expect(range[1]).toBeGreaterThanOrEqual(6);
    expect({ above, below }).toEqual({ above: undefined, below: undefined });
    const far = plotRange([points([1000, 1001])]).range;
    expect(far[0]).toBeGreaterThan(990);
    expect(far[0]).toBeLessThan(1000);
  });

  test("excludes a single exploded value, and reports it", () => {
    const { range, above } = plotRange([points([...Array.from({ length: 200 }, (_, i) => 1 + (i % 10) / 10), 1e9])]);
    expect(above).toBe(1e9);
    expect(range[1]).toBeLessThan(4);
  });

  test("is not empty if all values are equal, or none is a number", () => {
    for (const { range } of [
      plotRange([points([0, 0])]),
      plotRange([points([-3])]),
      plotRange([{ points: [[1, null]] }]),
    ])
      expect(range[1]).toBeGreaterThan(range[0]);
  });
});
