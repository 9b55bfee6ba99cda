import { describe, expect, test } from "vitest";
import { calibration } from "../../lib/metrics/calibration.ts";
import { argmax, classificationReport } from "../../lib/metrics/classification.ts";
import { retrieval, spearman } from "../../lib/metrics/retrieval.ts";
import { fitTemperature, sigmoid, softmax } from "../../lib/metrics/temperature.ts";
import { generator } from "../ops/harness.ts";

describe("classification", () => {
  test("accuracy and F1 match a hand computation", () => {
    // Label 0: 2 of 3 found, 1 of 3 answers wrong; label 1: 1 of 2 found, precision 1/2; label 2 never occurs.
    const report = classificationReport([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], 3);
    expect(report.accuracy).toBeCloseTo(3 / 5);
    expect(report.perLabel[0]).toMatchObject({ precision: 2 / 3, recall: 2 / 3, support: 3 });
    expect(report.perLabel[1]).toMatchObject({ precision: 1 / 2, recall: 1 / 2, f1: 1 / 2 });
    expect(report.perLabel[2]).toMatchObject({ f1: 0, support: 0 });
    expect(report.macroF1).toBeCloseTo((2 / 3 + 1 / 2) / 2);
    expect(argmax([1, 3, 3, 2])).toBe(1);

    // The same by the labels' names, sorted or in a given order.
    const name = (indices: number[]) => indices.map((i) => ["a", "b", "c"][i]!);
    const [truth, predicted] = [name([0, 0, 0, 1, 1]), name([0, 0, 1, 1, 0])];
    const named = (i: number) => ({ label: ["a", "b", "c"][i], ...report.perLabel[i] });
    expect(classificationReport(truth, predicted, ["b", "a", "c"])).toEqual({
      ...report,
      perLabel: [named(1), named(0), named(2)],
    });
    expect(classificationReport(truth, predicted).perLabel).toEqual([named(0), named(1)]);
  });
});

test("a report on no examples has no labels, and NaN as its figures", () => {
  const empty = { accuracy: Number.NaN, macroF1: Number.NaN, perLabel: [], count: 0 };
  expect(classificationReport([], [])).toEqual(empty);
  expect(classificationReport([], [], 0)).toEqual(empty);
});

describe("calibration", () => {
  test("ECE, Brier score and bins match a hand computation", () => {
    // Two answers at 0.9 (one right) and two at 0.6 (both right): |0.5 − 0.9| and |1 − 0.6|, each half of the answers.
    const result = calibration([0.9, 0.9, 0.6, 0.6], [true, false, true, true], { bins: 10, bootstrap: 0 });
    expect(result.ece).toBeCloseTo(0.4);
    expect(result.maximumError).toBeCloseTo(0.4);
    expect(result.brier).toBeCloseTo((0.01 + 0.81 + 0.16 + 0.16) / 4);
    expect(result.bins).toHaveLength(10);
    expect(result.bins[8]).toMatchObject({ count: 2, confidence: 0.9, accuracy: 0.5 });
    expect(result.bins[0]).toMatchObject({ from: 0, to: 0.1, count: 0, confidence: null, accuracy: null });
    expect(calibration([1, 0], [true, false], { bootstrap: 0 }).ece).toBe(0);
  });

  test("a confidence on the border of two bins is in the lower one", () => {
    for (const bins of [10, 15, 100])
      for (let k = 1; k < bins; k++) {
        const result = calibration([k / bins], [true], { bins, bootstrap: 0 });
        expect(result.bins.findIndex(({ count }) => count > 0)).toBe(k - 1);
      }
  });

  test("the interval is NaN if a confidence is NaN", () => {
    const { ece, eceInterval } = calibration([Number.NaN, 0.2, 0.4, 0.6, 0.8], [true, false, true, false, true]);
    expect([ece, eceInterval.low, eceInterval.high]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  });

  test("the interval is reproducible, contains the ECE of an uncalibrated model, and narrows with more answers", () => {
    const random = generator(1);
    const draw = (n: number) => {
      const confidences = Array.from({ length: n }, () => 0.5 + random() / 2);
      return { confidences, correct: confidences.map((c) => random() < c - 0.2) };
    };
    const small = draw(100);
    const large = draw(10_000);
    const [a, b] = [small, large].map(({ confidences, correct }) => calibration(confidences, correct));
    expect(a!.eceInterval).toEqual(calibration(small.confidences, small.correct).eceInterval);
    expect(b!.ece).toBeCloseTo(0.2, 1);
    expect(b!.eceInterval.low).toBeLessThan(b!.ece);
    expect(b!.eceInterval.high).toBeGreaterThan(b!.ece);
    expect(b!.eceInterval.high - b!.eceInterval.low).toBeLessThan((a!.eceInterval.high - a!.eceInterval.low) / 3);
  });
});

describe("temperature", () => {
  test("recovers the temperature that labels were drawn with, and lowers the ECE", () => {
    const random = generator(7);
    const normal = () => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
    const logits = Array.from({ length: 4000 }, () => Float32Array.from({ length: 4 }, () => 4 * normal()));
    const truth = logits.map((row) => {
      let u = random();
      return softmax(row, 2.5).findIndex((p) => {
        u -= p;
        return u < 0;
      });
    });
    const temperature = fitTemperature(logits, truth);
    expect(temperature).toBeGreaterThan(2.3);
    expect(temperature).toBeLessThan(2.7);
    const ece = (t: number) => {
      const p = logits.map((row) => softmax(row, t));
      return calibration(
        p.map((row) => Math.max(...row)),
        p.map((row, i) => argmax(row) === truth[i]),
        { bootstrap: 0 },
      ).ece;
    };
    expect(ece(1)).toBeGreaterThan(0.1);
    expect(ece(temperature)).toBeLessThan(0.03);
  });

  test("stays finite if all answers are right, if all are wrong, and without answers", () => {
    const right = fitTemperature(
      [
        [2, 0],
        [3, 1],
      ],
      [0, 0],
    );
    expect(right).toBeGreaterThan(0.3);
    expect(right).toBeLessThan(2);
    expect(
      fitTemperature(
        [
          [2, 0],
          [3, 1],
        ],
        [1, 1],
      ),
    ).toBe(100);
    expect(fitTemperature([], [])).toBe(1);
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (const row of [[broken, 1], new Float32Array([1, broken])])
        expect(fitTemperature([row, [2, 1]], [0, 1])).toBeNaN();
    expect(softmax([1000, 0, -1000])).toEqual([1, 0, 0]);
    expect(sigmoid(-800)).toBe(0);
    expect(sigmoid(800)).toBe(1);
  });
});

describe("retrieval", () => {
  test("recall and reciprocal rank match a hand computation, with ties ranked before the relevant document", () => {
    const documents = [
      [1, 0],
      [0, 1],
      [0.6, 0.8],
    ];
    const report = retrieval(
      [
        [1, 0],
        [0, 1],
        [0.5, 0.5],
      ],
      documents,
      [0, 2, 1],
      { ks: [1, 2] },
    );
    // Ranks: 1; 2, since document 1 scores higher; 3, since document 2 scores higher and document 0 ties.
    expect(report.recall).toEqual({ 1: 1 / 3, 2: 2 / 3 });
    expect(report.mrr).toBeCloseTo((1 + 1 / 2 + 1 / 3) / 3);
  });

  test("other relevant documents are excluded from the ranks", () => {
    const documents = [[1], [2], [3], [4]];
    // Document 3 scores above 2 for both queries. The first query excludes document 3; excluding its own relevant document has no effect.
    const report = retrieval([[1], [1]], documents, [2, 2], {
      ks: [1],
      others: [new Set([2, 3]), new Set()],
    });
    expect(report).toEqual({ recall: { 1: 1 / 2 }, mrr: (1 + 1 / 2) / 2, queries: 2 });
  });

  test("the metrics are NaN if a score is NaN", () => {
    const missed = { recall: { 1: Number.NaN }, mrr: Number.NaN, queries: 2 };
    const documents = [[1], [2]];
    // The query, the relevant document, or another document has no score.
    expect(retrieval([[Number.NaN], [1]], documents, [0, 1], { ks: [1] })).toEqual(missed);
    expect(retrieval([[1], [1]], [[Number.NaN], [2]], [0, 1], { ks: [1] })).toEqual(missed);
    expect(retrieval([[1], [1]], [[1], [Number.NaN]], [0, 0], { ks: [1] })).toEqual(missed);
    const others = [new Set([1]), new Set([1])];
    expect(retrieval([[1], [1]], [[1], [Number.NaN]], [0, 0], { ks: [1], others }).mrr).toBe(1);
  });

  test("Spearman's correlation handles ties", () => {
    expect(spearman([1, 2, 3, 4], [10, 20, 30, 400])).toBeCloseTo(1);
    expect(spearman([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1);
    // scipy.stats.spearmanr([1, 2, 2, 4, 5], [2, 1, 3, 3, 9]) = 0.7631578947368421
    expect(spearman([1, 2, 2, 4, 5], [2, 1, 3, 3, 9])).toBeCloseTo(0.7631578947368421, 10);
    expect(spearman([1, 1], [1, 2])).toBeNaN();
    // scipy.stats.spearmanr propagates NaN.
    expect(spearman([1, Number.NaN, 3, 2], [1, 2, 3, 4])).toBeNaN();
    expect(spearman([1, 2, 3], [1, 2, Number.NaN])).toBeNaN();
  });
});
