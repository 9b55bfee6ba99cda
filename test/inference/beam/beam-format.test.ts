// Beam search with response formats, compared with a search that reads every prefix anew, byte by byte.
import { describe, expect, test } from "vitest";
import { Automaton, compileFormat, type JsonSchema, type ResponseFormat } from "../../../lib/constrain/index.ts";
import type { GenerateOptions, LanguageModel } from "../../../lib/language-model/index.ts";
import { validate } from "../../constrain/validator.ts";
import { failureOf, tinyTokenizer } from "../helpers.ts";
import { anew, expectSame, type Found, own, reference } from "./beam-reference.ts";

const regex = (pattern: string): ResponseFormat => ({ type: "regex", pattern });
const json = (schema: JsonSchema) => ({ type: "json_schema", schema }) satisfies ResponseFormat;

const point = {
  type: "object",
  properties: { ok: { type: "boolean" }, n: { type: "integer", minimum: -3, maximum: 120 } },
  required: ["ok"],
};
const formats: Record<string, ResponseFormat> = {
  "a pattern of unbounded length": regex("(a|bc|naïve|日本)+"),
  "a pattern with few matches": regex("(the|a) (cat|dog)s?"),
  "an object": json(point),
  "an array": json({ type: "array", items: { enum: ["a", "sea", 12, null] }, maxItems: 3 }),
  "a recursive schema": json({ anyOf: [{ type: "null" }, { type: "array", items: { $ref: "#" }, maxItems: 2 }] }),
};

/** Checks tokens by the automaton alone, without masks or a token trie. */
function formOf(model: LanguageModel, format: ResponseFormat, ends: readonly number[]) {
  const automaton = new Automaton(compileFormat(format)!.grammar);
  const bytes = Array.from({ length: model.config.vocabSize }, (_, id) => model.tokenizer!.tokenBytes(id));
  const stateOf = (tokens: readonly number[]) =>
    automaton.read(automaton.start, Buffer.concat(tokens.filter((id) => !ends.includes(id)).map((id) => bytes[id]!)));
  return {
    allows(tokens: readonly number[], id: number): boolean {
      const state = stateOf(tokens)!;
      if (ends.includes(id)) return state.whole;
      return bytes[id]!.length > 0 && automaton.read(state, bytes[id]!) !== null;
    },
    finished: (tokens: readonly number[]) => stateOf(tokens)!.final,
    isWhole: (tokens: readonly number[]) => stateOf(tokens)!.whole,
    isBeginning: (tokens: readonly number[]) => stateOf(tokens) !== null,
  };
}

const cases = Object.keys(formats).flatMap((name, f) =>
  [0, 1, 2].map((i) => ({
    name,
    seed: 3 * f + i,
    numBeams: [2, 3, 5][i]!,
    maxTokens: [6, 14, 9][(f + i) % 3]!,
    lengthPenalty: [0, 1, -0.5][(f + 2 * i) % 3]!,
    earlyStopping: ([true, false, "never"] as const)[i]!,
    more: [{}, { repetitionPenalty: 1.2 }, { logitBias: { 64: 2, 70: -3 } }][(f + i) % 3]!,
  })),
);
describe("beam search with a format", () => {
  test.each(cases)(
    "equals a search without a cache: $name, $numBeams beams, seed $seed",
    async ({ name, seed, numBeams, ...rest }) => {
      const { maxTokens, lengthPenalty, earlyStopping, more } = rest;
      const model = own({ tokenizer: await tinyTokenizer(), seed });
      const ends = model.tokenizer!.eosTokenIds;
      expect(ends.length).toBeGreaterThan(0);
      const form = formOf(model, formats[name]!, ends);
      const prompts = [[1, 80, 33], [200]];
      const search = { numBeams, maxTokens, lengthPenalty, earlyStopping, ...more } satisfies GenerateOptions;
      const n = 2;
      const got = await model.completeAll(prompts, { ...search, n, responseFormat: formats[name]! });
      for (const [p, prompt] of prompts.entries()) {
        const want = await reference(anew(model), prompt, { ...search, ends, form });
        expectSame(got.slice(p * n, (p + 1) * n), want.slice(0, n));
      }
      for (const { tokens, finishReason, text } of got) {
        if (finishReason === "length") expect(form.isBeginning(tokens)).toBe(true);
        else {
          expect(form.isWhole(tokens)).toBe(true);
          const { schema } = formats[name] as { schema?: Parameters<typeof validate>[1] };
          if (schema) expect(validate(JSON.parse(text), schema)).toBe(true);
        }
      }
    },
  );
});

test("beam search with enough beams finds the best of all texts that match a format", async () => {
  const model = own({ tokenizer: await tinyTokenizer(), seed: 5 });
  const format = regex("(ca|d)?(at|og)");
  const form = formOf(model, format, model.tokenizer!.eosTokenIds);
  const all: Found[] = [];
  const grow = async (tokens: number[], score: number): Promise<void> => {
    if (tokens.length > 0 && form.finished(tokens)) return void all.push({ tokens, score });
    const [logits] = await model.logits([7, ...tokens], { last: true });
    const logSum = Math.log([...logits!].reduce((sum, v) => sum + Math.exp(v), 0));
    for (const [id, v] of logits!.entries())
      if (form.allows(tokens, id)) await grow([...tokens, id], score + v - logSum);
  };
  await grow([], 0);
  expect(new Set(all.map(({ tokens }) => model.tokenizer!.decode(tokens)))).toEqual(
    new Set(["at", "og", "caat", "caog", "dat", "dog"]),
  );
  all.sort((a, b) => b.score - a.score);
  const options = {
    numBeams: 64,
    maxTokens: 8,
    lengthPenalty: 0,
    earlyStopping: "never",
    responseFormat: format,
  } as const;
  const n = Math.min(64, all.length);
  expectSame(await model.completeAll([[7]], { ...options, n }), all.slice(0, n));
});

test("beam search rejects more answers than a format allows", async () => {
  const model = own({ tokenizer: await tinyTokenizer(), seed: 5 });
  const options = { numBeams: 64, n: 64, maxTokens: 8, responseFormat: regex("dog") };
  expect(await failureOf(() => model.completeAll([[7]], options))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/^n: expected at most \d, the number of allowed continuations, got 64$/),
  });
});

test("a format works with a stop string, with a processor and in batches", async () => {
  const model = own({ tokenizer: await tinyTokenizer(), seed: 2 });
  const responseFormat = json(point);
  const seen: string[] = [];
  const options: GenerateOptions = { numBeams: 4, n: 4, maxTokens: 40, responseFormat };
  const whole = await model.completeAll(["The cat", "日本"], options);
  expect(whole.map(({ finishReason }) => finishReason)).toContain("stop");
  for (const { text, finishReason } of whole)
    if (finishReason === "stop") expect(validate(JSON.parse(text), point)).toBe(true);
  const logitProcessors = [
    (logprobs: Float32Array, { ids, promptLength }: { ids: readonly number[]; promptLength: number }) => {
      seen.push(model.tokenizer!.decode(ids.slice(promptLength)));
      expect(logprobs.every((v) => v > Number.NEGATIVE_INFINITY)).toBe(true);
    },
  ];
  expect(
    (await model.completeAll(["The cat", "日本"], { ...options, logitProcessors })).map(({ text }) => text),
  ).toEqual(whole.map(({ text }) => text));
  expect(seen.some((text) => /^\{\s*"ok"\s*:/.test(text))).toBe(true);
  // A stop string that cuts a document short gives the finish reason "length".
  for (const { text, finishReason } of await model.completeAll(["The cat"], { ...options, stop: ":" })) {
    expect(text).toMatch(/^\{\s*"ok"\s*$/);
    expect(finishReason).toBe("length");
  }
});
