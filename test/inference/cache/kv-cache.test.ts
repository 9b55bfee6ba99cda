// KV caches of every type against the same model without a cache, after any sequence of appends, truncations and forks.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { compile, type Executable, gatherRows, input, logitsOf } from "../../../lib/graph/index.ts";
import { prefill } from "../../../lib/inference/async-prefill.ts";
import { KvCache } from "../../../lib/inference/cache/kv-cache.ts";
import { logitsProgram } from "../../../lib/inference/programs.ts";
import { type Completion, LanguageModel } from "../../../lib/language-model/index.ts";
import type { CacheDType } from "../../../lib/models/cache-shape.ts";
import { rowInputs, sequenceForward } from "../../../lib/models/forward.ts";
import type { Model } from "../../../lib/models/model.ts";
import { generator } from "../../ops/harness.ts";
import { failureOf, tinyModel } from "../helpers.ts";

const CONTEXT = 1024;
const VOCABULARY = 96;

/** Computes the logits of one position over a whole sequence, without a cache. Later positions do not affect it. */
class Uncached {
  private readonly program: Executable;
  readonly model: Model;
  constructor(model: Model) {
    this.model = model;
    this.program = compile(() => {
      const { hidden, head } = sequenceForward(model, rowInputs(CONTEXT), { sequenceLength: CONTEXT });
      return { logits: logitsOf(gatherRows(hidden, input("wanted", "i32", [1])), head) };
    }).bind(model.device, model.tensors);
  }
  async last(ids: readonly number[]): Promise<Float32Array> {
    const positions = Int32Array.from({ length: CONTEXT }, (_, i) => i);
    const padded = Int32Array.from({ length: CONTEXT }, (_, i) => ids[i] ?? 0);
    const { logits } = await this.program.run({ ids: padded, positions, wanted: Int32Array.of(ids.length - 1) });
    return logits as Float32Array;
  }
  dispose(): void {
    this.program.dispose();
  }
}

/** Appends ids to a slot and returns the logits of the last id. */
async function append(cache: KvCache, ids: readonly number[], slot = 0): Promise<Float32Array> {
  await cache.reserve(cache.ids(slot).length + ids.length);
  await prefill(cache, slot, ids.slice(0, -1));
  const shape = { rows: 256, logitRows: 1, top: 0 };
  const inputs = { logitRows: Int32Array.of(0) };
  return (await cache.run(logitsProgram, [{ slot, ids: ids.slice(-1) }], { shape, inputs })).logits as Float32Array;
}

const rms = (x: ArrayLike<number>) => Math.sqrt(Array.from(x).reduce((n, v) => n + v * v, 0) / x.length);
/** The RMS of the difference, relative to b. */
const error = (a: Float32Array, b: Float32Array) => rms(a.map((v, i) => v - b[i]!)) / rms(b);

const shape = { vocabSize: VOCABULARY, maxPositionEmbeddings: CONTEXT, initializerRange: 0.3 };
/** Positions that a ring with window 24 holds. Sequences of CONTEXT tokens wrap around it three times. */
const RING = 320;
const models = {
  llama: tinyModel({}, { ...shape }),
  "mistral, every layer slides": tinyModel({}, { ...shape, modelType: "mistral", slidingWindow: 24 }),
  "gemma2, alternate layers slide, soft caps": tinyModel(
    {},
    { ...shape, modelType: "gemma2", numHiddenLayers: 4, headDim: 16, slidingWindow: 24 },
  ),
  "gpt_oss, sinks": tinyModel(
    {},
    { ...shape, modelType: "gpt_oss", headDim: 8, slidingWindow: 100, numExperts: 2, numExpertsPerTok: 2 },
  ),
};
const names = Object.keys(models) as (keyof typeof models)[];
const references = new Map(names.map((name) => [name, new Uncached(models[name].model)]));
afterAll(async () => {
  for (const r of references.values()) r.dispose();
  for (const m of Object.values(models)) await m.dispose();
});

/** Bound of the error of an f32 cache, for any order of summation. */
const F32_ERROR = 1e-5;

/** Returns the largest error of a cache of this type over some positions of a sequence, from rounding keys and values. */
async function roundingErrorOf(model: Model, reference: Uncached, dtype: CacheDType): Promise<number> {
  const cache = new KvCache(model, { slots: 1, contextLength: CONTEXT, dtype });
  const ids = Array.from({ length: 800 }, (_, i) => (i * 37 + (i >> 3)) % VOCABULARY);
  let worst = 0;
  for (let at = 0; at < ids.length; at += 40) {
    const got = await append(cache, ids.slice(at, at + 40));
    worst = Math.max(worst, error(got, await reference.last(ids.slice(0, at + 40))));
  }
  cache.dispose();
  return worst;
}

type Step = { kind: "append"; count: number } | { kind: "truncate"; part: number } | { kind: "fork" };
const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("append" as const), count: fc.integer({ min: 1, max: 20 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("append" as const), count: fc.integer({ min: 1, max: 400 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("truncate" as const),
        // fc.double draws mostly tiny numbers, with which a cache would be truncated to length 0.
        part: fc.nat(100).map((percent) => percent / 100),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("fork" as const) }) },
  ),
  { minLength: 6, maxLength: 12 },
) as fc.Arbitrary<Step[]>;

describe.each(names)("%s", (name) => {
  const { model } = models[name];
  const reference = references.get(name)!;
  const slides = model.config.layerTypes.includes("sliding_attention");

  test.each(["f32", "bf16", "f16", "q8"] as const)(
    "%s: appends, truncations and forks in any order match the uncached model (f32) or a fresh cache (other types)",
    async (dtype) => {
      // A low-precision cache may round an element differently after another history. The error stays within that of rounding.
      const bound = dtype === "f32" ? F32_ERROR : await roundingErrorOf(model, reference, dtype);
      await fc.assert(
        fc.asyncProperty(steps, fc.nat(), async (actions, seed) => {
          const random = generator(seed);
          const caches = [new KvCache(model, { slots: 1, contextLength: CONTEXT, dtype })];
          let cache = caches[0]!;
          let ids: number[] = [];
          let longest = 0;
          try {
            for (const action of actions) {
              if (action.kind === "fork") {
                cache = await cache.fork();
                caches.push(cache);
                expect(cache.ids(0)).toEqual(ids);
              } else if (action.kind === "truncate") {
                const length = Math.floor(action.part * ids.length);
                cache.truncate(0, length);
                // A sliding layer has lost the overwritten positions and all before them. Nothing else may be lost.
                expect(slides && longest > RING ? [0, length] : [length]).toContain(cache.ids(0).length);
                ids = ids.slice(0, cache.ids(0).length);
              } else {
                const count = Math.min(action.count, CONTEXT - ids.length);
                if (count === 0) continue;
                const more = Array.from({ length: count }, () => Math.floor(random() * VOCABULARY));
                ids = [...ids, ...more];
                longest = Math.max(longest, ids.length);
                const got = await append(cache, more);
                const fresh = new KvCache(model, { slots: 1, contextLength: CONTEXT, dtype });
                caches.push(fresh);
                const want = dtype === "f32" ? await reference.last(ids) : await append(fresh, ids);
                expect(error(got, want), `after ${ids.length} tokens`).toBeLessThan(bound);
              }
            }
          } finally {
            for (const c of caches) c.dispose();
          }
        }),
        { numRuns: 12, seed: 5 },
      );
    },
  );

  test("a q8 cache has a larger error than a bf16 cache, but less than eight times as large", async () => {
    const [bf16, q8] = [await roundingErrorOf(model, reference, "bf16"), await roundingErrorOf(model, reference, "q8")];
    expect(bf16).toBeGreaterThan(F32_ERROR);
    expect(q8).toBeGreaterThan(bf16);
    expect(q8).toBeLessThan(8 * bf16);
  });
});

describe("memory", () => {
  test("a sliding-window layer stores its window and the rows of one run, whatever the context length", async () => {
    const { model } = models["mistral, every layer slides"];
    const cache = new KvCache(model, { slots: 1, contextLength: CONTEXT });
    await cache.reserve(CONTEXT);
    const perToken = 2 * 2 * 2 * 8 * 4; // layers · (k, v) · heads · width · bytes
    expect(cache.bytes).toBe(RING * perToken);
    cache.dispose();
    const mixed = models["gemma2, alternate layers slide, soft caps"].model;
    const both = new KvCache(mixed, { slots: 1, contextLength: CONTEXT });
    await both.reserve(CONTEXT);
    expect(both.bytes).toBe((2 * RING + 2 * CONTEXT) * 2 * 2 * 16 * 4);
    both.dispose();
  });

  test("q8 takes one byte per element, and four more per head and row", async () => {
    const { model } = models.llama;
    const bytes = (dtype: CacheDType) => {
      const cache = new KvCache(model, { slots: 3, contextLength: CONTEXT, dtype, capacity: CONTEXT });
      cache.dispose();
      return cache.bytes;
    };
    const rows = 3 * 2 * 2 * 2 * CONTEXT;
    expect([bytes("f32"), bytes("bf16"), bytes("q8")]).toEqual([rows * 8 * 4, rows * 8 * 2, rows * (8 + 4)]);
  });
});

describe("a ring cache", () => {
  const { model } = models["mistral, every layer slides"];
  const ids = Array.from({ length: 900 }, (_, i) => (i * 31 + (i >> 4)) % VOCABULARY);

  test("can be truncated to a position whose window it still holds, and is emptied by truncation to an earlier one", async () => {
    const cache = new KvCache(model, { slots: 1, contextLength: CONTEXT });
    await append(cache, ids);
    cache.truncate(0, 700);
    expect(cache.ids(0)).toHaveLength(700);
    cache.truncate(0, 300);
    expect(cache.ids(0)).toHaveLength(0);
    expect(
      error(
        await append(cache, ids.slice(0, 300)),
        await references.get("mistral, every layer slides")!.last(ids.slice(0, 300)),
      ),
    ).toBeLessThan(F32_ERROR);
    cache.dispose();
  });

  test("does not change the answer of a session that returns to an earlier prompt", async () => {
    const language = models["mistral, every layer slides"];
    await using session = language.session();
    const options = { maxTokens: 5, temperature: 0, ignoreEos: true, deterministic: true };
    await session.complete(ids, options);
    for (const length of [880, 500, 20]) {
      const prompt = [...ids.slice(0, length), 7];
      const again = await session.complete(prompt, options);
      expect(again.usage.cachedTokens).toBe(length === 880 ? 880 : 0);
      const fresh = await language.complete(prompt, options);
      expect(again.tokens).toEqual(fresh.tokens);
    }
  });

  test("keeps its positions if a run fails", async () => {
    const cache = new KvCache(model, { slots: 1, contextLength: CONTEXT });
    await append(cache, ids.slice(0, 640));
    const shape = { rows: 256, logitRows: 1, top: 0 };
    const failure = await failureOf(() =>
      cache.run(logitsProgram, [{ slot: 0, ids: ids.slice(640, 896) }], {
        shape,
        inputs: { logitRows: Int32Array.of(256) }, // fails after the caches were written
      }),
    );
    expect(failure.code).toBe("INVALID_ARGUMENT");
    expect(cache.ids(0)).toHaveLength(640);
    const want = await references.get("mistral, every layer slides")!.last(ids.slice(0, 641));
    expect(error(await append(cache, ids.slice(640, 641)), want)).toBeLessThan(F32_ERROR);
    cache.dispose();
  });
});

describe.each(["bf16", "q8"] as const)("%s caches give the same bits", (cacheDtype) => {
  const random = generator(11);
  const draw = (length: number) => Array.from({ length }, () => Math.floor(random() * VOCABULARY));
  const phrase = draw(30);
  const prompts = [[...phrase, ...phrase, ...phrase.slice(0, 4)], draw(1), draw(70), draw(400), draw(17)];
  const bits = ({ tokens, logprobs }: Completion) => ({ tokens, logprobs });

  test.each(names)("%s: in any batch, and with speculative decoding", async (name) => {
    const { model } = models[name];
    const language = new LanguageModel({ model, cacheDtype });
    using session = language.session();
    expect(session.cacheDtype).toBe(cacheDtype);
    const options = { maxTokens: 40, temperature: 0, ignoreEos: true, deterministic: true };
    const together = await language.completeAll(prompts, options);
    const drafted = await language.completeAll(prompts, { ...options, promptLookupNumTokens: 6 });
    expect(drafted.map(bits)).toEqual(together.map(bits));
    expect(drafted.reduce((n, c) => n + (c.usage.acceptedTokens ?? 0), 0)).toBeGreaterThan(0);
    for (const [i, prompt] of prompts.entries())
      expect(bits(await language.complete(prompt, options)), `prompt ${i}`).toEqual(bits(together[i]!));
  });
});
