import { describe, expect, test } from "vitest";
import type { Completion } from "../../lib/language-model/index.ts";
import { generator } from "../ops/harness.ts";
import { tinyModel } from "./helpers.ts";
import { store, storedModels } from "./stored-models.ts";

/** Prompt lengths that take different code paths: single rows, a few rows, whole chunks and several chunks. */
const lengths = [1, 2, 4, 5, 31, 33, 63, 64, 65, 130, 257, 700];
const random = generator(5);
const prompts = lengths.map((n) => Array.from({ length: n }, () => Math.floor(random() * 320)));
// Shares 200 tokens with another prompt. Reuse of cached rows must not change a bit.
prompts.push([...prompts[10]!.slice(0, 200), 7]);

const options = { maxTokens: 6, temperature: 0.8, seed: 11, topLogprobs: 3, ignoreEos: true } as const;
const bits = (c: Completion) => [c.tokens, c.logprobs, c.top];

describe.each([
  ["llama", {}],
  ["mistral, with a window", { modelType: "mistral", slidingWindow: 40 }],
  ["gpt2", { modelType: "gpt2", numKeyValueHeads: 4 }],
])("%s: deterministic", (_name, config) => {
  const make = (threads: number) => tinyModel({ threads }, { ...config, maxPositionEmbeddings: 1024 });

  test("a sequence has the same bits alone, in any batch, and on one thread", async () => {
    await using model = make(2);
    const together = await model.completeAll(prompts, { ...options, deterministic: true });
    await using single = make(1);
    for (const [i, prompt] of prompts.entries()) {
      const alone = await single.complete(prompt, { ...options, deterministic: true });
      expect(bits(together[i]!), `prompt of ${prompt.length}`).toEqual(bits(alone));
    }
    const fewer = await model.completeAll(prompts.slice(8), { ...options, deterministic: true });
    expect(fewer.map(bits)).toEqual(together.slice(8).map(bits));
  });

  test("common prefixes are computed once and change no bit", async () => {
    await using model = make(2);
    const system = prompts[11]!.slice(0, 500);
    const asked = [0, 1, 2, 3, 1, 40].map((n) => [...system, ...prompts[8]!.slice(0, n)]);
    asked.push(prompts[3]!, system.slice(0, 300), [...system.slice(0, 130), 5, 6]);
    for (const deterministic of [true, false]) {
      const together = await model.completeAll(asked, { ...options, n: 2, deterministic });
      const cached = together.map((c) => c.usage.cachedTokens);
      if (deterministic) {
        // Whole chunks of 64: 448 of up to 503 tokens in common, 512 of 540, 256 of 300, and 128 of 130.
        expect(cached).toEqual([0, 448, 448, 448, 448, 448, 448, 448, 448, 448, 448, 512, 0, 0, 256, 256, 128, 128]);
      } else {
        expect(cached[0]).toBe(0);
        expect(cached.slice(1, 12)).toEqual([499, 500, 500, 501, 501, 502, 502, 500, 500, 503, 539]);
        expect(cached.slice(12)).toEqual([0, 0, 299, 299, 130, 131]);
      }
      for (const [i, completion] of together.entries()) {
        const alone = await model.completeAll([asked[i >> 1]!], {
          ...options,
          seed: options.seed + (i % 2),
          deterministic,
        });
        if (deterministic) expect(bits(completion), `prompt ${i >> 1}`).toEqual(bits(alone[0]!));
        else
          for (const [j, logprob] of alone[0]!.logprobs.entries())
            expect(Math.abs(completion.logprobs[j]! - logprob)).toBeLessThan(1e-4);
      }
    }
  });

  test("without the option, tokens agree and log-probabilities agree within rounding", async () => {
    await using model = make(2);
    const together = await model.completeAll(prompts, options);
    for (const [i, prompt] of prompts.entries()) {
      const alone = await model.complete(prompt, options);
      expect(together[i]!.tokens).toEqual(alone.tokens);
      for (const [j, logprob] of alone.logprobs.entries())
        expect(Math.abs(together[i]!.logprobs[j]! - logprob)).toBeLessThan(1e-4);
    }
  });
});

test.each(storedModels)("%s: a sequence has the same bits alone, in a batch, and on one thread", async (_, stored) => {
  const load = await store(stored);
  await using model = await load({ threads: 2 });
  await using single = await load({ threads: 1 });
  const some = [0, 3, 5, 8, 9, 10, 12].map((i) => prompts[i]!);
  const together = await model.completeAll(some, { ...options, deterministic: true });
  for (const [i, prompt] of some.entries()) {
    const alone = await (i % 2 ? model : single).complete(prompt, { ...options, deterministic: true });
    expect(bits(alone), `prompt of ${prompt.length}`).toEqual(bits(together[i]!));
  }
});
