// Stop conditions in beam search, compared with a search without a cache and with an exhaustive search.
import { describe, expect, test } from "vitest";
import type { GenerateOptions, StopContext } from "../../../lib/language-model/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { failureOf, sentences, tinyTokenizer } from "../helpers.ts";
import { anew, expectSame, type Found, own, reference } from "./beam-reference.ts";

const VOCABULARY = 24;

type Rule = (tokens: readonly number[]) => boolean;
const rules: Record<string, Rule> = {
  "the sum of tokens": (tokens) => tokens.reduce((a, b) => a + b, 0) % 7 === 0,
  "the length of the answer": (tokens) => tokens.length === 4,
  "a repeated token": (tokens) => new Set(tokens).size < tokens.length,
  "a last token that is not a multiple of 3": (tokens) => tokens.at(-1)! % 3 > 0,
  always: () => true,
  never: () => false,
};
const answerOf = ({ ids, promptLength }: StopContext) => ids.slice(promptLength);

describe("beam search with a stop condition", () => {
  const cases = Object.keys(rules).flatMap((rule, r) =>
    [0, 1, 2, 3].map((i) => ({
      rule,
      seed: 4 * r + i,
      numBeams: [2, 3, 5, 8][i]!,
      maxTokens: [7, 1, 5, 9][(r + i) % 4]!,
      lengthPenalty: [0, 1, -0.5, 2][(r + 2 * i) % 4]!,
      earlyStopping: ([true, false, "never"] as const)[(r + i) % 3]!,
      ends: [[], [3], [3, 5]][i % 3]!,
      more: [{}, { repetitionPenalty: 1.3 }, { logitBias: { 4: 2 } }][(r + i) % 3]!,
    })),
  );
  test.each(cases)(
    "equals a search without a cache: $rule, $numBeams beams, at most $maxTokens tokens, seed $seed",
    async ({ rule, seed, ...rest }) => {
      const { ends, more, ...search } = rest;
      const model = own({ seed }, { vocabSize: VOCABULARY });
      const stops = rules[rule]!;
      const prompts = [[1, 8, 3], [20]];
      const n = 2;
      const stop = [...ends, (context: StopContext) => stops(answerOf(context))];
      const got = await model.completeAll(prompts, { ...search, ...more, n, stop });
      for (const [p, prompt] of prompts.entries()) {
        const want = await reference(anew(model), prompt, { ...search, ...more, ends, stops });
        expectSame(got.slice(p * n, (p + 1) * n), want.slice(0, n));
      }
      for (const { tokens, finishReason, usage } of got) {
        const last = tokens.at(-1)!;
        expect(finishReason).toBe(ends.includes(last) || stops(tokens) ? "stop" : "length");
        for (let length = 1; length < tokens.length; length++) expect(stops(tokens.slice(0, length))).toBe(false);
        expect(usage.completionTokens).toBe(tokens.length);
      }
    },
  );
});

test("beam search with enough beams finds the same best texts as an exhaustive search with the stop condition", async () => {
  const vocabSize = 5;
  const stops: Rule = (tokens) => tokens.length > 1 && tokens.at(-1) === tokens.at(-2);
  for (const seed of [1, 2, 3]) {
    const model = own({ seed }, { vocabSize });
    const all: Found[] = [];
    const grow = async (tokens: number[], score: number): Promise<void> => {
      if (tokens.length === 4 || stops(tokens)) return void all.push({ tokens, score });
      const [logits] = await model.logits([0, ...tokens], { last: true });
      const logSum = Math.log([...logits!].reduce((n, v) => n + Math.exp(v), 0));
      for (const [id, v] of logits!.entries()) await grow([...tokens, id], score + v - logSum);
    };
    await grow([], 0);
    all.sort((a, b) => b.score - a.score);
    const n = 100;
    const options = { numBeams: 128, n, maxTokens: 4, lengthPenalty: 0, earlyStopping: "never" } as const;
    const got = await model.completeAll([[0]], { ...options, stop: (context) => stops(answerOf(context)) });
    expectSame(got, all.slice(0, n));
    expect(new Set(got.map(({ tokens }) => tokens.length))).toEqual(new Set([2, 3, 4]));
  }
});

describe("a stop condition on the text", () => {
  const prompt = "The cat";
  test.each<[string, () => Promise<Tokenizer>]>([
    ["bytes", tinyTokenizer],
    ["pieces with single bytes", () => Tokenizer.train(sentences, { vocabSize: 400, algorithm: "sentencePieceBpe" })],
  ])("sees the decoded text without partial characters or stop strings, for tokens that are %s", async (_, make) => {
    const tokenizer = await make();
    const ids = [...tokenizer.encode(prompt)];
    let [asked, partial, held] = [0, 0, 0];
    const seen = (context: StopContext): boolean => {
      asked++;
      const decoder = tokenizer.decoder({ skipSpecialTokens: true, after: ids });
      const text = answerOf(context)
        .map((id) => decoder.push(id))
        .join("");
      if (decoder.flush() !== "") partial++;
      // Text that may be the beginning of the stop string is held back.
      const open = ["na", "n"].find((beginning) => text.endsWith(beginning))?.length ?? 0;
      held += open;
      expect(context.text).toBe(text.slice(0, text.length - open));
      expect(context.ids.slice(0, context.promptLength)).toEqual(ids);
      return context.text.length > 24;
    };
    // Bias the model towards the bytes of é, which are partial characters, and towards the beginning of the stop string.
    const idsOf = (token: string) => [tokenizer.tokenToId(token)].filter((id) => id !== undefined);
    const bytes = ["Ã", "©", "<0xC3>", "<0xA9>"].flatMap(idsOf); // the two bytes of é, as vocabularies spell them
    expect(bytes).toHaveLength(2);
    const logitBias = Object.fromEntries([...bytes, ...idsOf("n"), ...idsOf("a")].map((id) => [id, 4]));
    const options: GenerateOptions = { numBeams: 4, n: 4, maxTokens: 40, ignoreEos: true, logitBias };
    const got = [];
    for (const seed of [1, 2, 3]) {
      const model = own({ tokenizer, seed });
      got.push(...(await model.completeAll([prompt], { ...options, stop: [seen, "nan"] })));
    }
    expect(asked).toBeGreaterThan(100);
    expect(Math.min(partial, held)).toBeGreaterThan(5);
    expect(got.some(({ finishReason, text }) => finishReason === "stop" && text.length > 24)).toBe(true);
    for (const { text, finishReason } of got)
      if (finishReason === "length") expect(text.length).toBeLessThanOrEqual(24);
  });

  test("gives the results of the reference", async () => {
    const tokenizer = await tinyTokenizer();
    let stopped = 0;
    for (const seed of [1, 2, 5]) {
      const model = own({ tokenizer, seed });
      const ids = [...tokenizer.encode(prompt)];
      const textOf = (tokens: readonly number[]) => {
        const decoder = tokenizer.decoder({ skipSpecialTokens: true, after: ids });
        return tokens.map((id) => decoder.push(id)).join("");
      };
      const ends = tokenizer.eosTokenIds;
      const holds = (text: string) => (text.match(/[a-z]/g) ?? []).length >= 4;
      const search = { numBeams: 3, maxTokens: 10 };
      const want = await reference(anew(model), ids, { ...search, ends, stops: (tokens) => holds(textOf(tokens)) });
      const got = await model.completeAll([prompt], { ...search, n: 3, stop: ({ text }) => holds(text) });
      expectSame(got, want);
      stopped += got.filter(({ text }) => holds(text)).length;
    }
    expect(stopped).toBeGreaterThan(2);
  });

  test('gives the finish reason "length" if it ends an answer before it matches the response format', async () => {
    const model = own({ tokenizer: await tinyTokenizer(), seed: 2 });
    const responseFormat = { type: "regex", pattern: "(ab|xy)+c" } as const;
    const options = { numBeams: 3, n: 2, maxTokens: 12, responseFormat };
    const whole = await model.completeAll([prompt], { ...options, stop: ({ text }) => text.endsWith("c") });
    for (const { text, finishReason } of whole) expect(finishReason).toBe(/^(ab|xy)+c$/.test(text) ? "stop" : "length");
    const cut = await model.completeAll([prompt], { ...options, stop: ({ text }) => text.length >= 3 });
    expect(cut.every(({ text }) => text.length === 3 || text.length === 4)).toBe(true);
    for (const { text, finishReason } of cut) expect(finishReason).toBe(/^(ab|xy)+c$/.test(text) ? "stop" : "length");
    expect(new Set(cut.map(({ finishReason }) => finishReason))).toEqual(new Set(["length", "stop"]));
  });
});

test("a stop condition runs once per hypothesis, must return a boolean, and its exceptions propagate", async () => {
  const model = own({}, { vocabSize: VOCABULARY });
  const asked = new Map<string, number>();
  const count = ({ ids, index }: StopContext) => {
    const key = `${index}: ${ids}`;
    asked.set(key, (asked.get(key) ?? 0) + 1);
    return false;
  };
  await model.completeAll([[1], [2, 3]], { numBeams: 4, n: 2, maxTokens: 6, stop: [count] });
  expect(asked.size).toBeGreaterThan(2 * 4 * 5);
  expect(new Set(asked.values())).toEqual(new Set([1]));
  const failing = (stop: unknown) => failureOf(() => model.complete([1], { numBeams: 2, stop: stop as never }));
  expect(await failing(() => 1)).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: "stop: expected a function that returns true or false, got 1",
  });
  const thrown = () => {
    throw new RangeError("mine");
  };
  expect(await failing(thrown)).toMatchObject({ message: "mine" });
});
