// Custom callbacks in the decoding loop: stop conditions and logit processors.
import { afterAll, describe, expect, test } from "vitest";
import { type GenerateOptions, LanguageModel, type LogitProcessor, type StopContext } from "../../../lib/index.ts";
import { failureOf } from "../helpers.ts";

const model = await LanguageModel.load("default");
afterAll(() => model.dispose());

const prompt = "Once upon a time";
const greedy = { temperature: 0, maxTokens: 40, ignoreEos: true } as const;
const whole = await model.complete(prompt, greedy);

describe("a stop condition", () => {
  test("runs after each token, and the token it stops at is the answer's last", async () => {
    const asked: StopContext[] = [];
    const stop = (context: StopContext) => {
      asked.push({ ...context, ids: [...context.ids] });
      return context.ids.length - context.promptLength === 7;
    };
    const { tokens, text, finishReason } = await model.complete(prompt, { ...greedy, stop });
    expect(tokens).toEqual(whole.tokens.slice(0, 7));
    expect(finishReason).toBe("stop");
    expect(text).toBe(model.tokenizer!.decode(tokens));
    const promptIds = [...model.tokenizer!.encode(prompt)];
    expect(asked.map(({ ids }) => ids)).toEqual(tokens.map((_, i) => [...promptIds, ...tokens.slice(0, i + 1)]));
    expect(asked.at(-1)!.text).toBe(text);
    expect(asked.every(({ promptLength, index }) => promptLength === promptIds.length && index === 0)).toBe(true);
  });

  test("sees the text, works together with stop strings and stop ids, and releases text held back for a stop string", async () => {
    const sentences = ({ text }: StopContext) => text.split(/[.!?]/).length > 1;
    const { text, finishReason } = await model.complete(prompt, { ...greedy, stop: ["never there", 1, sentences] });
    expect(finishReason).toBe("stop");
    expect(whole.text.startsWith(text)).toBe(true);
    expect(text.indexOf(".")).toBe(text.length - 1);
    const held = whole.text.slice(2, 4);
    const early = await model.complete(prompt, {
      ...greedy,
      stop: [`${held}#`, ({ ids, promptLength }: StopContext) => ids.length - promptLength === 2],
    });
    expect(early.text).toBe(model.tokenizer!.decode(whole.tokens.slice(0, 2)));
  });

  test("ends each sequence of a batch separately, also when speculating, sampling or chatting", async () => {
    const stop = ({ ids, promptLength, index }: StopContext) => ids.length - promptLength === 3 + index;
    const batch = await model.completeAll([prompt, "The sea", "A cat"], { ...greedy, stop });
    expect(batch.map(({ tokens }) => tokens.length)).toEqual([3, 4, 5]);
    const drafted = await model.complete(prompt, { ...greedy, stop, promptLookupNumTokens: 8 });
    expect(drafted.tokens).toEqual(whole.tokens.slice(0, 3));
    const drawn = await model.complete(prompt, { maxTokens: 20, seed: 4, temperature: 1, stop });
    expect(drawn.tokens).toHaveLength(3);
    using chat = model.chat();
    const { text } = await chat.send("What is the capital of France?", { ...greedy, stop });
    expect(chat.messages.at(-1)).toEqual({ role: "assistant", content: text });
  });

  test('a stop condition that ends a constrained answer before it is complete gives the finish reason "length"', async () => {
    const responseFormat = { type: "regex", pattern: "[a-z]{10}" } as const;
    const cut = await model.complete(prompt, { ...greedy, responseFormat, stop: ({ text }) => text.length >= 3 });
    expect(cut.finishReason).toBe("length");
    const never = await model.complete(prompt, { ...greedy, responseFormat, stop: () => false });
    expect([never.text.length, never.finishReason]).toEqual([10, "stop"]);
  });

  test("must return a boolean synchronously", async () => {
    const wrong = (stop: unknown) => failureOf(() => model.complete(prompt, { ...greedy, stop } as GenerateOptions));
    expect(await wrong(async () => true)).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^stop: expected a function that returns true or false, got/),
    });
    expect((await wrong(() => undefined)).message).toMatch(/^stop: expected a function that returns true or false/);
    const mine = new RangeError("mine");
    const thrown = model.complete(prompt, {
      ...greedy,
      stop: () => {
        throw mine;
      },
    });
    await expect(thrown).rejects.toBe(mine);
  });
});

test("callbacks may modify the ids they receive", async () => {
  const lengths: number[] = [];
  const empties = ({ ids }: { ids: readonly number[] }) => {
    lengths.push(ids.length);
    (ids as number[]).length = 0;
    return false;
  };
  const logitProcessors: LogitProcessor[] = [
    (_, context) => void empties(context),
    (_, context) => void empties(context),
  ];
  const steered = { ...greedy, maxTokens: 5, repetitionPenalty: 1.1, logitProcessors, stop: [empties, empties] };
  const { logitProcessors: _, stop: __, ...plain } = steered;
  expect((await model.complete(prompt, steered)).tokens).toEqual((await model.complete(prompt, plain)).tokens);
  const length = lengths[0]!;
  expect(lengths).toEqual([0, 1, 2, 3, 4].flatMap((i) => [length + i, length + i, length + i + 1, length + i + 1]));
  await using batcher = model.batcher({ slots: 2 });
  expect((await batcher.complete(prompt, steered)).tokens).toEqual((await model.complete(prompt, plain)).tokens);
  const beams = { numBeams: 2, temperature: undefined };
  expect((await model.complete(prompt, { ...steered, ...beams })).tokens).toEqual(
    (await model.complete(prompt, { ...plain, ...beams })).tokens,
  );
});

test("rejected async callbacks leave no unhandled rejection", async () => {
  const unheard: unknown[] = [];
  const hear = (reason: unknown) => unheard.push(reason);
  process.on("unhandledRejection", hear);
  try {
    const fails = async () => {
      throw new RangeError("mine");
    };
    const [stop, logitProcessors] = [fails as never, [fails as never]];
    for (const given of [{ stop }, { logitProcessors }, { logitProcessors, numBeams: 2, temperature: undefined }])
      expect(await failureOf(() => model.complete(prompt, { maxTokens: 2, ...given }))).toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(unheard).toEqual([]);
  } finally {
    process.off("unhandledRejection", hear);
  }
});

describe("a logit processor", () => {
  test("chooses each token by forbidding all others", async () => {
    const chosen = [300, 17, 420, 5];
    const choose: LogitProcessor = (logits, { ids, promptLength }) => {
      logits.fill(Number.NEGATIVE_INFINITY);
      logits[chosen[ids.length - promptLength]!] = 0;
    };
    const { tokens } = await model.complete(prompt, { maxTokens: 4, ignoreEos: true, logitProcessors: [choose] });
    expect(tokens).toEqual(chosen);
  });

  test("must change the logits in place and synchronously; other return values are ignored", async () => {
    const of = (processor: unknown, more: GenerateOptions = {}) =>
      failureOf(() =>
        model.complete(prompt, { maxTokens: 2, ...more, logitProcessors: [processor as LogitProcessor] }),
      );
    const copies = (logits: Float32Array) => logits.map((v) => -v);
    expect(await of(copies)).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^logitProcessors: expected a function that changes the logits in place/),
    });
    expect((await of(copies, { numBeams: 2 })).message).toMatch(/^logitProcessors: expected/);
    expect((await of(async () => {})).message).toMatch(/got one that returns a promise$/);
    for (const fine of [(l: Float32Array) => l.fill(0, 0, 1), (l: Float32Array) => (l[0] = 0), () => undefined])
      await model.complete(prompt, { maxTokens: 2, logitProcessors: [fine as LogitProcessor] });
  });
});
