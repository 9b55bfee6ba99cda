// Independent calls in shared runs (continuous batching).
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { KvCache } from "../../lib/inference/cache/kv-cache.ts";
import type { Batcher } from "../../lib/language-model/batcher.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { failureOf, tinyModel } from "../inference/helpers.ts";

let model: LanguageModel;
beforeAll(() => {
  model = tinyModel({}, { maxPositionEmbeddings: 2048 });
});
afterAll(() => model.dispose());

const idsFrom = (start: number, length: number) => Array.from({ length }, (_, i) => (start * 31 + i * i * 7 + i) % 320);
const prompts = Array.from({ length: 8 }, (_, i) => idsFrom(i, 5 + 9 * i));
const options = { maxTokens: 40, temperature: 0, ignoreEos: true } as const;

/** Returns the number of runs of the model's layers during the work. */
async function stepsOf(work: () => Promise<unknown>): Promise<number> {
  const start = vi.spyOn(KvCache.prototype, "start");
  try {
    await work();
    return start.mock.calls.reduce((sum, [, , { series }]) => sum + (series?.runs ?? 1), 0);
  } finally {
    start.mockRestore();
  }
}

test("concurrent calls share runs of the model", async () => {
  await using batcher = model.batcher();
  const shared = await stepsOf(() => Promise.all(prompts.map((ids) => batcher.complete(ids, options))));
  const alone = await stepsOf(() => Promise.all(prompts.map((ids) => model.complete(ids, options))));
  const tokens = prompts.length * options.maxTokens;
  expect(alone).toBeGreaterThanOrEqual(tokens);
  // A run draws a token of every answer. Further runs compute prompts, or were queued before the last token was known.
  expect(shared).toBeLessThan(2 * options.maxTokens);
  expect(batcher.counts).toEqual({ running: 0, waiting: 0, tokens });
});

test("with `deterministic`, each answer has the bits of a separate call, whatever else is running", async () => {
  await using batcher = model.batcher({ slots: 3, deterministic: true });
  const own = prompts.map((_, i) => ({
    ...options,
    maxTokens: 20 + i,
    temperature: i % 2,
    seed: i,
    topLogprobs: i % 3,
    presencePenalty: i === 5 ? 0.5 : 0,
    ...(i === 3 && { promptLogprobs: 1 }),
  }));
  const together = await Promise.all(
    prompts.map(async (ids, i) => {
      await new Promise((resolve) => setTimeout(resolve, 2 * i));
      return batcher.complete(ids, own[i]!);
    }),
  );
  for (const [i, { timings, ...answer }] of together.entries()) {
    const { timings: _, ...alone } = await model.complete(prompts[i]!, { ...own[i]!, deterministic: true });
    expect(answer).toEqual(alone);
    expect(timings.timeToFirstTokenMs).toBeGreaterThan(0);
    expect(timings.decodeTokensPerSecond).toBeGreaterThan(0);
  }
});

describe("a batcher", () => {
  let batcher: Batcher;
  beforeAll(() => {
    batcher = model.batcher({ slots: 4 });
  });
  afterAll(() => batcher.dispose());

  test("streams, can be awaited, and answers several prompts", async () => {
    const expected = await model.completeAll(prompts.slice(0, 2), { ...options, n: 2, seed: 3, temperature: 1 });
    const all = await batcher.completeAll(prompts.slice(0, 2), { ...options, n: 2, seed: 3, temperature: 1 });
    expect(all.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    expect(await batcher.completeAll([])).toEqual([]);
    const reply = batcher.generate(prompts[3]!, options);
    const tokens: number[] = [];
    for await (const { token, index } of reply) {
      expect(index).toBe(0);
      tokens.push(token);
    }
    expect((await reply).tokens).toEqual(tokens);
    expect(tokens).toEqual((await model.complete(prompts[3]!, options)).tokens);
    expect((await batcher.complete(prompts[0]!, { maxTokens: 0 })).tokens).toEqual([]);
  });

  test("ends only the answer whose reader leaves, signal aborts, condition fails or logits become NaN", async () => {
    const controller = new AbortController();
    const long = { ...options, maxTokens: 200 };
    const broken = (after: number, answer: () => boolean) => ({
      ...long,
      stop: ({ ids }: { ids: readonly number[] }) => (ids.length > after ? answer() : false),
    });
    const fails = () => {
      throw new Error("mine");
    };
    const left = (async () => {
      for await (const _ of batcher.generate(prompts[1]!, long)) return "left";
      return "whole";
    })();
    const settled = await Promise.allSettled([
      left,
      (async () => {
        for await (const _ of batcher.generate(prompts[2]!, { ...long, signal: controller.signal })) controller.abort();
      })(),
      batcher.complete(prompts[0]!, broken(30, fails)),
      batcher.complete(
        prompts[4]!,
        broken(50, () => 1 as never),
      ),
      batcher.complete(prompts[3]!, long),
      batcher.complete(prompts[5]!, { ...long, logitProcessors: [(logits) => logits.fill(Number.NaN)] }),
    ]);
    expect(
      settled.map((one) => (one.status === "fulfilled" ? "well" : (one.reason.code ?? one.reason.message))),
    ).toEqual(["well", "ABORTED", "mine", "INVALID_ARGUMENT", "well", "NUMERICAL"]);
    const { tokens } = await model.complete(prompts[3]!, long);
    expect((settled[4] as PromiseFulfilledResult<{ tokens: number[] }>).value.tokens).toEqual(tokens);
    expect(batcher.counts).toMatchObject({ running: 0, waiting: 0 });
  });

  test("passes callbacks the index of the caller's sequence", async () => {
    const seen = new Set<number>();
    const stop = ({ index }: { index: number }) => {
      seen.add(index);
      return false;
    };
    const logitProcessors = [(_: Float32Array, { index }: { index: number }) => void seen.add(index + 10)];
    await batcher.completeAll([[1], [2]], { ...options, maxTokens: 3, stop, logitProcessors });
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 10, 11]);
  });

  test("rejects options that need separate runs, unknown options and empty prompts", async () => {
    const refused = async (own: object) => (await failureOf(() => batcher.complete([1], own))).message;
    expect(await refused({ numBeams: 2 })).toMatch("numBeams: expected 1");
    expect(await refused({ adapters: [] })).toMatch("adapters: expected no value in a batcher");
    expect(await refused({ promptLookupNumTokens: 3 })).toMatch(
      "promptLookupNumTokens: expected no value in a batcher",
    );
    expect(await refused({ assistantModel: model })).toMatch("assistantModel: expected no value in a batcher");
    expect(await refused({ deterministic: true })).toMatch("deterministic: expected no value in a batcher");
    expect(await refused({ n: 2 })).toMatch("n: expected 1 (completeAll returns several)");
    expect(await refused({ maxToken: 2 })).toMatch("nearest: maxTokens");
    expect(await refused(null as never)).toMatch("options: expected an object");
    expect((await failureOf(() => model.batcher({ slots: 33 }))).message).toBe(
      "slots: expected a whole number from 1 to 32, got 33",
    );
    expect((await failureOf(() => batcher.completeAll([[1], []]))).message).toMatch("prompt[1]: expected at least one");
  });
});

test("disposing a batcher ends every pending answer, and calls after the disposal of a model are rejected", async () => {
  const batcher = model.batcher();
  const answers = prompts.map((ids) => failureOf(() => batcher.complete(ids, { ...options, maxTokens: 1500 })));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await batcher.dispose();
  expect(new Set((await Promise.all(answers)).map(({ code }) => code))).toEqual(new Set(["DISPOSED"]));
  expect((await failureOf(() => batcher.complete([1]))).code).toBe("DISPOSED");
  const own = tinyModel();
  const of = own.batcher();
  await own.dispose();
  expect((await failureOf(() => of.complete([1]))).code).toBe("DISPOSED");
  await of.dispose();
  expect((await failureOf(() => own.batcher())).code).toBe("DISPOSED");
});
