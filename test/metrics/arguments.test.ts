// Every metric rejects an invalid argument with INVALID_ARGUMENT and names it, and accepts typed arrays.
import { describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import { calibration } from "../../lib/metrics/calibration.ts";
import { classificationReport } from "../../lib/metrics/classification.ts";
import { retrieval, spearman } from "../../lib/metrics/retrieval.ts";
import { fitTemperature, softmax } from "../../lib/metrics/temperature.ts";

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const wrong = (f: (...given: any[]) => unknown, ...given: unknown[]) => {
  let caught: unknown;
  try {
    f(...given);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(HeddleError);
  expect((caught as HeddleError).code).toBe("INVALID_ARGUMENT");
  return (caught as HeddleError).message;
};

describe("invalid arguments", () => {
  test("invalid arguments of calibration are rejected by name", () => {
    expect(wrong(calibration)).toBe("confidences: expected an array, got undefined");
    expect(wrong(calibration, [0.5])).toBe("correct: expected an array, got undefined");
    expect(wrong(calibration, ["a"], [true])).toBe('confidences[0]: expected a number, got "a"');
    expect(wrong(calibration, [0.5, 0.6], [true])).toBe("correct: expected 2 values, got 1");
    const of = (options: unknown) => wrong(calibration, [0.5], [true], options);
    expect(of(null)).toBe("calibration: expected an object of options, got null");
    expect(of({ bin: 3 })).toBe('calibration: expected one of bins, bootstrap, level, seed, got "bin"');
    expect(of({ bins: 1e10 })).toBe("bins: expected a whole number from 1 to 10000, got 10000000000");
    expect(of({ bins: 0 })).toMatch(/^bins: /);
    expect(of({ bootstrap: 1e9 })).toMatch(/^bootstrap: expected a whole number from 0 to 1000000, got 1000000000/);
    expect(of({ level: 1 })).toBe("level: expected a number above 0 and below 1, got 1");
    expect(of({ seed: 0.5 })).toMatch(/^seed: /);
  });

  test("invalid arguments of classificationReport are rejected by name", () => {
    expect(wrong(classificationReport)).toMatch(/^labels: expected a whole number/);
    expect(wrong(classificationReport, [0], [0], 1e10)).toBe(
      "labels: expected a whole number from 0 to 1000000, got 10000000000",
    );
    expect(wrong(classificationReport, undefined, [0], 2)).toBe("truth: expected an array, got undefined");
    expect(wrong(classificationReport, [0], [2], 2)).toBe(
      "predicted[0]: expected a whole number from 0 to below 2, got 2",
    );
    expect(wrong(classificationReport, [0, 1], [1], 2)).toBe("predicted: expected 2 values, got 1");
    expect(wrong(classificationReport, ["a"], ["b"], ["a"])).toBe('predicted[0]: expected one of a (labels), got "b"');
    expect(wrong(classificationReport, ["a"], [1])).toBe("predicted[0]: expected a label, got 1");
    expect(wrong(classificationReport, ["a"], ["a"], ["a", "b", "a"])).toBe(
      'labels[2]: expected a label that occurs once in the list, got "a"',
    );
    expect(wrong(classificationReport, [], ["a"])).toBe("predicted: expected 0 values, got 1");
    expect(wrong(classificationReport, ["a", "a"], ["a"])).toBe("predicted: expected 2 values, got 1");
  });

  test("invalid arguments of retrieval and spearman are rejected by name", () => {
    expect(wrong(retrieval)).toBe("documents: expected an array, got undefined");
    expect(wrong(retrieval, [undefined], [[1]], [0])).toBe("queries[0]: expected an array, got undefined");
    expect(wrong(retrieval, [[1, 2]], [[1]], [0])).toBe("queries[0]: expected 1 values, got 2");
    expect(wrong(retrieval, [[1]], [[1], [1, 2]], [0])).toBe("documents[1]: expected 1 values, got 2");
    expect(wrong(retrieval, [[1]], [["a"]], [0])).toBe('documents[0][0]: expected a number, got "a"');
    expect(wrong(retrieval, [[1]], [[1]], [1])).toBe("relevant[0]: expected a whole number from 0 to below 1, got 1");
    expect(wrong(retrieval, [[1]], [[1]], [0], { k: [1] })).toMatch(/^k: /);
    expect(wrong(retrieval, [[1]], [[1]], [0], { ks: 5 })).toBe("ks: expected an array, got 5");
    expect(wrong(retrieval, [[1]], [[1]], [0], { others: [[0]] })).toBe("others[0]: expected a Set, got [0]");
    expect(wrong(spearman, [1])).toBe("b: expected an array, got undefined");
    expect(wrong(spearman, [1], [1, 2])).toBe("b: expected 1 values, got 2");
  });

  test("invalid arguments of fitTemperature are rejected by name", () => {
    expect(wrong(fitTemperature)).toBe("logits: expected an array, got undefined");
    expect(wrong(fitTemperature, [[1, 2]], [])).toBe("truth: expected 1 values, got 0");
    expect(wrong(fitTemperature, [null], [0])).toBe("logits[0]: expected an array, got null");
    expect(wrong(fitTemperature, [[1, 2]], [2])).toBe("truth[0]: expected a whole number from 0 to 1, got 2");
  });

  test("include typed arrays whose buffer is detached", () => {
    const values = Float64Array.of(0.5);
    structuredClone(values.buffer, { transfer: [values.buffer] });
    const expected = "confidences: expected an array that is not detached, got a detached Float64Array";
    expect(wrong(calibration, values, values)).toBe(expected);
  });
});

test("typed arrays and logits of a large vocabulary are accepted", () => {
  expect(
    spearman(
      Array.from({ length: 300 }, (_, i) => i),
      new Uint8Array(300).map((_, i) => i / 2) as never,
    ),
  ).toBe(
    spearman(
      Array.from({ length: 300 }, (_, i) => i),
      Array.from({ length: 300 }, (_, i) => i >> 1),
    ),
  );
  expect(calibration(Float32Array.of(0.5, 1) as never, [true, true], { bootstrap: 0 }).count).toBe(2);
  expect(softmax(new Float32Array(500_000))[0]).toBeCloseTo(1 / 500_000, 10);
});
