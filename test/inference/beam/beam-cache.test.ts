// Memory of beam search: shared and released pages, and caches, contexts and weights of every kind.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { runBeams } from "../../../lib/inference/beam/beam-engine.ts";
import { KvCache } from "../../../lib/inference/cache/kv-cache.ts";
import { resolveOptions } from "../../../lib/inference/generation-options.ts";
import { newProgress } from "../../../lib/inference/progress.ts";
import { Sequence } from "../../../lib/inference/sequence.ts";
import {
  type Completion,
  convertModel,
  type GenerateOptions,
  LanguageModel,
  type Prompt,
} from "../../../lib/language-model/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { defaultCacheDtype } from "../../../lib/models/cache-shape.ts";
import { uniform, generator as uniformGenerator } from "../../../lib/models/random.ts";
import { generator } from "../../ops/harness.ts";
import { failureOf } from "../helpers.ts";
import { anew, expectSame, own, reference } from "./beam-reference.ts";

const VOCABULARY = 24;

describe("beam search", () => {
  const shape = { vocabSize: VOCABULARY, maxPositionEmbeddings: 512 };
  const random = generator(5);
  const prompt = Array.from({ length: 200 }, () => Math.floor(random() * VOCABULARY));
  const options = { numBeams: 5, n: 5, maxTokens: 30 };
  const plain = ({ tokens, score }: Completion) => ({ tokens, score });

  test("works with bf16 and q8 caches, sliding layers and paged caches", async () => {
    for (const config of [
      {},
      { modelType: "mistral", slidingWindow: 24 },
      { modelType: "gemma2", slidingWindow: 16 },
    ]) {
      const { model } = own({}, { ...shape, headDim: 8, ...config });
      const want = (await new LanguageModel({ model }).completeAll([prompt], options)).map(plain);
      for (const cachePageSize of [32, 128])
        expect((await new LanguageModel({ model, cachePageSize }).completeAll([prompt], options)).map(plain)).toEqual(
          want,
        );
      for (const cacheDtype of ["bf16", "q8"] as const) {
        const coarse = new LanguageModel({ model, cacheDtype });
        const [best] = await coarse.completeAll([prompt], options);
        // Rounding may change which text wins if scores are close, so check the score of the text that won.
        const scored = await coarse.score([...prompt, ...best!.tokens], { from: prompt.length });
        const mean = scored.slice(prompt.length).reduce((a, b) => a + b, 0) / best!.tokens.length;
        expect(Math.abs(best!.score! - mean)).toBeLessThan(0.05);
      }
    }
  });

  test("works with quantized weights and with adapters that the call names", async () => {
    const folder = await mkdtemp(join(tmpdir(), "heddle-beam-"));
    const base = own({}, { ...shape, hiddenSize: 64 });
    const found = { numBeams: 4, maxTokens: 8 };
    const file = join(folder, "model.gguf");
    try {
      await base.save(join(folder, "model"));
      await convertModel(join(folder, "model"), file, { dtype: "q8_0" });
      await using quantized = await LanguageModel.load(file);
      const [best] = await quantized.completeAll([prompt], found);
      const scored = await quantized.score([...prompt, ...best!.tokens], { from: prompt.length });
      const mean = scored.slice(prompt.length).reduce((a, b) => a + b, 0) / best!.tokens.length;
      expect(Math.abs(best!.score! - mean)).toBeLessThan(0.05);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    await base.model.addAdapter("mine", { r: 4, alpha: 32 });
    for (const [i, name] of adapterTensors(base.model.adapters.get("mine")!).entries())
      await base.model.weight(name).write(uniform(base.model.weight(name).elements, 0.5, uniformGenerator(i)));
    const texts = [];
    for (const adapters of [[], ["mine"]]) {
      const through = { logits: (ids: Prompt) => base.logits(ids, { last: true, adapters }) };
      const want = await reference(through, prompt.slice(0, 20), { ...found, ends: [] });
      const [got] = await base.completeAll([prompt.slice(0, 20)], { ...found, adapters });
      expectSame([got!], want.slice(0, 1));
      texts.push(got!.tokens);
    }
    expect(texts[0]).not.toEqual(texts[1]);
  });

  const cacheOf = (model: LanguageModel, slots: number) =>
    new KvCache(model.model, {
      ...{ slots, contextLength: model.contextLength, pageSize: 16, dtype: defaultCacheDtype(model.model) },
    });
  const sequencesOf = (model: LanguageModel, prompts: number[][], given: GenerateOptions) => {
    const resolved = resolveOptions(given, model.optionContext);
    const { contextLength } = model;
    return prompts.flatMap((ids, p) =>
      Array.from({ length: resolved.n }, (_, sample) => {
        const of = { index: p * resolved.n + sample, sample: 0, contextLength, tokenizer: undefined };
        return new Sequence(ids, resolved, of);
      }),
    );
  };

  test("beams share the prompt's pages and release all of them", async () => {
    const model = own({}, shape);
    const cache = cacheOf(model, 8);
    const used: number[] = [];
    const run = cache.run.bind(cache);
    vi.spyOn(cache, "run").mockImplementation(async (...args) => {
      const results = await run(...args);
      used.push(cache.pagesInUse);
      return results;
    });
    const sequences = sequencesOf(model, [prompt], { numBeams: 8, maxTokens: 30 });
    for await (const _ of runBeams(cache, sequences, newProgress()));
    // 200 ids need 13 pages, and 8 beams at most 3 pages each for 30 more. Without sharing they would need 8 · 15.
    expect(Math.max(...used)).toBeLessThanOrEqual(13 + 8 * 3);
    expect(used.at(-1)).toBeGreaterThanOrEqual(13);
    expect(cache.pagesInUse).toBe(0);
    cache.dispose();
  });

  test("an abort, or leaving the loop early, releases the pages too", async () => {
    const model = own({}, shape);
    const cache = cacheOf(model, 8);
    const controller = new AbortController();
    const { signal } = controller;
    const many = { numBeams: 4, n: 2, maxTokens: 200, signal };
    const run = cache.run.bind(cache);
    let runs = 0;
    const spy = vi.spyOn(cache, "run").mockImplementation(async (...args) => {
      if (++runs === 20) setImmediate(() => controller.abort());
      return run(...args);
    });
    const error = await failureOf(() => runBeams(cache, sequencesOf(model, [prompt, [1]], many), newProgress()));
    expect(error.code).toBe("ABORTED");
    expect(cache.pagesInUse).toBe(0);
    spy.mockRestore();
    const two = sequencesOf(model, [[1], [2], [3]], { numBeams: 4, n: 2, maxTokens: 5 });
    for await (const pieces of runBeams(cache, two, newProgress())) {
      expect(pieces).toHaveLength(10);
      break;
    }
    expect(cache.pagesInUse).toBe(0);
    cache.dispose();
  });

  test("deterministic results have the same bits, whichever prompts share the call", async () => {
    const model = own({}, shape);
    const prompts = [prompt, prompt.slice(0, 150), [1, 2], [...prompt.slice(0, 90), 3, 4], [9], [1, 2, 3]];
    const given = { ...options, n: 2, deterministic: true };
    const together = await model.completeAll(prompts, given);
    for (const [p, ids] of prompts.entries()) {
      const alone = await model.completeAll([ids], given);
      const bits = ({ tokens, logprobs, score }: Completion) => ({ tokens, logprobs, score });
      expect(together.slice(2 * p, 2 * p + 2).map(bits)).toEqual(alone.map(bits));
    }
    // Common prefixes are computed once, both within the first runs and for later prompts.
    const shared = await model.completeAll(prompts, { ...options, n: 1 });
    expect(shared.map(({ usage }) => usage.cachedTokens)).toEqual([0, 149, 0, 90, 0, 0]);
    expect(shared.map(({ tokens }) => tokens)).toEqual(
      together.filter((_, i) => i % 2 === 0).map(({ tokens }) => tokens),
    );
  });

  test("at the end of the context beam search rejects, stops, or drops the oldest ids", async () => {
    const model = own({}, { ...shape, maxPositionEmbeddings: 16 });
    const ten = prompt.slice(0, 10);
    const error = await failureOf(() => model.complete(ten, { numBeams: 3, maxTokens: 20 }));
    expect(error.code).toBe("CONTEXT_OVERFLOW");
    const stopped = await model.complete(ten, { numBeams: 3, maxTokens: 20, contextOverflow: "stop" });
    expect([stopped.tokens.length, stopped.finishReason]).toEqual([7, "length"]);
    expect(stopped.tokens).toEqual((await model.complete(ten, { numBeams: 3, maxTokens: 7 })).tokens);
    const dropped = await model.complete(ten, { numBeams: 3, maxTokens: 30, contextOverflow: "truncateLeft" });
    expect(dropped.tokens).toHaveLength(30);
    // Each log-probability is the model's for the context of that step.
    let context = [...ten];
    for (const [i, token] of dropped.tokens.entries()) {
      if (context.length > 16) context = [context[0]!, ...context.slice(-8)];
      const scored = await model.score([...context, token].slice(0, 17).slice(-16), { from: 1 });
      if (context.length < 16) expect(scored.at(-1)).toBeCloseTo(dropped.logprobs[i]!, 3);
      context.push(token);
    }
  });

  test("supports RoPE angles that depend on the sequence length (longrope)", async () => {
    const half = [1, 2];
    const model = own(
      {},
      {
        ...{ modelType: "phi3", vocabSize: VOCABULARY, hiddenSize: 16, maxPositionEmbeddings: 64 },
        ropeScaling: { ropeType: "longrope", shortFactor: half, longFactor: [4, 9], originalMaxPositionEmbeddings: 12 },
      },
    );
    const found = { numBeams: 3, maxTokens: 12 };
    const got = await model.completeAll([prompt.slice(0, 5), prompt.slice(0, 9)], found);
    for (const [i, length] of [5, 9].entries())
      expectSame(
        [got[i]!],
        (await reference(anew(model), prompt.slice(0, length), { ...found, ends: [] })).slice(0, 1),
      );
  });
});
