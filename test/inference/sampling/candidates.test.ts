// The likeliest tokens of each step, up to the whole vocabulary.
import { afterAll, describe, expect, test } from "vitest";
import { type GenerateOptions, LanguageModel } from "../../../lib/index.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";

const model = await LanguageModel.load("default");
afterAll(() => model.dispose());
const { vocabSize } = model.config;
const prompt = "Once upon a time";
const MAX_MS = 50;

test("each candidate's text is that of its token alone", async () => {
  const { top, tokens } = await model.complete(prompt, { temperature: 0, maxTokens: 3, topLogprobs: vocabSize });
  expect(top!.map(([best]) => best!.token)).toEqual(tokens);
  for (const step of top!) {
    expect(new Set(step.map(({ token }) => token)).size).toBe(vocabSize);
    expect(step.map(({ text }) => text)).toEqual(step.map(({ token }) => model.tokenizer!.decode([token])));
  }
});

describe.skipIf(!saysTurns)("a vocabulary of candidates", () => {
  const all = { topLogprobs: vocabSize, ignoreEos: true, seed: 1 };
  test.each<[string, string, GenerateOptions]>([
    ["for each token of one text", prompt, { ...all, maxTokens: 150 }],
    ["for each token of several texts", prompt, { ...all, maxTokens: 30, n: 8 }],
    [
      "for each token of a prompt",
      `${prompt} there was a cat. `.repeat(20),
      { promptLogprobs: vocabSize, maxTokens: 1, seed: 1 },
    ],
    ["in beam search", prompt, { ...all, seed: undefined, temperature: undefined, maxTokens: 60, numBeams: 4, n: 4 }],
  ])("thousands of candidates %s do not block the event loop", async (_, text, options) => {
    expect(await leastOf(MAX_MS, () => longestTurn(() => model.completeAll([text], options)), 4)).toBeLessThan(MAX_MS);
  });
});
