// Independent callers' sequences in shared runs.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GenerateOptions } from "../../lib/inference/generation-options.ts";
import { type Scheduled, SharedScheduler } from "../../lib/inference/shared-scheduler.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { languageModeling } from "../../lib/train/losses/language-modeling.ts";
import { failureOf, tinyModel } from "./helpers.ts";

let model: LanguageModel;
beforeAll(() => {
  model = tinyModel({}, { maxPositionEmbeddings: 2048 });
});
afterAll(() => model.dispose());

const idsFrom = (start: number, length: number) => Array.from({ length }, (_, i) => (start * 31 + i * i * 7 + i) % 320);
const long = { maxTokens: 40, temperature: 0, ignoreEos: true } satisfies GenerateOptions;

async function tokensOf({ stream }: Scheduled): Promise<number[]> {
  const tokens: number[] = [];
  for await (const pieces of stream) tokens.push(...pieces.map((piece) => piece.token));
  return tokens;
}

async function withScheduler<T>(
  options: { slots?: number; deterministic?: boolean; of?: LanguageModel },
  work: (scheduler: SharedScheduler) => Promise<T>,
): Promise<T> {
  const scheduler = new SharedScheduler(options.of ?? model, { slots: 4, deterministic: false, ...options });
  try {
    return await work(scheduler);
  } finally {
    await scheduler.close();
  }
}

describe.each([{ deterministic: true }, { deterministic: false }])("deterministic: $deterministic", (mode) => {
  test("more sequences than slots each get the answer of a single call", () =>
    withScheduler(mode, async (scheduler) => {
      const prompts = Array.from({ length: 11 }, (_, i) => idsFrom(i, 3 + 37 * (i % 4)));
      const options = prompts.map((_, i) => ({ ...long, seed: i, temperature: mode.deterministic && i % 2 ? 1 : 0 }));
      const alone: number[][] = [];
      for (const [i, ids] of prompts.entries())
        alone.push((await model.complete(ids, { ...options[i]!, ...mode })).tokens);
      const together = prompts.map(async (ids, i) => {
        await new Promise((resolve) => setTimeout(resolve, 3 * i)); // joins while others run
        return tokensOf(scheduler.submit([ids], options[i]!)[0]!);
      });
      expect(await Promise.all(together)).toEqual(alone);
      expect(scheduler.counts).toEqual({ running: 0, waiting: 0, tokens: 11 * 40 });
    }));

  test("sequences with common prefixes are unaffected by readers that leave at any time", () =>
    withScheduler({ ...mode, slots: 3 }, async (scheduler) => {
      const shared = idsFrom(5, 300);
      const prompts = Array.from({ length: 12 }, (_, i) => [...shared.slice(0, 40 + 60 * (i % 5)), ...idsFrom(i, 9)]);
      const alone: number[][] = [];
      for (const ids of prompts) alone.push((await model.complete(ids, { ...long, ...mode })).tokens);
      for (let round = 0; round < 3; round++) {
        const together = prompts.map(async (ids, i) => {
          await new Promise((resolve) => setTimeout(resolve, (i * 7 + round * 3) % 16));
          const one = scheduler.submit([ids], long)[0]!;
          if ((i + round) % 3 > 0) return tokensOf(one);
          await new Promise((resolve) => setTimeout(resolve, (i * 5 + round) % 12));
          one.stream.cancel();
          return undefined;
        });
        for (const [i, tokens] of (await Promise.all(together)).entries()) if (tokens) expect(tokens).toEqual(alone[i]);
      }
      expect(scheduler.counts).toMatchObject({ running: 0, waiting: 0 });
    }));
});

test("a longer prompt is sampled from its own last row while a part of a shorter prompt is scored", async () => {
  // With such a vocabulary, a run scores 55 rows, which are only a part of the shorter prompt.
  await using wide = tinyModel({}, { vocabSize: 151_936, tieWordEmbeddings: true, maxPositionEmbeddings: 256 });
  await withScheduler({ of: wide }, async (scheduler) => {
    const [scored, plain] = [idsFrom(3, 100), idsFrom(4, 120)];
    const few = { ...long, maxTokens: 3 };
    const alone = [await wide.complete(scored, few), await wide.complete(plain, few)].map(({ tokens }) => tokens);
    const together = [
      scheduler.submit([scored], { ...few, promptLogprobs: 1 })[0]!,
      scheduler.submit([plain], few)[0]!,
    ];
    expect(await Promise.all(together.map(tokensOf))).toEqual(alone);
  });
});

test("a repetition penalty counts the same tokens in a cache that other requests have enlarged", async () => {
  const wide = tinyModel({}, { maxPositionEmbeddings: 384 });
  const options = { ...long, maxTokens: 12, repetitionPenalty: 5, contextOverflow: "truncateLeft" } as const;
  // Tokens that occur once are older than the newest 256 tokens, and some of them are among the newest 384.
  const prompt = [...idsFrom(1, 140), ...Array.from({ length: 260 }, (_, i) => 3 + (i % 5))];
  const { tokens } = await wide.complete(prompt, options);
  await wide.complete(idsFrom(9, 300), { ...long, maxTokens: 80 });
  expect((await wide.complete(prompt, options)).tokens).toEqual(tokens);
  await withScheduler({ of: wide }, async (scheduler) => {
    const together = [scheduler.submit([prompt], options)[0]!, scheduler.submit([idsFrom(9, 300)], long)[0]!];
    expect((await Promise.all(together.map(tokensOf)))[0]).toEqual(tokens);
  });
  await wide.dispose();
});

test("a prompt that continues an earlier one computes only the new part", () =>
  withScheduler({}, async (scheduler) => {
    const first = scheduler.submit([idsFrom(1, 100)], long)[0]!;
    const said = await tokensOf(first);
    const next = [...idsFrom(1, 100), ...said, ...idsFrom(2, 10)];
    // Other conversations take other slots.
    for (let i = 0; i < 3; i++) await tokensOf(scheduler.submit([idsFrom(10 + i, 50)], long)[0]!);
    const second = scheduler.submit([next], long)[0]!;
    expect(await tokensOf(second)).toEqual((await model.complete(next, long)).tokens);
    expect(second.sequence.cachedTokens).toBeGreaterThanOrEqual(139);
  }));

test("each answer of a prompt has its seed, independently of other prompts", () =>
  withScheduler({ deterministic: true }, async (scheduler) => {
    const options = { ...long, temperature: 1, n: 3, seed: 9, deterministic: true };
    const prompts = [idsFrom(1, 20), idsFrom(2, 20)];
    const expected = (await model.completeAll(prompts, options)).map(({ tokens }) => tokens);
    expect(await Promise.all(scheduler.submit(prompts, options).map(tokensOf))).toEqual(expected);
  }));

test("a slow reader pauses only its sequence", () =>
  withScheduler({}, async (scheduler) => {
    const options = { ...long, maxTokens: 1500 };
    const slow = scheduler.submit([idsFrom(1, 5)], options)[0]!;
    const quick = scheduler.submit([idsFrom(2, 5)], options)[0]!;
    expect(await tokensOf(quick)).toHaveLength(1500);
    const { generated } = slow.sequence;
    expect(generated).toBeLessThan(200);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(slow.sequence.generated).toBe(generated);
    expect(await tokensOf(slow)).toEqual((await model.complete(idsFrom(1, 5), options)).tokens);
  }));

test("a sequence whose logits or processor fail ends alone", () =>
  withScheduler({}, async (scheduler) => {
    const bad = (logits: Float32Array, { ids }: { ids: readonly number[] }) => {
      if (ids.length > 12) logits.fill(Number.NaN);
    };
    const throws = () => {
      throw new Error("mine");
    };
    const all = [
      scheduler.submit([idsFrom(1, 5)], long),
      scheduler.submit([idsFrom(2, 5)], { ...long, logitProcessors: [bad] }),
      scheduler.submit([idsFrom(3, 5)], { ...long, logitProcessors: [throws] }),
      scheduler.submit([idsFrom(4, 5)], long),
    ].map(([one]) => tokensOf(one!));
    const settled = await Promise.allSettled(all);
    expect(
      settled.map((s) => (s.status === "fulfilled" ? s.value.length : (s.reason.code ?? s.reason.message))),
    ).toEqual([40, "NUMERICAL", "mine", 40]);
    expect(await all[0]).toEqual((await model.complete(idsFrom(1, 5), long)).tokens);
    expect(await all[3]).toEqual((await model.complete(idsFrom(4, 5), long)).tokens);
  }));

test("answers with a paged cache or a sliding window equal those of single calls", async () => {
  const sizes = { maxPositionEmbeddings: 512 };
  const paged = tinyModel({}, sizes).model;
  const models = [
    tinyModel({}, { modelType: "mistral", slidingWindow: 24, ...sizes }),
    new LanguageModel({ model: paged, cachePageSize: 16 }),
  ];
  for (const of of models) {
    await using owned = of;
    const prompts = Array.from({ length: 9 }, (_, i) => [...idsFrom(5, 20 + 30 * (i % 3)), ...idsFrom(i, 6)]);
    const alone: number[][] = [];
    for (const ids of prompts) alone.push((await owned.complete(ids, long)).tokens);
    await withScheduler({ of: owned, slots: 3 }, async (scheduler) => {
      for (let round = 0; round < 2; round++) {
        const together = prompts.map(async (ids, i) => {
          const one = scheduler.submit([ids], long)[0]!;
          if ((i + round) % 4 !== 0) return tokensOf(one);
          await new Promise((resolve) => setTimeout(resolve, i));
          one.stream.cancel();
          return undefined;
        });
        for (const [i, tokens] of (await Promise.all(together)).entries()) if (tokens) expect(tokens).toEqual(alone[i]);
      }
    });
  }
});

test("after training, or with other adapters, requests are answered by the current model", async () => {
  await using own = tinyModel({}, { maxPositionEmbeddings: 2048 });
  const { model: inner } = own;
  const ids = idsFrom(5, 40);
  const batch = {
    tokens: Int32Array.from(ids),
    targets: Int32Array.from(idsFrom(6, 40)),
    tokenCount: 40,
    byteCount: 0,
  };
  await withScheduler({ of: own, slots: 2 }, async (scheduler) => {
    const answer = () => tokensOf(scheduler.submit([ids], long)[0]!);
    const seen = new Set<string>();
    const expectCurrent = async (isNew: boolean) => {
      const { tokens } = await own.complete(ids, long);
      expect(await answer()).toEqual(tokens);
      expect([...seen].includes(String(tokens))).toBe(!isNew);
      seen.add(String(tokens));
    };
    await expectCurrent(true);
    const addAdapter = async (adapter: string, size: number) => {
      await inner.addAdapter(adapter, { r: 4 }, 1);
      for (const name of adapterTensors(inner.adapters.get(adapter)!)) {
        const tensor = inner.tensors.get(name)!;
        await tensor.write(Float32Array.from({ length: tensor.elements }, (_, i) => size * Math.sin(i)));
      }
    };
    await addAdapter("mine", 0.5);
    await expectCurrent(true);
    await inner.mergeAdapter("mine");
    await expectCurrent(false);
    inner.unmergeAdapters();
    inner.removeAdapter("mine");
    await expectCurrent(false);
    const step = await TrainStep.create(inner, languageModeling, { sequences: 1, sequenceLength: 40, dtype: "f32" });
    await step.run([batch], 0.1);
    step.dispose();
    await expectCurrent(true);
    // A running answer keeps the model that it began with. The next request waits for it.
    const options = { ...long, maxTokens: 1500 };
    const { tokens } = await own.complete(idsFrom(6, 9), options);
    const first = scheduler.submit([idsFrom(6, 9)], options)[0]!;
    const pieces = first.stream[Symbol.asyncIterator]();
    const begun = (await pieces.next()).value!.map((piece) => piece.token);
    await addAdapter("other", 0.4);
    // The answer is paused, because its reader reads no further.
    expect(scheduler.counts.running).toBe(1);
    const [rest] = await Promise.all([tokensOf(first), expectCurrent(true)]);
    expect([...begun, ...rest]).toEqual(tokens);
  });
});

test("with RoPE angles that depend on the length, an answer does not depend on other requests", async () => {
  const ropeScaling = { ropeType: "dynamic", factor: 8 };
  await using own = tinyModel({}, { maxPositionEmbeddings: 64, ropeScaling });
  const asked = idsFrom(5, 400);
  const alone = await own.complete(asked, { ...long, topLogprobs: 1 });
  await withScheduler({ of: own, slots: 1 }, async (scheduler) => {
    await tokensOf(scheduler.submit([asked.slice(0, 50)], long)[0]!);
    const { sequence, stream } = scheduler.submit([asked], long)[0]!;
    const got: number[] = [];
    for await (const pieces of stream) got.push(...pieces.map(({ logprob }) => logprob));
    expect(sequence.cachedTokens).toBe(0);
    for (const [i, logprob] of got.entries()) expect(logprob).toBeCloseTo(alone.logprobs[i]!, 3);
  });
  // The same holds within one call that has more prompts than slots.
  const many = [...Array.from({ length: 32 }, (_, i) => [...asked.slice(0, 50), i]), asked];
  const last = (await own.completeAll(many, { ...long, maxTokens: 2 })).at(-1)!;
  expect(last.usage.cachedTokens).toBe(0);
  expect(last.logprobs[0]).toBeCloseTo(alone.logprobs[0]!, 3);
});

test("the scheduler rejects requests that cannot start, and closing it ends all requests", async () => {
  const scheduler = new SharedScheduler(model, { slots: 2, deterministic: false });
  expect(await failureOf(() => scheduler.submit([idsFrom(1, 3000)], long))).toMatchObject({ code: "CONTEXT_OVERFLOW" });
  expect(await failureOf(() => scheduler.submit([[1]], { topK: -1 }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await tokensOf(scheduler.submit([[1]], { maxTokens: 0 })[0]!)).toEqual([]);
  const options = { ...long, maxTokens: 2000 };
  const all = [1, 2, 3, 4].map((i) => failureOf(() => tokensOf(scheduler.submit([idsFrom(i, 9)], options)[0]!)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await scheduler.close();
  for (const failure of await Promise.all(all)) expect(failure.code).toBe("ABORTED");
  expect(await failureOf(() => scheduler.submit([[1]], long))).toMatchObject({ code: "ABORTED" });
});

test("disposing the model ends every pending request", async () => {
  const own = tinyModel({}, { maxPositionEmbeddings: 2048 });
  const scheduler = new SharedScheduler(own, { slots: 2, deterministic: false });
  const options = { ...long, maxTokens: 2000 };
  const all = [1, 2, 3].map((i) => failureOf(() => tokensOf(scheduler.submit([idsFrom(i, 9)], options)[0]!)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await own.dispose();
  for (const failure of await Promise.all(all)) expect(failure.code).toBe("DISPOSED");
  await scheduler.close();
});
