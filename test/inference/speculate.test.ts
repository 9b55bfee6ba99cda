import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lookUp } from "../../lib/inference/speculative/speculate.ts";
import { type Completion, type GenerateOptions, LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { generator } from "../ops/harness.ts";
import { failureOf, tinyModel, tinyTokenizer } from "./helpers.ts";
import { store, storedModels } from "./stored-models.ts";

const bits = ({ tokens, logprobs, top, finishReason }: Completion) => ({ tokens, logprobs, top, finishReason });
const random = generator(3);
const phrase = Array.from({ length: 40 }, () => Math.floor(random() * 320));

describe("prompt lookup", () => {
  test("drafts the tokens that followed the latest of the longest matches", () => {
    expect(lookUp([1, 2, 3, 4, 9, 2, 3], 2)).toEqual([4, 9]);
    expect(lookUp([1, 2, 5, 1, 2, 6, 1, 2], 3)).toEqual([6, 1, 2]);
    expect(lookUp([7, 1, 2, 5, 8, 1, 2, 6, 7, 1, 2], 1)).toEqual([5]);
    expect(lookUp([1, 2, 3], 4)).toEqual([]);
    expect(lookUp([], 4)).toEqual([]);
    expect(lookUp([5, 5, 5], 0)).toEqual([]);
  });

  test("continues a repetition beyond the end of the text", () => {
    expect(lookUp([1, 8, 8], 4)).toEqual([8, 8, 8, 8]);
    expect(lookUp([9, 1, 2, 3, 1, 2, 3], 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });

  test("drafts the tokens after the latest earlier occurrence of the last four ids, or of the longest shorter suffix that occurs earlier", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2), { maxLength: 40, size: "max" }), fc.nat(6), (ids, most) => {
        const draft = lookUp(ids, most);
        expect(draft.length).toBeLessThanOrEqual(most);
        const known = most > 0 && ids.slice(0, -1).includes(ids.at(-1)!);
        expect(draft.length).toBe(known ? most : 0);
        if (draft.length === 0) return;
        const whole = [...ids, ...draft];
        const copies = [4, 3, 2, 1].map((length) =>
          ids.findLastIndex((_, i) => i >= length && `${ids.slice(i - length, i)}` === `${ids.slice(-length)}`),
        );
        const from = copies.find((copy) => copy >= 0)!;
        expect(draft).toEqual(whole.slice(from, from + most));
      }),
    );
  });
});

describe.each([
  ["llama", {}],
  ["mistral, with a window", { modelType: "mistral", slidingWindow: 24 }],
  ["gpt2", { modelType: "gpt2", numKeyValueHeads: 4 }],
])("speculative decoding of %s", (_name, config) => {
  const make = (seed = 7) => tinyModel({ seed }, { ...config, maxPositionEmbeddings: 1024 });
  const base: GenerateOptions = { maxTokens: 60, ignoreEos: true, topLogprobs: 2 };
  const cases: [string, GenerateOptions][] = [
    ["of greedy decoding", { temperature: 0 }],
    ["with a seed", { temperature: 0.7, seed: 5, topP: 0.9 }],
    ["with penalties", { temperature: 0, repetitionPenalty: 1.3, frequencyPenalty: 0.5 }],
    [
      "with a processor",
      { temperature: 0, logitProcessors: [(logits, { ids }) => logits.fill(-9, ids.length % 7, 9)] },
    ],
  ];

  // A greedy random model soon repeats itself, so prompt lookup drafts tokens that are accepted and tokens that are rejected.
  test.each(cases)("changes no bit of answers %s", async (_label, options) => {
    await using model = make();
    const prompt = [...phrase, ...phrase.slice(0, 3)];
    const plain = await model.complete(prompt, { ...base, ...options });
    for (const speculation of [
      { promptLookupNumTokens: 15 },
      { promptLookupNumTokens: 2 },
      { assistantModel: model, numAssistantTokens: 5 },
    ])
      expect(
        bits(await model.complete(prompt, { ...base, ...options, ...speculation })),
        JSON.stringify(Object.keys(speculation)),
      ).toEqual(bits(plain));
  });

  test("changes no bit of several sequences, with another assistant and a sequence so long that attention is split", async () => {
    await using model = make();
    await using assistant = make(8);
    const long = Array.from({ length: 500 }, (_, i) => phrase[i % 40]!);
    const prompts = [long, phrase, [1], [...phrase, ...phrase]];
    const options = { ...base, temperature: 0.5, seed: 2 };
    const plain = await model.completeAll(prompts, { ...options, deterministic: true });
    for (const speculation of [
      { assistantModel: assistant, numAssistantTokens: 3 },
      { assistantModel: model, numAssistantTokens: 8 },
      { promptLookupNumTokens: 15 },
    ]) {
      const together = await model.completeAll(prompts, { ...options, deterministic: true, ...speculation });
      expect(together.map(bits)).toEqual(plain.map(bits));
    }
  });
});

test.each(storedModels)(
  "%s: speculative decoding gives bit-identical results with a stored model",
  async (_, stored) => {
    await using model = await (await store(stored))({});
    const prompt = [...phrase, ...phrase.slice(0, 3)];
    for (const drawn of [{ temperature: 0 }, { temperature: 0.6, seed: 5 }]) {
      const options: GenerateOptions = { maxTokens: 40, ignoreEos: true, topLogprobs: 2, ...drawn };
      const plain = await model.complete(prompt, options);
      for (const speculation of [{ promptLookupNumTokens: 9 }, { assistantModel: model, numAssistantTokens: 6 }]) {
        const got = await model.complete(prompt, { ...options, ...speculation });
        expect(bits(got), Object.keys(speculation)[0]).toEqual(bits(plain));
      }
    }
  },
);

test.each(["f32", "q8"] as const)(
  "a trained model, %s caches: speculation changes no answer of many prompts, with stops and end tokens",
  async (cacheDtype) => {
    const path = fileURLToPath(new URL("../../models/default", import.meta.url));
    await using model = await LanguageModel.load(path, { cacheDtype });
    const starts = [
      "Once upon a time",
      "The capital of France is",
      "Tom had a dog. Tom had a",
      "What is the capital of",
    ];
    const draw = generator(17);
    let [drafted, accepted, ended] = [0, 0, 0];
    for (let i = 0; i < 60; i++) {
      const prompt = `${starts[i % 4]} ${"the little cat and the dog ".repeat(Math.floor(draw() * 6))}`;
      const options = {
        maxTokens: 5 + Math.floor(draw() * 40),
        temperature: 0,
        stop: [[".", "the"], [" a"], ["cat and"], []][Math.floor(draw() * 4)]!,
      };
      const plain = await model.complete(prompt, options);
      if (plain.finishReason === "stop") ended++;
      for (const speculation of [
        { promptLookupNumTokens: 1 + Math.floor(draw() * 15) },
        { assistantModel: model, numAssistantTokens: 1 + Math.floor(draw() * 15) },
      ]) {
        const got = await model.complete(prompt, { ...options, ...speculation });
        expect([got.text, bits(got)], prompt).toEqual([plain.text, bits(plain)]);
        drafted += got.usage.draftedTokens!;
        accepted += got.usage.acceptedTokens!;
      }
    }
    // Some drafts were accepted and some rejected, and some texts ended at a stop.
    expect(ended).toBeGreaterThan(20);
    expect(accepted).toBeGreaterThan(100);
    expect(drafted).toBeGreaterThan(accepted);
  },
);

test("usage counts accepted tokens", async () => {
  await using model = tinyModel({}, { maxPositionEmbeddings: 512 });
  const options: GenerateOptions = { maxTokens: 100, temperature: 0, ignoreEos: true };
  const own = await model.complete(phrase, { ...options, assistantModel: model, numAssistantTokens: 8 });
  // A model accepts every draft of itself. After the first, each run yields 8 drafted tokens and one more.
  expect(own.usage).toMatchObject({ completionTokens: 100, draftedTokens: own.usage.acceptedTokens });
  expect(own.usage.acceptedTokens).toBeGreaterThanOrEqual(80);
  const plain = await model.complete(phrase, options);
  expect(plain.usage).not.toHaveProperty("draftedTokens");
});

test("maxTokens, stops and the end of the context truncate drafts", async () => {
  await using model = tinyModel({}, { maxPositionEmbeddings: 64 });
  const options: GenerateOptions = { temperature: 0, ignoreEos: true, contextOverflow: "stop", maxTokens: 200 };
  const plain = await model.complete(phrase, options);
  const drafted = { ...options, assistantModel: model, numAssistantTokens: 15 };
  expect(bits(await model.complete(phrase, drafted))).toEqual(bits(plain));
  for (const maxTokens of [1, 2, 7]) {
    const cut = await model.complete(phrase, { ...drafted, maxTokens });
    expect(cut.tokens).toEqual(plain.tokens.slice(0, maxTokens));
  }
  const stop = plain.tokens[4]!;
  const stopped = await model.complete(phrase, { ...drafted, stop: [stop] });
  expect(stopped.tokens).toEqual(plain.tokens.slice(0, plain.tokens.indexOf(stop) + 1));
  expect(stopped.finishReason).toBe("stop");
});

test("a session holds only accepted tokens", async () => {
  await using model = tinyModel({}, { maxPositionEmbeddings: 256 });
  const session = model.session();
  const { tokens } = await session.complete(phrase, {
    temperature: 0,
    maxTokens: 20,
    ignoreEos: true,
    promptLookupNumTokens: 10,
  });
  expect(session.tokens).toEqual([...phrase, ...tokens.slice(0, -1)]);
  session.dispose();
});

test.each([
  ["the context's end", {}],
  [
    "the length that changes all RoPE angles",
    {
      modelType: "phi3",
      ropeScaling: {
        ropeType: "longrope",
        originalMaxPositionEmbeddings: 64,
        shortFactor: [1, 1, 1, 1],
        longFactor: [2, 3, 4, 5],
      },
    },
  ],
])("a draft accepted up to %s leaves a session that can be continued and saved", async (_name, config) => {
  await using model = tinyModel({}, { maxPositionEmbeddings: 128, ...config });
  await using session = model.session({ contextLength: 64 });
  const options: GenerateOptions = { temperature: 0, ignoreEos: true, maxTokens: 64 - phrase.length + 1 };
  const { tokens, usage } = await session.complete(phrase, { ...options, assistantModel: model });
  expect(usage.acceptedTokens).toBeGreaterThan(15);
  expect(session.tokens).toEqual([...phrase, ...tokens.slice(0, -1)]);
  const path = join(temporaryFolder(), "full");
  await session.save(path);
  await using loaded = await model.loadSession(path);
  expect(loaded.tokens).toEqual(session.tokens);
  const next = [...session.tokens.slice(0, 50), 7];
  const again = { ...options, maxTokens: 8 };
  const got = await loaded.complete(next, again);
  expect(got.usage.cachedTokens).toBe(50);
  expect(bits(got)).toEqual(bits(await session.complete(next, again)));
});

describe("an assistant with a differently padded vocabulary", () => {
  const greedy = { temperature: 0, maxTokens: 30, ignoreEos: true } as const;
  test.each([
    ["larger vocabulary", 320, 384],
    ["smaller vocabulary", 384, 320],
  ])("%s: the text equals that of the model alone", async (_name, own, its) => {
    const tokenizer = await tinyTokenizer();
    await using model = tinyModel({ tokenizer }, { vocabSize: own, eosTokenIds: own > its ? [350] : [] });
    await using assistantModel = tinyModel({ tokenizer }, { vocabSize: its, numHiddenLayers: 1 });
    // Tokens missing from the smaller vocabulary occur in the text, in biases and in masks.
    const logitBias: Record<number, number> = own > its ? { 7: 2, 350: 30, 11: 29 } : { 7: 2 };
    const prompts = own > its ? [phrase, [...phrase, 379]] : [phrase];
    const form = { type: "regex", pattern: "[a-z ]{6}|[a-z]{9}" } as const;
    const others: GenerateOptions[] = [
      { responseFormat: form, ignoreEos: false },
      {},
      { logitBias },
      { responseFormat: { type: "regex", pattern: "[a-z ]{40}" } },
    ];
    for (const prompt of prompts) {
      for (const more of others) {
        const plain = await model.complete(prompt, { ...greedy, ...more });
        const drafted = await model.complete(prompt, { ...greedy, ...more, assistantModel });
        expect(drafted.tokens).toEqual(plain.tokens);
      }
    }
    if (its > own) {
      // Make the assistant draft ids that the model lacks.
      const head = assistantModel.model.weight("lm_head.weight");
      const values = (await head.read()) as Float32Array;
      await head.write(values.map((v, i) => (i >= own * head.shape[1]! ? 100 * v : v)));
      assistantModel.model.weightsChanged();
      const drafted = await model.complete(phrase, { ...greedy, assistantModel });
      expect(drafted.tokens).toEqual((await model.complete(phrase, greedy)).tokens);
    }
  });

  test("rejects tokenizers that disagree", async () => {
    const tokenizer = await tinyTokenizer();
    const other = await Tokenizer.train(["quite another text, of other words"], { vocabSize: 300 });
    await using model = tinyModel({ tokenizer });
    await using assistantModel = tinyModel({ tokenizer: other });
    const failure = await failureOf(() => model.complete([1], { assistantModel }));
    expect(failure.message).toMatch(/assistantModel: expected a model with the same 320 tokens/);
  });
});

test("rejects assistants with another vocabulary, too long drafts and two kinds of drafts, and names the option", async () => {
  await using model = tinyModel();
  await using other = tinyModel({}, { vocabSize: 300 });
  const cases: [GenerateOptions, RegExp][] = [
    [{ assistantModel: other }, /^assistantModel: expected a model with the same 320 tokens, got 300/],
    [{ assistantModel: {} as never }, /^assistantModel: expected a model with the same 320 tokens, got an object$/],
    [{ promptLookupNumTokens: 16 }, /^promptLookupNumTokens: expected a whole number from 0 to 15, got 16$/],
    [
      { assistantModel: model, promptLookupNumTokens: 2 },
      /^promptLookupNumTokens: expected 0 together with assistantModel, got 2$/,
    ],
  ];
  for (const [options, message] of cases)
    expect(await failureOf(() => model.complete([1], options))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
});
