import { checkWhole } from "../core/option-values.ts";
import { checkList, checkNumbers } from "./arguments.ts";

const { some } = Array.prototype;

/** Returns softmax(logits / temperature). */
export function softmax(logits: ArrayLike<number>, temperature = 1): number[] {
  const scaled = Array.from(logits, (v) => v / temperature);
  const most = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = scaled.map((v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** Returns 1 / (1 + e^−x). */
export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/** The range in which `fitTemperature` searches. */
const [MIN_TEMPERATURE, MAX_TEMPERATURE] = [0.01, 100];

/**
 * Temperature scaling (Guo et al. 2017): finds the temperature that maximizes the likelihood of held-out labels. It changes the
 * confidence of answers, not the answers. As in Platt (1999), the targets are smoothed with one additional example that is spread evenly
 * over all labels. Otherwise a model that is always right would become infinitely confident.
 * @param logits one row per example, one logit per label @param truth label indices
 * @returns a temperature from 0.01 to 100; 1 if there are no examples; NaN if a logit is not finite
 * @throws HeddleError INVALID_ARGUMENT
 */
export function fitTemperature(logits: readonly ArrayLike<number>[], truth: readonly number[]): number {
  checkList("logits", logits);
  checkList("truth", truth, logits.length);
  for (const [i, row] of logits.entries()) {
    checkNumbers(`logits[${i}]`, row);
    checkWhole(`truth[${i}]`, truth[i], 0, row.length - 1);
  }
  const count = logits.length;
  if (count === 0) return 1;
  // An infinite logit makes the slope NaN, so bisection would have no sign to follow.
  if (logits.some((row) => some.call(row, (logit) => !Number.isFinite(logit)))) return Number.NaN;
  // The log-likelihood is concave in 1/T. Its slope Σ (target logit − expected logit) decreases, so bisection finds its zero.
  const slope = (inverse: number) =>
    logits.reduce((sum, row, i) => {
      const p = softmax(row, 1 / inverse);
      const others = 1 / (row.length * (count + 1));
      let own = 0;
      for (let l = 0; l < row.length; l++) {
        const target = l === truth[i] ? 1 - (row.length - 1) * others : others;
        own += (target - p[l]!) * row[l]!;
      }
      return sum + own;
    }, 0);
  let [low, high] = [Math.log(1 / MAX_TEMPERATURE), Math.log(1 / MIN_TEMPERATURE)];
  if (slope(Math.exp(low)) <= 0) return MAX_TEMPERATURE;
  if (slope(Math.exp(high)) >= 0) return MIN_TEMPERATURE;
  // 60 halvings of log(1/T), whose range is ln 10^4, exceed the precision of a double.
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (slope(Math.exp(middle)) > 0) low = middle;
    else high = middle;
  }
  return 1 / Math.exp((low + high) / 2);
}
