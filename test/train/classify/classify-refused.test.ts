// Rows, options and models that classifier training rejects.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import { type TrainClassifierOptions, trainClassifier } from "../../../lib/train/stages/classify.ts";
import { expectError } from "../../formats/helpers.ts";
import { failureOf } from "../../inference/helpers.ts";
import { newModel, options, rows } from "../options/named-things.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-classify-refused-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("trainClassifier", () => {
  const failing = async (lines: unknown[], more: Partial<TrainClassifierOptions> = {}) => {
    const path = join(folder, "bad.jsonl");
    await writeFile(path, lines.map((l) => (typeof l === "string" ? l : JSON.stringify(l))).join("\n"));
    await using base = newModel();
    const { code, message } = await failureOf(() => trainClassifier(base, options({ data: path, ...more })));
    return `${code} ${message.replace(path, "bad.jsonl")}`;
  };
  const good = rows(6);
  test.each<[string, unknown[], string, Partial<TrainClassifierOptions>?]>([
    [
      "text that is not JSON",
      [good[0], "{"],
      "INVALID_FILE bad.jsonl:2: expected a JSON object, got text that is not JSON",
    ],
    [
      "an array instead of an object",
      [good[0], "", "[1]"],
      "INVALID_FILE bad.jsonl:3: expected a JSON object, got [1]",
    ],
    ["a missing label", [good[0], { text: "a" }], "INVALID_FILE bad.jsonl:2: label: expected a label"],
    ["an empty text", [{ text: "  ", label: "a" }], "INVALID_FILE bad.jsonl:1: text: expected a text"],
    [
      "a fractional label",
      [{ text: "a", label: 1.5 }],
      'INVALID_FILE bad.jsonl:1: label: expected a label, or problemType "regression" for numbers, got 1.5',
    ],
    [
      "a list of labels",
      [{ text: "a", labels: ["x"] }],
      'INVALID_FILE bad.jsonl:1: label: expected one, or problemType "multi_label_classification" for labels, got nothing',
    ],
    [
      "only one label",
      [
        { text: "a", label: "x" },
        { text: "b", label: "x" },
      ],
      'INVALID_FILE bad.jsonl: expected at least two labels among its rows, got only "x"',
    ],
    [
      "an unknown label",
      good,
      "INVALID_FILE bad.jsonl:3: label: expected one of animal, plant",
      { labels: ["animal", "plant"] },
    ],
    [
      "a label that occurs only in evalData",
      good,
      "INVALID_ARGUMENT evalData: row 1: label: expected one of animal, plant, tool",
      { evalData: [{ text: "a", label: "stone" }] },
    ],
    ["a text that is too long", good, "INVALID_FILE bad.jsonl:1: text: expected at most 3 tokens", { maxSeqLength: 3 }],
    ["no rows", [""], "INVALID_FILE bad.jsonl: expected at least one row, got none"],
    [
      "a `labels` option of a single label",
      good,
      'INVALID_ARGUMENT labels: expected at least two, got only "animal"',
      { labels: ["animal"] },
    ],
    [
      "a number of labels that differs from the number of words",
      [{ tokens: ["a", "b"], labels: ["O"] }],
      "INVALID_FILE bad.jsonl:1: labels: expected 2 labels",
    ],
    [
      "rows with texts and rows with words",
      [good[0], { tokens: ["a"], labels: ["O"] }],
      "INVALID_FILE bad.jsonl:2: tokens: expected a row of the same kind",
    ],
    [
      "a weight for an unknown label",
      good,
      "INVALID_ARGUMENT classWeights: expected labels of animal",
      { classWeights: { stone: 2 } },
    ],
    [
      "class weights for several labels per text",
      good,
      "INVALID_ARGUMENT classWeights: expected no weights with problemType multi_label_classification, got ",
      { problemType: "multi_label_classification", classWeights: "balanced" },
    ],
    [
      "class weights for a regression",
      good,
      "INVALID_ARGUMENT classWeights: expected no weights with problemType regression, got ",
      { problemType: "regression", classWeights: { value: 2 } },
    ],
    [
      "label smoothing for several labels per text",
      good,
      "INVALID_ARGUMENT labelSmoothingFactor: expected 0 with problemType multi_label_classification, got 0.1",
      { problemType: "multi_label_classification", labelSmoothingFactor: 0.1 },
    ],
    [
      "label smoothing for a regression",
      good,
      "INVALID_ARGUMENT labelSmoothingFactor: expected 0 with problemType regression, got 0.1",
      { problemType: "regression", labelSmoothingFactor: 0.1 },
    ],
  ])("rejects data or options with %s", async (_, lines, message, more = {}) => {
    expect(await failing(lines, more)).toContain(message);
  });

  test("rejects invalid options, missing files, models without a tokenizer or classifier, texts that are too long, and aborted runs", async () => {
    await using base = newModel();
    expect(await failureOf(() => trainClassifier(base, options({ data: join(folder, "none.jsonl") })))).toMatchObject({
      code: "NOT_FOUND",
    });
    await expectError(
      () => trainClassifier(base, { ...options(), labelSmoothingFacto: 1 } as never),
      "INVALID_ARGUMENT",
      /labelSmoothingFacto: expected a known option \(nearest: labelSmoothingFactor\)/,
    );
    await using bare = createModel({ modelType: "llama", hiddenSize: 32, numHiddenLayers: 1, vocabSize: 320 });
    expect(await failureOf(() => trainClassifier(bare, options()))).toMatchObject({
      message: expect.stringContaining("expected a model with a tokenizer"),
    });
    await expectError(
      () => base.classify("x"),
      "UNSUPPORTED",
      /expected a sequence classification head, got a llama without/,
    );
    await using long = newModel();
    await trainClassifier(long, options({ maxSteps: 1, truncation: true, maxSeqLength: 4 }));
    await expectError(() => long.classify("word ".repeat(200)), "CONTEXT_OVERFLOW", /expected at most 64 tokens/);
    const controller = new AbortController();
    controller.abort();
    expect(await failureOf(() => trainClassifier(long, options({ signal: controller.signal })))).toMatchObject({
      code: "ABORTED",
    });
  });
});
