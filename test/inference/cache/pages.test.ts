// Paged caches against caches with contiguous rows per slot: the same bits, less memory, and no page with two writers.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { prefill } from "../../../lib/inference/async-prefill.ts";
import { KvCache } from "../../../lib/inference/cache/kv-cache.ts";
import { PagePool } from "../../../lib/inference/cache/page-pool.ts";
import { logitsProgram } from "../../../lib/inference/programs.ts";
import { type Completion, LanguageModel } from "../../../lib/language-model/index.ts";
import type { CacheDType } from "../../../lib/models/cache-shape.ts";
import { generator } from "../../ops/harness.ts";
import { failureOf, tinyModel } from "../helpers.ts";

const CONTEXT = 1024;
const VOCABULARY = 96;
const shape = { vocabSize: VOCABULARY, maxPositionEmbeddings: CONTEXT, initializerRange: 0.3 };
const models = {
  llama: tinyModel({}, shape),
  "gemma2, alternate layers slide": tinyModel(
    {},
    { ...shape, modelType: "gemma2", numHiddenLayers: 4, headDim: 16, slidingWindow: 24 },
  ),
  "mistral, every layer slides": tinyModel({}, { ...shape, modelType: "mistral", slidingWindow: 24 }),
};
const names = Object.keys(models) as (keyof typeof models)[];
afterAll(async () => {
  for (const m of Object.values(models)) await m.dispose();
});

const random = generator(3);
const draw = (length: number) => Array.from({ length }, () => Math.floor(random() * VOCABULARY));
const bits = ({ tokens, logprobs }: Completion) => ({ tokens, logprobs });

describe.each(names)("a paged cache of %s", (name) => {
  const { model } = models[name];
  const beginning = draw(150);
  const prompts = [
    [...beginning, 1],
    draw(3),
    [...beginning, 2, 3],
    draw(400),
    [...beginning.slice(0, 70), 5],
    draw(17),
  ];

  test.each([
    ["f32", 16],
    ["f32", 64],
    ["bf16", 32],
    ["q8", 16],
    ["q8", 128],
  ] as [CacheDType, number][])("has a contiguous cache's bits: %s, pages of %i", async (cacheDtype, cachePageSize) => {
    const [whole, paged] = [undefined, cachePageSize].map(
      (size) => new LanguageModel({ model, cacheDtype, cachePageSize: size }),
    ) as [LanguageModel, LanguageModel];
    for (const options of [
      { maxTokens: 40, temperature: 0, ignoreEos: true },
      { maxTokens: 30, temperature: 1, seed: 4, n: 3, ignoreEos: true },
      { maxTokens: 20, temperature: 0, ignoreEos: true, deterministic: true },
      { maxTokens: 20, temperature: 0, ignoreEos: true, promptLookupNumTokens: 4 },
    ]) {
      const [want, got] = [await whole.completeAll(prompts, options), await paged.completeAll(prompts, options)];
      expect(got.map(bits)).toEqual(want.map(bits));
      expect(got.map((c) => c.usage.cachedTokens)).toEqual(want.map((c) => c.usage.cachedTokens));
    }
  });
});

async function append(cache: KvCache, slot: number, ids: readonly number[]): Promise<Float32Array> {
  await cache.reserve(cache.ids(slot).length + ids.length);
  await prefill(cache, slot, ids.slice(0, -1));
  const options = { shape: { rows: 256, logitRows: 1, top: 0 }, inputs: { logitRows: Int32Array.of(0) } };
  return (await cache.run(logitsProgram, [{ slot, ids: ids.slice(-1) }], options)).logits as Float32Array;
}

test("slots share common pages, and short sequences take only the pages they need", async () => {
  const { model } = models.llama;
  const cache = new KvCache(model, { slots: 8, contextLength: CONTEXT, pageSize: 16 });
  const whole = new KvCache(model, { slots: 8, contextLength: CONTEXT });
  const prompt = draw(500);
  for (const c of [cache, whole]) {
    await append(c, 0, prompt);
    for (let slot = 1; slot < 7; slot++) expect(await c.copySlot(0, slot, 490)).toBe(true);
    await append(c, 7, draw(9));
  }
  const perToken = 2 * 2 * 2 * 8 * 4; // layers · (k, v) · heads · width · bytes
  expect(whole.bytes).toBe(8 * 512 * perToken);
  // 32 pages of the prompt, one for the end of each copy and one for the short sequence: 39. Allocation may double that, and adds a page
  // ahead for each slot.
  expect(cache.bytes).toBeGreaterThanOrEqual(39 * 16 * perToken);
  expect(cache.bytes).toBeLessThanOrEqual(2 * (39 + 8) * 16 * perToken);
  // Each copy continues independently of what the others write.
  for (const slot of [3, 0, 5]) {
    const more = draw(40);
    const got = await append(cache, slot, more);
    expect(got).toEqual(await append(whole, slot, more));
  }
  cache.dispose();
  whole.dispose();
});

test("copies, truncations and interleaved rows in any order match contiguous caches", async () => {
  const { model } = models.llama;
  const step = fc.record({
    kind: fc.constantFrom("append", "append", "copy", "truncate"),
    slot: fc.nat(3),
    other: fc.nat(3),
    amount: fc.integer({ min: 1, max: 90 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 25 }), async (steps) => {
      const cache = new KvCache(model, { slots: 4, contextLength: CONTEXT, pageSize: 16 });
      const ids: number[][] = [[], [], [], []];
      try {
        for (const { kind, slot, other, amount } of steps) {
          if (kind === "append") {
            const more = draw(Math.min(amount, CONTEXT - ids[slot]!.length));
            if (more.length === 0) continue;
            ids[slot]!.push(...more);
            const fresh = new KvCache(model, { slots: 1, contextLength: CONTEXT });
            const got = await append(cache, slot, more);
            const want = await append(fresh, 0, ids[slot]!);
            fresh.dispose();
            const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - want[i]!)), 0);
            expect(worst).toBeLessThan(1e-4 * Math.max(...want.map(Math.abs)));
          } else if (kind === "copy" && slot !== other) {
            const length = Math.min(amount, ids[slot]!.length);
            await cache.copySlot(slot, other, length);
            ids[other] = ids[slot]!.slice(0, length);
          } else if (kind === "truncate") {
            const length = Math.min(amount, ids[slot]!.length);
            cache.truncate(slot, length);
            const left = cache.ids(slot).length;
            expect(left).toBeLessThanOrEqual(length);
            expect(left).toBeGreaterThan(length - 16);
            ids[slot]!.length = left;
          }
          for (const [i, own] of ids.entries()) expect(cache.ids(i)).toEqual(own);
        }
      } finally {
        cache.dispose();
      }
    }),
    { numRuns: 15, seed: 8 },
  );
});

test("a page is released when its last reader drops it", () => {
  const pool = new PagePool(4, 2, 5);
  pool.extend(0, 9);
  expect([...pool.table(4)]).toEqual([0, 1, 2, -1, -1, -1, -1, -1]);
  expect(pool.share(0, 1, 6)).toEqual({ from: 1, to: 3 });
  expect([...pool.table(3)]).toEqual([0, 1, 2, 0, 3, -1]);
  expect(pool.available).toBe(1);
  expect([pool.cut(0, 3), pool.cut(0, 4), pool.cut(0, 6)]).toEqual([0, 4, 6]);
  pool.truncate(0, 0);
  expect(pool.available).toBe(3); // slot 1 still holds pages 0 and 3
  expect(pool.cut(1, 3)).toBe(3);
  pool.truncate(1, 0);
  expect(pool.available).toBe(5);
  pool.grow(7);
  expect([pool.count, pool.available, pool.missing(0, 28)]).toEqual([7, 7, 7]);
});

test("rejects a page size that no kernel supports", async () => {
  const { model } = models.llama;
  expect(await failureOf(() => new LanguageModel({ model, cachePageSize: 24 }))).toEqual({
    code: "INVALID_ARGUMENT",
    message: "cachePageSize: expected 16, 32, 64, 128, 256, got 24",
  });
});
