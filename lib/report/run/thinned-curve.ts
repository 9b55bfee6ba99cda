import type { CurvePoint } from "../charts.ts";

/** Maximum number of points of a curve, about as many as a chart has pixels. */
const MAX_POINTS = 600;

/** Consecutive values that share a point. */
interface Bucket {
  /** The last step of the bucket. */
  step: number;
  /** Number of values. */
  values: number;
  /** Number of finite values. */
  finite: number;
  /** Sum of the finite values. */
  sum: number;
  /** Smallest finite value. */
  low: number;
  /** Largest finite value. */
  high: number;
}

/** A value at a step. */
export interface At {
  step: number;
  value: number;
}

/**
 * A curve of any length in bounded memory. All points but the last cover the same number of values. If there are too many points, pairs of
 * neighbors are merged.
 */
export class ThinnedCurve {
  private buckets: Bucket[] = [];
  /** Number of values per point. */
  private size = 1;
  private lastStep = Number.NEGATIVE_INFINITY;
  /** The first, last, lowest and highest finite value. */
  first: At | undefined;
  last: At | undefined;
  lowest: At | undefined;
  highest: At | undefined;

  /** Adds the value of a step, which may be null or not finite. Ignores a step that is not greater than the last step. */
  add(step: number, given: number | null): void {
    if (step <= this.lastStep) return;
    this.lastStep = step;
    const value = given !== null && Number.isFinite(given) ? given : undefined;
    const open = this.buckets.at(-1);
    const one: Bucket = {
      step,
      values: 1,
      finite: value === undefined ? 0 : 1,
      sum: value ?? 0,
      low: value ?? Number.POSITIVE_INFINITY,
      high: value ?? Number.NEGATIVE_INFINITY,
    };
    if (open && open.values < this.size) this.buckets[this.buckets.length - 1] = merged(open, one);
    else this.buckets.push(one);
    if (this.buckets.length > MAX_POINTS) this.halve();
    if (value === undefined) return;
    this.last = { step, value };
    this.first ??= this.last;
    if (!this.lowest || value < this.lowest.value) this.lowest = this.last;
    if (!this.highest || value > this.highest.value) this.highest = this.last;
  }

  get points(): CurvePoint[] {
    return this.buckets.map(({ step, finite, sum, low, high }) => {
      if (finite === 0) return [step, null];
      const mean = short(sum / finite);
      return finite === 1 ? [step, mean] : [step, mean, short(low), short(high)];
    });
  }

  private halve(): void {
    const before = this.buckets;
    this.buckets = [];
    for (let i = 0; i < before.length; i += 2) {
      const [a, b] = [before[i]!, before[i + 1]];
      this.buckets.push(b ? merged(a, b) : a);
    }
    this.size *= 2;
  }
}

function merged(a: Bucket, b: Bucket): Bucket {
  return {
    step: b.step,
    values: a.values + b.values,
    finite: a.finite + b.finite,
    sum: a.sum + b.sum,
    low: Math.min(a.low, b.low),
    high: Math.max(a.high, b.high),
  };
}

/** Rounds a value to six digits, which are more than a chart shows, to keep the page small. */
const short = (value: number) => Number(value.toPrecision(6));
