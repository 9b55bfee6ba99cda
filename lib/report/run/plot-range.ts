import type { CurvePoint } from "../charts.ts";

/** A range of values on a chart, and the values outside it. */
interface PlotRange {
  range: [low: number, high: number];
  /** The largest value, if it is above the range. */
  above: number | undefined;
  /** The smallest value, if it is below the range. */
  below: number | undefined;
}

/** A value is an outlier if it is farther than this multiple of the spread from the 2nd or 98th percentile. The spread is the 98th minus the 2nd. */
const FAR = 8;

/** Chooses the range of values that a chart shows. It leaves out outliers, such as one exploded gradient, which would flatten the curves. */
export function plotRange(curves: readonly { points: readonly CurvePoint[] }[]): PlotRange {
  const known = curves.flatMap(({ points }) =>
    points.flatMap(([, ...values]) => values.filter((value) => typeof value === "number")),
  );
  if (known.length === 0) return { range: [0, 1], above: undefined, below: undefined };
  known.sort((a, b) => a - b);
  const quantile = (share: number) => known[Math.round(share * (known.length - 1))]!;
  let [low, high] = [known[0]!, known.at(-1)!];
  const [p2, p98] = [quantile(0.02), quantile(0.98)];
  const spread = p98 - p2 || Math.abs(p98) / 10;
  const isAbove = spread > 0 && high > p98 + FAR * spread;
  const isBelow = spread > 0 && low < p2 - FAR * spread;
  const [above, below] = [isAbove ? high : undefined, isBelow ? low : undefined];
  if (isAbove) high = p98 + spread / 2;
  if (isBelow) low = p2 - spread / 2;
  // Begin the axis at zero if zero is near, so that the height of a curve is proportional to its value.
  if (low > 0 && low < high / 2) low = 0;
  if (high < 0 && high > low / 2) high = 0;
  if (low === 0 && high === 0) high = 1;
  const room = (high - low || Math.abs(high) || 1) * 0.04;
  return { range: [low === 0 ? 0 : low - room, high === 0 ? 0 : high + room], above, below };
}
