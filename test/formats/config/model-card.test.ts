import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { modelCardFromGguf, parseModelCard, readModelCard, writeModelCard } from "../../../lib/formats/model-card.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel } from "../../inference/helpers.ts";
import { expectError, temporaryFolder } from "../helpers.ts";

test("a model card survives writing and reading, and invalid fields are rejected", async () => {
  const folder = temporaryFolder();
  expect(await readModelCard(folder)).toBeUndefined();
  await writeModelCard(folder, {
    stage: "pretrain",
    data: [{ name: "tinystories", license: "CDLA-Sharing-1.0", tokens: 5 }],
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
    evaluations: [{ name: "held-out", metric: "bitsPerByte", value: 0.9 }],
  });
  expect(await readModelCard(folder)).toMatchObject({
    stage: "pretrain",
    parent: null,
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
  });
  await expectError(() => parseModelCard({}), "INVALID_ARGUMENT", /model card: stage: expected a string, got nothing/);
  await expectError(
    () => parseModelCard({ stage: "sft", trainingCutoffDate: "June" }),
    "INVALID_ARGUMENT",
    /trainingCutoffDate: expected a date such as/,
  );
  for (const trainingCutoffDate of ["2024-13-45", "2024-00", "2023-02-29", "2024-06-31", "2024-6-1", "1900-02-29"])
    await expectError(
      () => parseModelCard({ stage: "sft", trainingCutoffDate }),
      "INVALID_ARGUMENT",
      /trainingCutoffDate: expected a date such as 2024-06-30, got/,
    );
  for (const trainingCutoffDate of ["2024", "2024-12", "2024-02-29", "2000-02-29", "0099-12-31"])
    expect(parseModelCard({ stage: "sft", trainingCutoffDate }).trainingCutoffDate).toBe(trainingCutoffDate);
  await expectError(
    () => parseModelCard({ stage: "sft", tokensSeen: -1 }),
    "INVALID_ARGUMENT",
    / model card: tokensSeen: expected a whole number, got -1/,
  );
});

describe("a model card file", () => {
  const warnings: string[] = [];
  beforeEach(() => {
    warnings.length = 0;
    vi.spyOn(process, "emitWarning").mockImplementation((warning) => void warnings.push(String(warning)));
  });
  afterEach(() => vi.restoreAllMocks());
  const read = async (card: unknown) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "model_card.json"), JSON.stringify(card));
    return readModelCard(folder);
  };

  test("is read without its invalid fields, with a warning for each, and the model still loads", async () => {
    const card = {
      stage: "sft",
      name: "small",
      trainingCutoffDate: "2023-02-30",
      tokensSeen: -1,
      evaluations: [{ name: "held-out", metric: "accuracy", value: "high" }],
      data: [{ name: "a.jsonl" }],
      color: "blue",
    };
    const expected = {
      ...{ stage: "sft", name: "small", data: [{ name: "a.jsonl" }] },
      ...{ parent: null, tokensSeen: 0, trainingCutoffDate: null, evaluations: [] },
    };
    expect(await read(card)).toEqual(expected);
    expect(warnings.sort()).toEqual([
      expect.stringMatching(
        /model_card\.json: evaluations\.0\.value: expected a number, got "high"; the field is ignored$/,
      ),
      expect.stringMatching(/json: tokensSeen: expected a whole number, got -1; the field is ignored$/),
      expect.stringMatching(
        /trainingCutoffDate: expected a date such as 2024-06-30, got "2023-02-30"; the field is ignored/,
      ),
    ]);
    warnings.length = 0;
    const metadata = new Map([["heddle.model_card", { type: "string", value: JSON.stringify(card) }]] as const);
    const path = join(temporaryFolder(), "model.gguf");
    await writeGguf(path, { metadata, tensors: [] });
    const weights = await openWeights(path);
    expect(modelCardFromGguf(weights.gguf!)).toEqual(expected);
    weights.close();
    expect(warnings).toHaveLength(3);
    const model = tinyModel();
    const folder = join(temporaryFolder(), "model");
    await model.save(folder);
    await model.dispose();
    writeFileSync(join(folder, "model_card.json"), JSON.stringify(card));
    await using loaded = await LanguageModel.load(folder);
    expect(loaded.card).toEqual(expected);
  });

  test("is rejected if it is not a card", async () => {
    await expectError(
      () => read({ name: "a" }),
      "INVALID_FILE",
      /model_card\.json: stage: expected a string, got nothing/,
    );
    await expectError(() => read([1]), "INVALID_FILE", /model_card\.json: content: expected an object, got \[1\]/);
    expect(warnings).toEqual([]);
  });
});
