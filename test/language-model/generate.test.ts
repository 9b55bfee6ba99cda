import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel, Piece } from "../../lib/language-model/index.ts";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { maxDifference } from "../helpers/max-difference.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const PROMPT = [5, 250, 99, 3, 17];
let model: LanguageModel;
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await tinyTokenizer();
  model = tinyModel({ tokenizer });
});
afterAll(() => model.dispose());

async function collect(pieces: AsyncIterable<Piece>): Promise<Piece[]> {
  const out: Piece[] = [];
  for await (const piece of pieces) out.push(piece);
  return out;
}
const argmax = (row: Float32Array) => row.indexOf(Math.max(...row));
function logSoftmax(row: Float32Array): number[] {
  const largest = Math.max(...row);
  const sum = largest + Math.log(row.reduce((n, v) => n + Math.exp(v - largest), 0));
  return Array.from(row, (v) => v - sum);
}

describe("the decoding loop", () => {
  test("cached decoding equals uncached forward passes", async () => {
    const { tokens, logprobs } = await model.complete(PROMPT, { maxTokens: 40, temperature: 0, ignoreEos: true });
    const ids = [...PROMPT];
    for (const [i, token] of tokens.entries()) {
      const [last] = await model.logits(ids, { last: true });
      expect(token).toBe(argmax(last!));
      expect(logprobs[i]).toBeCloseTo(logSoftmax(last!)[token]!, 4);
      ids.push(token);
    }
    const scores = await model.score(ids);
    for (const [i, logprob] of logprobs.entries()) expect(scores[PROMPT.length + i]).toBeCloseTo(logprob, 4);
  });

  test("a prompt of several chunks gives the logits of one pass", async () => {
    const long = tinyModel({}, { maxPositionEmbeddings: 1024 });
    const ids = Array.from({ length: 700 }, (_, i) => (i * 37) % 320);
    const { tokens } = await long.complete(ids, { maxTokens: 1, temperature: 0 });
    const all = await long.logits(ids);
    expect(all).toHaveLength(700);
    expect(tokens[0]).toBe(argmax(all[699]!));
    const [last] = await long.logits(ids, { last: true });
    expect(maxDifference(last!, all[699]!)).toBeLessThan(1e-4);
    await long.dispose();
  });

  test("the pieces of a stream concatenate to the completion", async () => {
    const options = { maxTokens: 60, seed: 3, ignoreEos: true };
    const pieces = await collect(model.generate("The cat", options));
    const whole = await model.complete("The cat", options);
    expect(pieces.map((p) => p.token)).toEqual(whole.tokens);
    expect(pieces.map((p) => p.text).join("")).toBe(whole.text);
    expect(pieces.map((p) => p.finishReason).filter(Boolean)).toEqual(["length"]);
    expect(whole.usage).toEqual({
      promptTokens: tokenizer.count("The cat"),
      cachedTokens: 0,
      completionTokens: 60,
    });
    const all = [...tokenizer.encode("The cat"), ...whole.tokens];
    expect(`The cat${whole.text}`).toBe(tokenizer.decode(all, { skipSpecialTokens: true }));
  });

  test("several sequences in one call equal those of single calls", async () => {
    const prompts = Array.from({ length: 8 }, (_, i) => PROMPT.slice(0, 1 + (i % 5)).map((id) => id + i));
    for (const options of [{ temperature: 0 }, { temperature: 1.2, seed: 11, topK: 50 }]) {
      const shared = { maxTokens: 30, ignoreEos: true, ...options };
      const together = await model.completeAll(prompts, shared);
      for (const [i, prompt] of prompts.entries()) {
        const alone = await model.complete(prompt, shared);
        expect(together[i]!.tokens).toEqual(alone.tokens);
        for (const [j, logprob] of alone.logprobs.entries()) expect(together[i]!.logprobs[j]).toBeCloseTo(logprob, 4);
      }
    }
  });

  test("runs more sequences than slots, with answers that end at different steps", async () => {
    const prompts = Array.from({ length: 40 }, (_, i) => [i, i + 1]);
    const free = await model.completeAll(prompts, { maxTokens: 5, temperature: 0 });
    const options = { maxTokens: 5, temperature: 0, stop: [free[0]!.tokens[1]!, free[32]!.tokens[2]!] };
    const results = await model.completeAll(prompts, options);
    const same = await model.complete(prompts, options);
    expect(same.map((c) => c.tokens)).toEqual(results.map((c) => c.tokens));
    expect(results).toHaveLength(40);
    expect(new Set(results.map(({ tokens }) => tokens.length)).size).toBeGreaterThan(1);
    for (const i of [0, 31, 32, 39])
      expect(results[i]!.tokens).toEqual((await model.complete(prompts[i]!, options)).tokens);
  });

  test("concurrent calls do not affect each other", async () => {
    const options = { maxTokens: 30, temperature: 0, ignoreEos: true };
    const alone = [await model.complete([1, 2], options), await model.complete([9, 9, 9], options)];
    const together = await Promise.all([model.complete([1, 2], options), model.complete([9, 9, 9], options)]);
    expect(together.map((c) => c.tokens)).toEqual(alone.map((c) => c.tokens));
  });

  test("sample i uses seed + i", async () => {
    const options = { maxTokens: 12, temperature: 1, ignoreEos: true };
    const samples = await model.completeAll([PROMPT], { ...options, seed: 5, n: 3 });
    for (const [i, sample] of samples.entries())
      expect(sample.tokens).toEqual((await model.complete(PROMPT, { ...options, seed: 5 + i })).tokens);
    expect((await failureOf(() => model.complete(PROMPT, { n: 2 }))).code).toBe("INVALID_ARGUMENT");
  });
});

describe("sampling", () => {
  const options = { maxTokens: 25, temperature: 1, ignoreEos: true };

  test("the same seed gives the same tokens; without a seed they differ", async () => {
    const tokens = async (seed?: number) => (await model.complete(PROMPT, { ...options, seed })).tokens;
    expect(await tokens(42)).toEqual(await tokens(42));
    expect(await tokens(42)).not.toEqual(await tokens(43));
    expect(await tokens(2 ** 40)).not.toEqual(await tokens(0));
    expect(await tokens()).not.toEqual(await tokens());
  });

  test("equal prompts of a call get different answers, or equal answers if a seed is given", async () => {
    const distinct = async (own: object) => {
      const all = await model.completeAll(Array(6).fill(PROMPT), { ...options, ...own });
      return new Set(all.map(({ tokens }) => tokens.join())).size;
    };
    expect(await distinct({})).toBe(6);
    expect(await distinct({ n: 2 })).toBe(12);
    expect(await distinct({ seed: 1 })).toBe(1);
    expect(await distinct({ seed: 1, n: 2 })).toBe(2);
  });

  test("sampled tokens follow the model's distribution", async () => {
    const [row] = await model.logits(PROMPT, { last: true });
    const expected = logSoftmax(row!).map(Math.exp);
    const draws = await model.completeAll([PROMPT], {
      maxTokens: 1,
      temperature: 1,
      seed: 1,
      n: 1000,
      ignoreEos: true,
    });
    const counts = new Map<number, number>();
    for (const { tokens } of draws) counts.set(tokens[0]!, (counts.get(tokens[0]!) ?? 0) + 1);
    // Pearson's statistic over the tokens that are expected at least five times. The limit is five standard deviations above its mean.
    const common = expected.map((p, id) => [p, id] as const).filter(([p]) => p * 1000 >= 5);
    const statistic = common.reduce((n, [p, id]) => n + ((counts.get(id) ?? 0) - p * 1000) ** 2 / (p * 1000), 0);
    expect(common.length).toBeGreaterThan(3);
    expect(statistic).toBeLessThan(common.length + 5 * Math.sqrt(2 * common.length));
  });

  test("topK 1, a tiny topP and minP 1 give greedy tokens", async () => {
    const greedy = (await model.complete(PROMPT, { ...options, temperature: 0 })).tokens;
    expect((await model.complete(PROMPT, { ...options, topK: 1 })).tokens).toEqual(greedy);
    expect((await model.complete(PROMPT, { ...options, topP: 1e-6 })).tokens).toEqual(greedy);
    expect((await model.complete(PROMPT, { ...options, minP: 1 })).tokens).toEqual(greedy);
  });

  test("topLogprobs returns the likeliest tokens by the logits and does not change the result", async () => {
    const greedy = { ...options, temperature: 0, maxTokens: 3 };
    const pieces = await collect(model.generate(PROMPT, { ...greedy, topLogprobs: 4 }));
    const plain = await model.complete(PROMPT, greedy);
    expect(pieces.map(({ token, logprob }) => [token, logprob])).toEqual(
      plain.tokens.map((token, i) => [token, plain.logprobs[i]]),
    );
    const [row] = await model.logits(PROMPT, { last: true });
    const expected = logSoftmax(row!)
      .map((logprob, token) => ({ logprob, token }))
      .sort((a, b) => b.logprob - a.logprob)
      .slice(0, 4);
    expect(pieces[0]!.top!.map((t) => t.token)).toEqual(expected.map((t) => t.token));
    for (const [i, { logprob }] of expected.entries()) expect(pieces[0]!.top![i]!.logprob).toBeCloseTo(logprob, 4);
    expect(pieces[0]!.top![0]!.text).toBe(tokenizer.decode([expected[0]!.token]));
  });

  test("logit bias forces and forbids tokens", async () => {
    const forced = await model.complete(PROMPT, { ...options, logitBias: { 123: 1000 } });
    expect(new Set(forced.tokens)).toEqual(new Set([123]));
    const greedy = (await model.complete(PROMPT, { ...options, temperature: 0, maxTokens: 1 })).tokens[0]!;
    const bias = new Map([[greedy, Number.NEGATIVE_INFINITY]]);
    const other = await model.complete(PROMPT, { ...options, temperature: 0, maxTokens: 1, logitBias: bias });
    expect(other.tokens[0]).not.toBe(greedy);
  });

  test("penalties stop repetition", async () => {
    const loop = { logitBias: { 50: 30 }, temperature: 0, maxTokens: 12, ignoreEos: true };
    const plain = (await model.complete(PROMPT, loop)).tokens;
    expect(plain.filter((t) => t === 50).length).toBe(12);
    for (const penalty of [{ presencePenalty: 1000 }, { frequencyPenalty: 1000 }, { repetitionPenalty: 1e6 }]) {
      const { tokens } = await model.complete(PROMPT, { ...loop, ...penalty });
      expect(tokens.filter((t) => t === 50)).toHaveLength(1);
      expect(new Set(tokens).size).toBe(12);
    }
    // Only the repetition penalty includes the prompt.
    const repeated = await model.complete([50, 50], { ...loop, repetitionPenalty: 1e6, maxTokens: 1 });
    expect(repeated.tokens).not.toContain(50);
    const present = await model.complete([50, 50], { ...loop, presencePenalty: 1000, maxTokens: 1 });
    expect(present.tokens).toEqual([50]);
  });

  test("logit processors choose tokens", async () => {
    const seen: { ids: number[]; promptLength: number }[] = [];
    const only = (allowed: number) => (logits: Float32Array) => {
      const kept = logits[allowed]!;
      logits.fill(Number.NEGATIVE_INFINITY);
      logits[allowed] = kept;
    };
    const { tokens, logprobs } = await model.complete(PROMPT, {
      ...options,
      maxTokens: 3,
      logitProcessors: [
        (logits, { ids, promptLength }) => {
          seen.push({ ids: [...ids], promptLength });
          only(40 + ids.length)(logits);
        },
      ],
    });
    expect(tokens).toEqual([45, 46, 47]);
    expect(seen.map((s) => s.ids)).toEqual([PROMPT, [...PROMPT, 45], [...PROMPT, 45, 46]]);
    expect(seen.every((s) => s.promptLength === PROMPT.length)).toBe(true);
    // The reported log-probability stays the model's.
    const [row] = await model.logits(PROMPT, { last: true });
    expect(logprobs[0]).toBeCloseTo(logSoftmax(row!)[45]!, 3);
    // A processor that changes nothing does not change a seeded draw.
    const plain = await model.complete(PROMPT, { ...options, seed: 4 });
    const idle = await model.complete(PROMPT, { ...options, seed: 4, logitProcessors: [() => {}] });
    expect(idle.tokens).toEqual(plain.tokens);
    const none = await failureOf(() =>
      model.complete(PROMPT, { ...options, logitProcessors: [(l) => l.fill(Number.NEGATIVE_INFINITY)] }),
    );
    expect(none.code).toBe("NUMERICAL");
  });
});

describe("the end of an answer", () => {
  const options = { temperature: 1, seed: 9, maxTokens: 60, ignoreEos: true };

  test("a stop string across token boundaries ends the answer before it", async () => {
    const full = await model.complete("The dog", options);
    // Each of these texts begins within one token's text and ends within another's.
    const [first, second] = [full.text.slice(10, 13), full.text.slice(20, 26)];
    for (const stop of [second, [second], ["never there", first]]) {
      const wanted = Array.isArray(stop) && stop.includes(first) ? first : second;
      const cut = await model.complete("The dog", { ...options, stop });
      expect(cut.text).toBe(full.text.slice(0, full.text.indexOf(wanted)));
      expect(cut.finishReason).toBe("stop");
      expect(cut.tokens).toEqual(full.tokens.slice(0, cut.tokens.length));
      expect(cut.tokens.length).toBeLessThan(full.tokens.length);
      const streamed = await collect(model.generate("The dog", { ...options, stop }));
      expect(streamed.map((p) => p.text).join("")).toBe(cut.text);
    }
  });

  test("a stop token ends the answer, is reported and adds no text", async () => {
    const full = await model.complete(PROMPT, options);
    const stop = full.tokens[7]!;
    const cut = await model.complete(PROMPT, { ...options, stop: [stop] });
    expect(cut.tokens).toEqual(full.tokens.slice(0, full.tokens.indexOf(stop) + 1));
    expect(cut.finishReason).toBe("stop");
    const before = tokenizer.decode([...PROMPT, ...cut.tokens.slice(0, -1)], { skipSpecialTokens: true });
    expect(before.endsWith(cut.text)).toBe(true);
  });

  test("the model's end token ends the answer unless ignoreEos is set", async () => {
    const eos = tokenizer.eosTokenIds[0]!;
    const bias = { logitBias: { [eos]: 1000 }, maxTokens: 4 };
    const ended = await model.complete(PROMPT, bias);
    expect(ended).toMatchObject({ tokens: [eos], finishReason: "stop", text: "" });
    expect((await model.complete(PROMPT, { ...bias, ignoreEos: true })).tokens).toEqual([eos, eos, eos, eos]);
  });

  test("maxTokens 0 yields an empty answer", async () => {
    expect(await model.complete(PROMPT, { maxTokens: 0 })).toMatchObject({
      tokens: [],
      text: "",
      finishReason: "length",
    });
  });
});

describe("the context length", () => {
  const prompt = Array.from({ length: 120 }, (_, i) => i);

  test("an answer that cannot fit is rejected", async () => {
    // 120 + 9 − 1 = 128: the last token is not fed back.
    expect((await model.complete(prompt, { maxTokens: 9, ignoreEos: true })).tokens).toHaveLength(9);
    const error = await failureOf(() => model.complete(prompt, { maxTokens: 10 }));
    expect(error.code).toBe("CONTEXT_OVERFLOW");
    expect(error.message).toContain("expected at most 9 after a prompt of 120 tokens in a context of 128, got 10");
  });

  test("without maxTokens the answer ends with the context", async () => {
    const { tokens, finishReason } = await model.complete(prompt, { ignoreEos: true });
    expect([tokens.length, finishReason]).toEqual([9, "length"]);
  });

  test('contextOverflow "stop" ends the answer at the end of the context, and "truncateLeft" continues', async () => {
    const stopped = await model.complete(prompt, { maxTokens: 50, contextOverflow: "stop", ignoreEos: true });
    expect([stopped.tokens.length, stopped.finishReason]).toEqual([9, "length"]);
    const options = { maxTokens: 200, contextOverflow: "truncateLeft", temperature: 0, ignoreEos: true } as const;
    const { tokens } = await model.complete(prompt, options);
    expect(tokens).toHaveLength(200);
    // Truncation keeps the first token and the last half, so the next token depends only on those.
    const ids = [...prompt, ...tokens.slice(0, 9)];
    const [row] = await model.logits([ids[0]!, ...ids.slice(-64)], { last: true });
    expect(tokens[9]).toBe(argmax(row!));
  });

  test("a prompt longer than the context is rejected, or truncated by truncateLeft", async () => {
    const long = Array.from({ length: 300 }, (_, i) => i % 320);
    for (const contextOverflow of ["error", "stop"] as const)
      expect((await failureOf(() => model.complete(long, { contextOverflow }))).code).toBe("CONTEXT_OVERFLOW");
    const { tokens } = await model.complete(long, { contextOverflow: "truncateLeft", maxTokens: 3, ignoreEos: true });
    expect(tokens).toHaveLength(3);
    expect((await failureOf(() => model.logits(long))).code).toBe("CONTEXT_OVERFLOW");
  });
});

describe("invalid prompts", () => {
  test.each([
    [[], "prompt: expected at least one token"],
    [[320], "token id 0: expected a whole number from 0 to 319"],
    [[1, -1], "token id 1"],
    [[1, 2.5], "token id 1"],
    [7, "prompt: expected a string, token ids, or an array of those"],
    [undefined, "prompt"],
    [["a", 3], "prompt"],
  ])("are rejected: %o", async (prompt, message) => {
    const error = await failureOf(() => model.generate(prompt as never));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain(message);
  });

  test("texts, stop strings and chats need a tokenizer", async () => {
    const bare = tinyModel();
    for (const work of [() => bare.complete("text"), () => bare.complete([1], { stop: "x" }), () => bare.chat()]) {
      const error = await failureOf(work);
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain("tokenizer");
    }
    expect((await bare.complete([1], { maxTokens: 2 })).text).toBe("");
    await bare.dispose();
  });
});
