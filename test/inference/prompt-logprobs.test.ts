// Log-probabilities of the prompt's tokens, computed during prefill, which processes up to 256 rows in a run.
import { describe, expect, test } from "vitest";
import type { Completion, GenerateOptions, LanguageModel, Piece } from "../../lib/language-model/index.ts";
import { generator } from "../ops/harness.ts";
import { failureOf, tinyModel, tinyTokenizer } from "./helpers.ts";

const random = generator(9);
const ids = (n: number) => Array.from({ length: n }, () => Math.floor(random() * 320));
/** Prompts of one token, of less than a prefill run, of exactly one run and of several runs. */
const prompts = [1, 2, 5, 64, 65, 255, 256, 257, 300, 700].map(ids);
// Shares a prefix with another prompt. Its tokens must still be scored.
prompts.push([...prompts[9]!.slice(0, 400), 3, 4]);

const options = { maxTokens: 3, temperature: 0, ignoreEos: true, promptLogprobs: 0 } as const;
const make = (config: object = {}) => tinyModel({}, { maxPositionEmbeddings: 1024, ...config });

/** Compares with `score`, which runs the model over the prompt alone. */
async function expectScores(model: LanguageModel, prompt: readonly number[], completion: Completion, what = "") {
  const [first, ...others] = completion.promptLogprobs!;
  expect(first, what).toBeNull();
  const scores = [...(await model.score(prompt))].slice(1);
  expect(others.length, what).toBe(scores.length);
  for (const [i, logprob] of others.entries())
    expect(Math.abs(logprob! - scores[i]!), `${what} token ${i + 1} of ${prompt.length}`).toBeLessThan(1e-4);
}

describe.each([
  ["llama", {}],
  [
    "gemma2, with windows and a soft cap",
    { modelType: "gemma2", headDim: 8, slidingWindow: 40, finalLogitSoftcapping: 20 },
  ],
  ["gpt2", { modelType: "gpt2", numKeyValueHeads: 4 }],
  // 40,000 logits per token: a run scores 209 rows.
  ["a large vocabulary", { vocabSize: 40_000 }],
])("prompt log-probabilities of %s", (_name, config) => {
  test("equal those of `score` for prompts of any length in one batch, and change no other result", async () => {
    await using model = make(config);
    const all = await model.completeAll(prompts, options);
    const { promptLogprobs: _, ...plain } = options;
    const without = await model.completeAll(prompts, plain);
    for (const [i, completion] of all.entries()) {
      await expectScores(model, prompts[i]!, completion);
      expect(completion.promptTop).toBeUndefined();
      expect(completion.tokens).toEqual(without[i]!.tokens);
      expect(without[i]!.promptLogprobs).toBeUndefined();
    }
  });
});

test("promptTop has the likeliest tokens of the logits at each position", async () => {
  await using model = make();
  const prompt = prompts[5]!;
  const { promptTop, promptLogprobs, top } = await model.complete(prompt, {
    ...options,
    promptLogprobs: 4,
    topLogprobs: 1,
  });
  const logits = await model.logits(prompt);
  expect(promptTop!.length).toBe(prompt.length);
  expect(promptTop![0]).toBeNull();
  for (let i = 1; i < prompt.length; i++) {
    const row = logits[i - 1]!;
    const most = Math.max(...row);
    const logSum = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
    const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, 4);
    expect(promptTop![i]!.map(({ token }) => token)).toEqual(order);
    for (const { token, logprob } of promptTop![i]!) expect(logprob).toBeCloseTo(row[token]! - logSum, 4);
    expect(promptLogprobs![i]).toBeCloseTo(row[prompt[i]!]! - logSum, 4);
  }
  // Generated tokens have as many candidates as topLogprobs asks for.
  expect(top!.map((row) => row.length)).toEqual([1, 1, 1]);
});

test("samples share their prompt's log-probabilities, maxTokens can be 0, and candidates have their token's text", async () => {
  await using model = tinyModel({ tokenizer: await tinyTokenizer() });
  const text = "The cat saw the sea and ran home. ".repeat(4);
  for (const maxTokens of [0, 2]) {
    const all = await model.completeAll([text, "A"], { ...options, maxTokens, n: 3, promptLogprobs: 1 });
    expect(all.map(({ tokens }) => tokens.length)).toEqual(Array(6).fill(maxTokens));
    for (const [i, completion] of all.entries()) {
      await expectScores(model, [...model.tokenizer!.encode(i < 3 ? text : "A")], completion);
      expect(completion.finishReason).toBe("length");
    }
    for (const candidates of all[0]!.promptTop!.slice(1))
      expect(candidates![0]!.text).toBe(model.tokenizer!.decode([candidates![0]!.token]));
    // The prompt was computed once.
    if (maxTokens > 0) expect(all[1]!.usage.cachedTokens).toBeGreaterThan(0);
  }
  const one = await model.complete([5], { ...options, maxTokens: 0 });
  expect(one).toMatchObject({ promptLogprobs: [null], tokens: [], finishReason: "length" });
});

test("the first piece of each sequence has the prompt's log-probabilities", async () => {
  await using model = make();
  const pieces = new Map<number, Piece[]>();
  const asked = { ...options, promptLogprobs: 2 };
  for await (const piece of model.generate(prompts.slice(2, 5), asked))
    pieces.set(piece.index, [...(pieces.get(piece.index) ?? []), piece]);
  const all = await model.completeAll(prompts.slice(2, 5), asked);
  for (const [index, [first, ...others]] of pieces) {
    expect(first!.promptLogprobs).toEqual(all[index]!.promptLogprobs);
    expect(first!.promptTop).toEqual(all[index]!.promptTop);
    for (const piece of others) expect(Object.keys(piece)).not.toContain("promptLogprobs");
  }
  expect(pieces.size).toBe(3);
});

test("with `deterministic`, prompt log-probabilities have the same bits in any batch", async () => {
  await using model = make();
  const asked: GenerateOptions = { ...options, deterministic: true, promptLogprobs: 2, seed: 3, temperature: 0.7 };
  const together = await model.completeAll(prompts, { ...asked, n: 2 });
  for (const [i, prompt] of prompts.entries()) {
    const alone = await model.complete(prompt, asked);
    for (const sample of [0, 1]) {
      expect(together[2 * i + sample]!.promptLogprobs).toEqual(alone.promptLogprobs);
      expect(together[2 * i + sample]!.promptTop).toEqual(alone.promptTop);
    }
    await expectScores(model, prompt, alone);
  }
});

test("a session recomputes its cached prefix for promptLogprobs, and reuses it in the next call", async () => {
  await using model = make();
  using session = model.session();
  const prompt = prompts[9]!;
  await session.complete(prompt.slice(0, 500), { ...options, promptLogprobs: undefined });
  const scored = await session.complete(prompt, options);
  await expectScores(model, prompt, scored);
  expect(scored.usage.cachedTokens).toBe(0);
  const again = await session.complete(prompt, { ...options, promptLogprobs: undefined });
  expect(again.tokens).toEqual(scored.tokens);
  expect(again.usage.cachedTokens).toBe(prompt.length - 1);
});

test("processors, penalties, biases, response formats and speculation do not change prompt log-probabilities", async () => {
  await using model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 512 });
  const text = "The cat saw a house and ran home. The dog saw a house and ran home. The bird saw";
  const prompt = [...model.tokenizer!.encode(text)];
  const biased = { repetitionPenalty: 1.5, presencePenalty: 1, logitBias: { [prompt[3]!]: 50, [prompt[4]!]: -1e9 } };
  const changes: GenerateOptions[] = [
    { logitProcessors: [(logits) => void logits.fill(0, 0, 300)] },
    biased,
    { ...biased, logitProcessors: [(logits) => void logits.fill(1)] },
    { responseFormat: { type: "regex", pattern: "[a-z]{1,9}" } },
    { promptLookupNumTokens: 5, maxTokens: 40 },
    { assistantModel: model, maxTokens: 40 },
  ];
  for (const [i, change] of changes.entries()) {
    const { promptLogprobs: _, ...plain } = { ...options, ...change };
    const scored = await model.complete(text, { ...options, ...change });
    await expectScores(model, prompt, scored, `change ${i}`);
    expect(scored.tokens, `change ${i}`).toEqual((await model.complete(text, plain)).tokens);
  }
});

test("promptLogprobs rejects beam search, truncateLeft and invalid counts", async () => {
  await using model = make();
  expect(await failureOf(() => model.complete([1, 2], { promptLogprobs: 0, numBeams: 2 }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "promptLogprobs: cannot be combined with numBeams 2",
  });
  expect(
    await failureOf(() => model.complete([1, 2], { promptLogprobs: 0, contextOverflow: "truncateLeft" })),
  ).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/^contextOverflow: expected error or stop/),
  });
  for (const promptLogprobs of [-1, 1.5, 321, "1" as unknown as number])
    expect(await failureOf(() => model.complete([1, 2], { promptLogprobs }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^promptLogprobs: expected a whole number from 0 to 320, got/),
    });
});
