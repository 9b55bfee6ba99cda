// Beam search in all its options, compared with a simple implementation without a cache.
import { describe, expect, test } from "vitest";
import { BeamSearch } from "../../../lib/inference/beam/beam-search.ts";
import { resolveOptions } from "../../../lib/inference/generation-options.ts";
import type { GenerateOptions } from "../../../lib/language-model/index.ts";
import { generator } from "../../ops/harness.ts";
import { failureOf, tinyTokenizer } from "../helpers.ts";
import { anew, expectSame, type Found, NEVER, own, reference } from "./beam-reference.ts";

const VOCABULARY = 24;
const families: Record<string, object> = {
  llama: {},
  gemma2: { modelType: "gemma2", headDim: 8, slidingWindow: 4 },
  gpt2: { modelType: "gpt2", numKeyValueHeads: 4 },
};

describe("beam search equals a search without a cache", () => {
  const random = generator(11);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const cases = Array.from({ length: 40 }, (_, i) => ({
    family: Object.keys(families)[i % 3]!,
    seed: i,
    numBeams: 2 + (i % 7),
    lengthPenalty: pick([-1, 0, 0.5, 1, 2]),
    earlyStopping: ([true, false, "never"] as const)[Math.floor(i / 3) % 3]!,
    ends: pick([[], [3], [3, 5], [3, 5, 7]]),
    bias: pick([0, 1.5, 3]),
    maxTokens: pick([1, 3, 7, 9]),
    penalties: pick([{}, {}, { repetitionPenalty: 1.3 }, { presencePenalty: 0.4, frequencyPenalty: 0.3 }]),
  }));
  test.each(cases)(
    "$family $seed: $numBeams beams, length penalty $lengthPenalty, early stopping $earlyStopping, ends $ends",
    async ({ family, seed, numBeams, lengthPenalty, earlyStopping, ends, bias, maxTokens, penalties }) => {
      const model = own({ seed }, { vocabSize: VOCABULARY, ...families[family] });
      const prompts = [3, 1, 9].map((length) => Array.from({ length }, () => Math.floor(random() * VOCABULARY)));
      const options = {
        ...{ numBeams, lengthPenalty, earlyStopping, maxTokens, ...penalties },
        logitBias: Object.fromEntries(ends.map((id) => [id, bias])),
      };
      const n = 1 + (seed % numBeams);
      const got = await model.completeAll(prompts, { ...options, n, stop: ends });
      expect(got).toHaveLength(3 * n);
      for (const [p, prompt] of prompts.entries()) {
        const want = await reference(anew(model), prompt, { ...options, ends });
        expectSame(got.slice(p * n, (p + 1) * n), want.slice(0, n));
      }
      for (const { tokens, finishReason, logprobs, usage } of got) {
        expect(finishReason).toBe(ends.includes(tokens.at(-1)!) ? "stop" : "length");
        expect(logprobs).toHaveLength(tokens.length);
        expect(usage.completionTokens).toBe(tokens.length);
      }
    },
  );
});

test("beam search agrees with the reference over distributions in which end tokens are common", async () => {
  const random = generator(23);
  const V = 12;
  const ended = { early: 0, late: 0 };
  for (let i = 0; i < 400; i++) {
    const [numBeams, maxTokens] = [2 + (i % 5), 2 + Math.floor(random() * 14)];
    const ends = [[1], [1, 2], [1, 2, 3]][i % 3]!;
    const options = {
      ...{ numBeams, maxTokens, ends },
      lengthPenalty: [-1, 0, 0.7, 1, 2][Math.floor(random() * 5)]!,
      earlyStopping: ([true, false, "never"] as const)[Math.floor(random() * 3)]!,
    };
    // The distribution depends on the last token and on the length.
    const bias = random() * 3;
    const tables = Array.from({ length: (maxTokens + 1) * V }, () =>
      Float32Array.from({ length: V }, (_, id) => 3 * random() + (ends.includes(id) ? bias : 0)),
    );
    const after = (ids: readonly number[]) => tables[(ids.length - 1) * V + ids.at(-1)!]!;
    const want = await reference({ logits: async (ids) => [after(ids as number[])] }, [0], options);
    const search = new BeamSearch(options, {
      ...{ limit: maxTokens, endTokens: ends.length },
      ends: (tokens) => tokens.length === maxTokens || ends.includes(tokens.at(-1)!),
    });
    let steps = 0;
    for (; !search.done; steps++)
      search.advance(
        search.beams.map(({ tokens }) => {
          const logits = [...after([0, ...tokens])];
          const logSum = Math.log(logits.reduce((n, v) => n + Math.exp(v), 0));
          const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!);
          const scores = order.map((id) => logits[id]! - logSum);
          return { tokens: order, scores, choice: (k) => ({ token: order[k]!, logprob: scores[k]! }) };
        }),
      );
    ended[steps < maxTokens ? "early" : "late"]++;
    expect(search.finished.map(({ choices }) => choices.map(({ token }) => token))).toEqual(
      want.filter(({ score }) => score > NEVER / 100).map(({ tokens }) => tokens),
    );
    for (const [rank, { score }] of search.finished.entries()) expect(score).toBeCloseTo(want[rank]!.score, 8);
  }
  expect(Math.min(ended.early, ended.late)).toBeGreaterThan(50);
});

test("beam search with enough beams finds the best of all texts", async () => {
  const vocabSize = 6;
  for (const seed of [1, 2, 3]) {
    const model = own({ seed }, { vocabSize });
    const all: Found[] = [];
    const grow = async (tokens: number[], score: number): Promise<void> => {
      if (tokens.length === 3) return void all.push({ tokens, score });
      const [logits] = await model.logits([0, ...tokens], { last: true });
      const logSum = Math.log([...logits!].reduce((n, v) => n + Math.exp(v), 0));
      for (const [id, v] of logits!.entries()) await grow([...tokens, id], score + v - logSum);
    };
    await grow([], 0);
    all.sort((a, b) => b.score - a.score);
    const numBeams = vocabSize ** 2;
    const got = await model.completeAll([[0]], { numBeams, n: numBeams, maxTokens: 3, lengthPenalty: 0 });
    expectSame(got, all.slice(0, numBeams));
    // With fewer beams the search may miss the best text, but its score cannot be higher.
    const [best] = await model.completeAll([[0]], { numBeams: vocabSize, maxTokens: 3, lengthPenalty: 0 });
    expect(best!.score).toBeLessThanOrEqual(all[0]!.score + 1e-4);
  }
});

test("reported log-probabilities and candidates are the model's, even if options change the scores", async () => {
  const model = own({}, { vocabSize: VOCABULARY });
  const options = { numBeams: 3, maxTokens: 6, topLogprobs: 4 };
  for (const change of [{}, { logitBias: { 4: 2 } }, { repetitionPenalty: 1.5 }]) {
    const { tokens, logprobs, top, score } = await model.complete([1, 2], { ...options, ...change });
    const scored = await model.score([1, 2, ...tokens], { from: 2 });
    for (const [i, logprob] of logprobs.entries()) expect(logprob).toBeCloseTo(scored[2 + i]!, 4);
    const [logits] = await model.logits([1, 2], { last: true });
    const order = [...logits!.keys()].sort((a, b) => logits![b]! - logits![a]!);
    expect(top![0]!.map(({ token }) => token)).toEqual(order.slice(0, 4));
    expect(top).toHaveLength(6);
    if (Object.keys(change).length === 0)
      expect(score! * 6).toBeCloseTo(
        logprobs.reduce((a, b) => a + b, 0),
        4,
      );
  }
});

test("processors change the log-probabilities, receive the prompt index, and may forbid tokens", async () => {
  const model = own({}, { vocabSize: VOCABULARY });
  const seen: { ids: readonly number[]; promptLength: number; index: number }[] = [];
  const even = (logits: Float32Array, context: (typeof seen)[number]) => {
    if (context.ids.length === context.promptLength)
      expect([...logits].reduce((n, v) => n + Math.exp(v), 0)).toBeCloseTo(1, 4);
    seen.push({ ...context });
    for (let id = 1; id < logits.length; id += 2) logits[id] = Number.NEGATIVE_INFINITY;
  };
  const got = await model.completeAll([[1, 2], [5]], {
    ...{ numBeams: 4, n: 2, maxTokens: 5, logitProcessors: [even] },
  });
  expect(got).toHaveLength(4);
  for (const { tokens } of got) {
    expect(tokens).not.toEqual([]);
    expect(tokens.filter((id) => id % 2 === 1)).toEqual([]);
  }
  expect(seen.filter(({ ids }) => ids.length === 2 && ids[0] === 1)).toEqual([
    { ids: [1, 2], promptLength: 2, index: 0 },
  ]);
  expect(seen.filter(({ ids }) => ids.length === 2 && ids[0] === 5)).toHaveLength(4);
  const only = (id: number) => (logits: Float32Array) =>
    void logits.fill(Number.NEGATIVE_INFINITY).fill(-1, id, id + 1);
  const one = { numBeams: 4, maxTokens: 3, logitProcessors: [only(7)] };
  expect((await model.complete([1], one)).tokens).toEqual([7, 7, 7]);
  expect(await failureOf(() => model.completeAll([[1]], { ...one, n: 2 }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "n: expected at most 1, the number of allowed continuations, got 2",
  });
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    expect(
      await failureOf(() => model.complete([1], { ...one, logitProcessors: [(l) => void l.fill(value, 3, 4)] })),
    ).toMatchObject({ code: "NUMERICAL" });
  const nothing = [(logits: Float32Array) => void logits.fill(Number.NEGATIVE_INFINITY)];
  expect(await failureOf(() => model.complete([1], { ...one, logitProcessors: nothing }))).toMatchObject({
    code: "NUMERICAL",
  });
});

describe("the texts of beam search", () => {
  test("exclude the stop string that ends them, and equal their concatenated pieces", async () => {
    const tokenizer = await tinyTokenizer();
    const model = own({ tokenizer, seed: 3 });
    const free = await model.completeAll(["The cat"], { numBeams: 4, n: 4, maxTokens: 12, ignoreEos: true });
    // A text from the middle of an unconstrained answer.
    const stop = free[0]!.text.slice(3, 5);
    expect(stop).toHaveLength(2);
    const options = { numBeams: 4, n: 4, maxTokens: 12, ignoreEos: true, stop };
    const got = await model.completeAll(["The cat"], options);
    for (const { text, finishReason, tokens } of got) {
      expect(text).not.toContain(stop);
      const decoded = tokenizer.decode([...tokenizer.encode("The cat"), ...tokens]);
      expect(decoded.includes(stop, "The cat".length - 1)).toBe(finishReason === "stop");
      if (finishReason === "length") expect(tokens).toHaveLength(12);
    }
    expect(got.some(({ finishReason }) => finishReason === "stop")).toBe(true);
    const texts = ["", "", "", ""];
    const scores: number[] = [];
    for await (const piece of model.generate("The cat", options)) {
      texts[piece.index] += piece.text;
      expect(piece.score !== undefined).toBe(piece.finishReason !== undefined);
      if (piece.score !== undefined) scores.push(piece.score);
    }
    expect(texts).toEqual(got.map(({ text }) => text));
    expect(scores).toEqual(got.map(({ score }) => score));
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
  });
});

describe("options of beam search", () => {
  const refused: [GenerateOptions, string][] = [
    [{ numBeams: 0 }, "numBeams: expected a whole number from 1 to 128, got 0"],
    [{ numBeams: 129 }, "numBeams: expected a whole number from 1 to 128, got 129"],
    [{ numBeams: 2, temperature: 0.5 }, "temperature: cannot be combined with numBeams 2"],
    [{ numBeams: 2, topK: 5 }, "topK: cannot be combined with numBeams 2"],
    [{ numBeams: 2, topP: 0.9 }, "topP: cannot be combined with numBeams 2"],
    [{ numBeams: 2, minP: 0.1 }, "minP: cannot be combined with numBeams 2"],
    [{ numBeams: 2, seed: 0 }, "seed: cannot be combined with numBeams 2"],
    [{ numBeams: 2, promptLookupNumTokens: 3 }, "promptLookupNumTokens: cannot be combined with numBeams 2"],
    [{ numBeams: 2, n: 3 }, "n: expected at most numBeams, which is 2, got 3"],
    [{ lengthPenalty: 2 }, "lengthPenalty: expected no value unless numBeams is above 1, got 2"],
    [{ numBeams: 1, earlyStopping: true }, "earlyStopping: expected no value unless numBeams is above 1, got true"],
    [{ numBeams: 2, lengthPenalty: Number.NaN }, "lengthPenalty: expected a finite number, got NaN"],
    [{ numBeams: 2, earlyStopping: "always" as never }, 'earlyStopping: expected true, false or "never", got "always"'],
    [{ numbeams: 2 } as never, "numbeams: expected a known option (nearest: numBeams)"],
  ];
  test.each(refused)("reject %o", (options, message) => {
    const context = { vocabSize: 100, generation: {}, eosTokenIds: [2] };
    expect(() => resolveOptions(options, context)).toThrow(message);
  });

  test("default to the model's settings, unless the call or the model samples", () => {
    const beamsOf = (options: GenerateOptions, generation: object) =>
      resolveOptions(options, { vocabSize: 100, eosTokenIds: [2], generation }).beams;
    const generation = { numBeams: 4, lengthPenalty: 0.5, earlyStopping: "never" };
    const own = { numBeams: 4, lengthPenalty: 0.5, earlyStopping: "never" };
    expect(beamsOf({}, generation)).toEqual(own);
    expect(beamsOf({ temperature: 0, topK: 0, topP: 1, minP: 0 }, generation)).toEqual(own);
    expect(beamsOf({ numBeams: 2, earlyStopping: true }, generation)).toEqual({
      ...own,
      numBeams: 2,
      earlyStopping: true,
    });
    for (const off of [{ numBeams: 1 }, { temperature: 1 }, { seed: 1 }, { topP: 0.5 }, { promptLookupNumTokens: 2 }])
      expect(beamsOf(off, generation)).toBeUndefined();
    expect(beamsOf({}, { ...generation, doSample: true })).toBeUndefined();
    expect(beamsOf({ numBeams: 3 }, { doSample: true })).toEqual({
      numBeams: 3,
      lengthPenalty: 1,
      earlyStopping: false,
    });
    expect(() => beamsOf({ n: 5 }, generation)).toThrow(
      "(from the model's configuration; numBeams: 1 turns beam search off)",
    );
  });

  test("are rejected by a session, and give empty texts with maxTokens 0", async () => {
    const model = own({}, { vocabSize: VOCABULARY });
    const session = model.session();
    expect(await failureOf(() => session.complete([1], { numBeams: 2 }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "numBeams: expected 1 in a session (use model.complete()), got 2",
    });
    Object.assign(model.generation, { numBeams: 3 });
    expect((await session.complete([1], { maxTokens: 2, ignoreEos: true })).score).toBeUndefined();
    expect((await model.complete([1], { maxTokens: 2, ignoreEos: true })).score).toBeLessThan(0);
    session.dispose();
    const none = await model.completeAll([[1], [2]], { numBeams: 2, n: 2, maxTokens: 0 });
    expect(none.map(({ tokens, finishReason }) => ({ tokens, finishReason }))).toEqual(
      Array(4).fill({ tokens: [], finishReason: "length" }),
    );
  });
});
