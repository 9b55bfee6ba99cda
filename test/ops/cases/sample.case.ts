// Cases that compare the kernel with the op's reference. sample.test.ts compares sampling with a simple implementation.
import { f32, given, i32, type OpCase, type OpFile, out } from "../harness.ts";

/**
 * Parameters of every row: temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, promptLength and
 * historyLength.
 */
const params = (rows: number, ...values: number[]) =>
  given("f32", [rows, 9], Array.from({ length: rows }, () => values).flat());

const sampleCase = (rows: number, vocabulary: number, top: number, ...values: number[]): OpCase =>
  logitCase([-6, 6], rows, vocabulary, top, ...values);

const logitCase = (
  range: readonly [number, number],
  rows: number,
  vocabulary: number,
  top: number,
  ...values: number[]
): OpCase => ({
  op: "sample",
  label: `${rows} × ${vocabulary} in [${range}], top ${top}, [${values}]`,
  inputs: [
    f32([rows, vocabulary], ...range),
    params(rows, ...values),
    i32([rows, 12], 0, vocabulary),
    i32([rows, 3], -1, vocabulary),
    f32([rows, 3], -4, 4),
    i32([rows, 3], -(2 ** 31), 2 ** 31),
  ],
  outputs: [
    out("i32", rows),
    out("f32", rows),
    ...(top ? [out("i32", rows, top), out("f32", rows, top), out("f32", rows)] : []),
  ],
  // A fixed tolerance of log-probabilities and entropies, because jittered operands (errors.ts) would change which token is chosen. f32 numbers
  // from 8 to 16 are 2⁻²⁰ apart. The tolerance is twice that, for the rounding of a sum and of the result.
  within: 2 * 2 ** -20,
  symbolic: rows,
});

const valid = sampleCase(2, 10, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0);
const withParams = (...values: number[]) => [valid.inputs[0], params(2, ...values), ...valid.inputs.slice(2)];
const refuse = (label: string, inputs: OpCase["inputs"], code: string, message: RegExp) => ({
  ...valid,
  label,
  inputs,
  code,
  message,
});

export default {
  cases: [
    sampleCase(1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0),
    sampleCase(5, 100, 3, 0, 0, 1, 0, 1, 0, 0, 0, 0),
    sampleCase(9, 1001, 7, 0.8, 40, 0.9, 0.05, 1.2, 0.5, 0.25, 4, 12),
    sampleCase(2, 50257, 20, 1, 0, 0.95, 0, 1, 0, 0, 0, 0),
    sampleCase(3, 9001, 9, 0, 0, 1, 0, 1.3, 0, 0, 0, 12),
    sampleCase(6, 9001, 9, 0.7, 600, 0.9, 0.01, 1.3, 0.1, 0.2, 3, 12),
    sampleCase(6, 300, 0, 1.5, 0, 1, 1, 1, 0, 0, 0, 0),
    // At temperature 1, most of the 4000 kept tokens have probability 0. At temperature 20, none has.
    logitCase([-200, 200], 6, 4500, 4, 1, 4000, 1, 0, 1, 0, 0, 0, 0),
    logitCase([-200, 200], 6, 4500, 4, 20, 4000, 0.99, 0, 1, 0, 0, 0, 0),
    // All logits are equal, so that ids alone order the tokens.
    logitCase([1.5, 1.5], 6, 9001, 9, 1, 7000, 0.75, 0, 1, 0, 0, 0, 0),
    logitCase([1.5, 1.5], 6, 9001, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0),
  ],
  failures: [
    refuse(
      "a negative temperature",
      withParams(-1, 0, 1, 0, 1, 0, 0, 0, 0),
      "INVALID_ARGUMENT",
      /^sample: temperature of row \d: expected a finite number of at least 0, got -1/,
    ),
    refuse("top-p 0", withParams(1, 0, 0, 0, 1, 0, 0, 0, 0), "INVALID_ARGUMENT", /^sample: topP of row \d/),
    refuse(
      "a fractional top-k",
      withParams(1, 1.5, 1, 0, 1, 0, 0, 0, 0),
      "INVALID_ARGUMENT",
      /^sample: topK of row \d/,
    ),
    refuse(
      "a history past its tensor",
      withParams(1, 0, 1, 0, 1, 0, 0, 0, 13),
      "INVALID_ARGUMENT",
      /^sample: historyLength of row \d/,
    ),
    refuse(
      "a prompt longer than the history",
      withParams(1, 0, 1, 0, 1, 0, 0, 5, 4),
      "INVALID_ARGUMENT",
      /^sample: promptLength of row \d/,
    ),
    refuse(
      "an id outside the vocabulary in the history",
      withParams(1, 0, 1, 0, 1.5, 0, 0, 0, 12).with(2, i32([2, 12], 10, 11)),
      "INVALID_ARGUMENT",
      /^sample: history id 10 of row \d is outside \[0, 10\)$/,
    ),
    refuse(
      "a bias id below -1",
      valid.inputs.with(3, i32([2, 3], -7, -6)),
      "INVALID_ARGUMENT",
      /^sample: bias id -7 of row \d is outside \[0, 10\)$/,
    ),
    refuse(
      "NaN",
      valid.inputs.with(0, given("f32", [2, 10], [0, 0, 0, Number.NaN, ...Array<number>(16).fill(0)])),
      "NUMERICAL",
      /^sample: logits of row \d: expected finite numbers, got NaN$/,
    ),
    refuse(
      "infinity",
      valid.inputs.with(0, given("f32", [2, 10], [...Array<number>(19).fill(0), Number.POSITIVE_INFINITY])),
      "NUMERICAL",
      /^sample: logits of row 1: expected finite numbers, got infinity$/,
    ),
    refuse(
      "no token left",
      valid.inputs.with(0, given("f32", [2, 10], Array<number>(20).fill(Number.NEGATIVE_INFINITY))),
      "NUMERICAL",
      /^sample: logits of row \d: expected finite numbers, got -infinity for every token$/,
    ),
  ],
} satisfies OpFile;
