// Batches of texts: errors name the text at fault. Also empty batches and texts longer than the context.
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import type { Classification, Completion, LanguageModel, Reply } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { failureOf, tinyModel, tinyTokenizer } from "./helpers.ts";

const CONTEXT = 32;
let model: LanguageModel;
let judge: LanguageModel;
/** A tokenizer that adds one special token before and one after each text. */
let around: Tokenizer;
beforeAll(async () => {
  const tokenizer = await tinyTokenizer();
  const json = JSON.parse(tokenizer.files()["tokenizer.json"]!);
  const special = (content: string) => ({ SpecialToken: { id: content, type_id: 0 } });
  json.post_processor = {
    type: "TemplateProcessing",
    single: [special("a"), { Sequence: { id: "A", type_id: 0 } }, special("b")],
    pair: [],
    special_tokens: Object.fromEntries(
      ["a", "b"].map((token) => [token, { id: token, ids: [tokenizer.tokenToId(token)], tokens: [token] }]),
    ),
  };
  around = Tokenizer.fromFiles({ tokenizer: JSON.stringify(json) });
  model = tinyModel({ tokenizer: around }, { maxPositionEmbeddings: CONTEXT });
  judge = tinyModel({ tokenizer: around }, { maxPositionEmbeddings: CONTEXT });
  await judge.model.addClassifier({ task: "sequence", labels: ["no", "yes"] }, { seed: 1 });
});
afterAll(async () => {
  await model.dispose();
  await judge.dispose();
});

const long = "The cat saw the sea and ran home. ".repeat(20);

describe("errors of a batch", () => {
  test.each<[string, (texts: (string | number[])[]) => Promise<unknown>, string]>([
    ["completeAll", (texts) => model.completeAll(texts, { maxTokens: 1 }), "prompt"],
    ["generate", async (texts) => await model.generate(texts, { maxTokens: 1 }), "prompt"],
    ["embed", (texts) => model.embed(texts), "text"],
    ["classify", (texts) => judge.classify(texts), "text"],
  ])("name the text at fault in %s", async (_, call, name) => {
    const tooLong = await failureOf(() => call(["a", "b", long]));
    expect(tooLong.code).toBe("CONTEXT_OVERFLOW");
    expect(tooLong.message).toMatch(new RegExp(`^${name}\\[2\\]: expected at most ${CONTEXT} tokens`));
    expect(tooLong.message).toContain(name === "text" ? "truncation: true" : 'contextOverflow: "truncateLeft"');
    expect((await failureOf(() => call(["a", []]))).message).toMatch(`${name}[1]: expected at least one token`);
    expect((await failureOf(() => call(["a", [1, 999]]))).message).toMatch(`${name}[1]: token id 1: expected`);
    expect((await failureOf(() => call(["a", 3 as never]))).message).toMatch(`${name}[1]: expected a string or token`);
    expect((await failureOf(() => call([long]))).message).toMatch(new RegExp(`^${name}: `));
  });

  test("suggest contextOverflow for a chat that is too long, unless the call sets it", async () => {
    const chat = model.chat();
    const { code, message } = await failureOf(() => chat.send(long));
    expect([code, message]).toEqual(["CONTEXT_OVERFLOW", expect.stringContaining('contextOverflow: "truncateLeft"')]);
    expect((await chat.send(long, { contextOverflow: "truncateLeft", maxTokens: 2 })).tokens.length).toBeGreaterThan(0);
    chat.dispose();
    const stop = await failureOf(() => model.complete(long, { contextOverflow: "stop" }));
    expect(stop.message).toMatch(/^prompt: expected at most 32 tokens, the context length, got \d+$/);
  });

  test("state which prompt's answer cannot fit", async () => {
    const { message } = await failureOf(() => model.completeAll(["a", "b"], { maxTokens: 999 }));
    expect(message).toMatch(/after a prompt\[0\] of \d+ tokens/);
  });
});

test("an empty batch returns an empty array", async () => {
  expect(await model.completeAll([])).toEqual([]);
  expect(await model.completeAll([], { numBeams: 2, n: 2 })).toEqual([]);
  expect(await model.embed([])).toEqual([]);
  expect(await judge.classify([])).toEqual([]);
  expect((await failureOf(() => model.complete([]))).message).toBe("prompt: expected at least one token, got []");
  expect((await failureOf(async () => await model.generate([]))).message).toBe(
    "prompt: expected at least one token, got []",
  );
});

test("types distinguish one text, an array of texts and an empty array", async () => {
  const either = ["a"] as string | string[];
  const calls = () => ({
    embed: [model.embed("a"), model.embed([1]), model.embed(["a"]), model.embed([]), model.embed(either)] as const,
    classify: [model.classify("a"), model.classify(["a"]), model.classify([]), model.classify(either)] as const,
    complete: [model.complete("a"), model.complete(["a"]), model.complete(either)] as const,
    generate: [model.generate("a"), model.generate(["a"]), model.generate(either)] as const,
  });
  type Calls = ReturnType<typeof calls>;
  type Vector = Float32Array;
  expectTypeOf<Calls["embed"]>().toEqualTypeOf<
    readonly [Promise<Vector>, Promise<Vector>, Promise<Vector[]>, Promise<Vector[]>, Promise<Vector | Vector[]>]
  >();
  expectTypeOf<Calls["classify"]>().toEqualTypeOf<
    readonly [
      Promise<Classification>,
      Promise<Classification[]>,
      Promise<Classification[]>,
      Promise<Classification | Classification[]>,
    ]
  >();
  expectTypeOf<Calls["complete"]>().toEqualTypeOf<
    readonly [Promise<Completion>, Promise<Completion[]>, Promise<Completion | Completion[]>]
  >();
  expectTypeOf<Calls["generate"]>().toEqualTypeOf<
    readonly [Reply<Completion>, Reply<Completion[]>, Reply<Completion | Completion[]>]
  >();
  // The result for a value of type any, such as parsed JSON, has the type for one text.
  const parsed = () => {
    const { text } = JSON.parse('{ "text": "a" }');
    return [model.embed(text), judge.classify(text)] as const;
  };
  expectTypeOf<ReturnType<typeof parsed>>().toEqualTypeOf<readonly [Promise<Vector>, Promise<Classification>]>();
  expect(await model.embed(either)).toEqual([await model.embed("a")]);
});

describe("truncation", () => {
  test("truncates texts to the context and keeps the special tokens around them", async () => {
    const [input] = await around.encodeInputs([long], { truncation: { maxLength: CONTEXT } });
    const ids = [...input!.ids];
    expect([ids.length, ids[0], ids.at(-1)]).toEqual([CONTEXT, around.tokenToId("a"), around.tokenToId("b")]);
    const both = await model.embed(["a cat", long], { truncation: true });
    expect(both).toEqual(await model.embed([around.encode("a cat"), ids]));
    expect(await judge.classify(long, { truncation: true })).toEqual(await judge.classify(ids));
  });

  test("truncates ids at their end", async () => {
    const ids = Array.from({ length: 50 }, (_, i) => i + 1);
    expect(await model.embed(ids, { truncation: true })).toEqual(await model.embed(ids.slice(0, CONTEXT)));
  });

  test("is off by default and rejects values other than booleans", async () => {
    expect((await failureOf(() => model.embed("a", { truncation: 3 as never }))).message).toBe(
      "truncation: expected true or false, got 3",
    );
    for (const options of [{}, { truncation: false }])
      expect((await failureOf(() => model.embed(long, options))).code).toBe("CONTEXT_OVERFLOW");
  });
});
