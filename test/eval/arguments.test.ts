// Invalid models, rows and options are rejected with INVALID_ARGUMENT before any computation. An evaluation can be aborted while its source yields nothing.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  compareClassifiers,
  compareTrainedClassifiers,
  isAccepted,
  multipleChoice,
  normalizeAnswer,
  perplexity,
  questionAnswering,
  wordF1,
} from "../../lib/eval/index.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { expectError } from "../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = tinyModel({ tokenizer: await tinyTokenizer() });
});
afterAll(() => model.dispose());

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const refuses = (f: (...given: any[]) => unknown, given: unknown[], message: RegExp | string) =>
  expectError(() => f(...given), "INVALID_ARGUMENT", message);
const rows = [{ question: "q", choices: ["a", "b"], answer: "a" }];
const labeled = [
  { text: "a", label: "x" },
  { text: "b", label: "y" },
];

describe("evaluations", () => {
  test("reject invalid models", async () => {
    for (const f of [perplexity, multipleChoice, questionAnswering])
      for (const given of [undefined, null, 5, "model", {}])
        await refuses(f, [given, rows], /model: expected a LanguageModel, got/);
    await refuses(compareClassifiers, [undefined, labeled], /models: expected an array of models/);
    await refuses(compareClassifiers, [[null], labeled], /models\[0\]: expected an object/);
    const compared = { name: "a", model, kind: "both" };
    await refuses(
      compareClassifiers,
      [[compared], labeled],
      /models\[0\]\.kind: expected discriminative or generative/,
    );
    await refuses(
      compareClassifiers,
      [[{ kind: "generative" }], labeled],
      /models\[0\]\.model: expected a LanguageModel/,
    );
    const both = { data: labeled, evalData: labeled, training: { maxSteps: 1 } };
    await refuses(compareTrainedClassifiers, [undefined, both], /load: expected a function/);
    await refuses(compareTrainedClassifiers, [() => 5, both], /load\(\): expected a LanguageModel, got 5/);
  });

  test("reject invalid rows and texts", async () => {
    for (const given of [undefined, null, 5, {}]) {
      await refuses(perplexity, [model, given], /documents: expected a text, or an iterable of texts/);
      await refuses(multipleChoice, [model, given], /rows: expected files or an iterable of rows/);
    }
    await refuses(normalizeAnswer, [5], /text: expected a string, got 5/);
    await refuses(isAccepted, ["a"], /accepted: expected an array of strings/);
    await refuses(wordF1, ["a", "a"], /accepted: expected an array of strings/);
  });

  test("reject invalid options", async () => {
    const wrong: [Record<string, unknown>, RegExp][] = [
      [{ chat: 1 }, /chat: expected true or false, got 1/],
      [{ system: 1 }, /system: expected a string, got 1/],
      [{ template: 1 }, /template: expected a string, got 1/],
      [{ onProgress: 1 }, /onProgress: expected a function, got 1/],
      [{ calibration: { bins: 1e10 } }, /bins: expected a whole number from 1 to 10000/],
      [{ signal: {} }, /signal: expected an AbortSignal/],
    ];
    for (const [options, message] of wrong)
      for (const f of [multipleChoice, questionAnswering]) await refuses(f, [model, rows, options], message);
    await refuses(perplexity, [model, "text", { onProgress: 1 }], /onProgress: expected a function/);
    const compared = [{ name: "a", model, kind: "generative" }];
    await refuses(compareClassifiers, [compared, labeled, { labels: 5 }], /labels: expected an array of strings/);
    await refuses(compareClassifiers, [compared, labeled, { template: 5 }], /template: expected a string/);
    await refuses(compareTrainedClassifiers, [() => model, { data: labeled }], /training: expected an object/);
    const both = { data: labeled, training: { maxSteps: 1 } };
    await refuses(
      compareTrainedClassifiers,
      [() => model, { ...both, evalFraction: "1" }],
      /evalFraction: expected a number/,
    );
    await refuses(compareTrainedClassifiers, [() => model, { ...both, onEvent: 1 }], /onEvent: expected a function/);
  });
});

test("an evaluation can be aborted while its source yields nothing", async () => {
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
  const signal = () => AbortSignal.timeout(20);
  await expectError(() => perplexity(model, never, { signal: signal() }), "ABORTED", /perplexity: aborted/);
  for (const f of [multipleChoice, questionAnswering])
    await expectError(() => f(model, never, { signal: signal() }), "ABORTED", /rows: aborted/);
  await expectError(
    () => compareClassifiers([{ name: "a", model, kind: "generative" }], never, { signal: signal() }),
    "ABORTED",
    /rows: aborted/,
  );
  expect(await perplexity(model, ["some text", "and more"], { signal: new AbortController().signal })).toMatchObject({
    tokens: expect.any(Number),
  });
}, 20_000);
