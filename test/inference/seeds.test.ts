// A seed is a whole number from 0 to 2⁵³ − 1 everywhere. Negative seeds of server requests are mapped into that range.
import { expect, test } from "vitest";
import { openCorpus } from "../../lib/data/corpus.ts";
import { createModel, createModelAsync } from "../../lib/index.ts";
import { generateOptions } from "../../lib/serve/openai/sampling.ts";
import { tinyModel, tinyTokenizer } from "./helpers.ts";

const WRONG = [-1, 0.5, 2 ** 53, Number.NaN, "1", null];
const refusal = (name: string) => new RegExp(`^${name}: expected a whole number from 0 to 2\\^53 - 1, got `);
const sizes = { modelType: "llama", hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize: 300 } as const;

test.each(WRONG)("rejects the seed %s", async (given) => {
  const seed = given as number;
  const tokenizer = await tinyTokenizer();
  await using model = tinyModel({ tokenizer });
  expect(() => createModel(sizes, { seed })).toThrow(refusal("seed"));
  await expect(createModelAsync(sizes, { seed })).rejects.toThrow(refusal("seed"));
  await expect(model.complete("a", { seed, maxTokens: 1 })).rejects.toThrow(refusal("seed"));
  await expect(model.session().complete("a", { seed, maxTokens: 1 })).rejects.toThrow(refusal("seed"));
  await expect(model.model.addValueHead({ seed })).rejects.toThrow(refusal("seed"));
  await expect(model.model.addClassifier({ task: "sequence", labels: ["a", "b"] }, { seed })).rejects.toThrow(
    refusal("seed"),
  );
  await expect(model.model.addAdapter("a", {}, seed)).rejects.toThrow(refusal("seed"));
  expect(() => tokenizer.encode("a", { dropout: 0.1, seed })).toThrow(refusal("seed"));
  const data = { files: ["none.txt"], tokenizer, maxSeqLength: 8, batchSize: 1 };
  await expect(openCorpus({ ...data, seed })).rejects.toThrow(refusal("seed"));
  await expect(openCorpus({ ...data, splitSeed: seed })).rejects.toThrow(refusal("splitSeed"));
});

test.each([0, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])("accepts the seed %d", async (seed) => {
  await using model = createModel(sizes, { seed });
  const answer = () => model.complete([1, 2], { seed, temperature: 1, maxTokens: 8 });
  expect((await answer()).tokens).toEqual((await answer()).tokens);
  await model.completeAll([[1]], { seed, n: 3, maxTokens: 1 });
});

test("negative seeds of requests are mapped into the range, and common seeds stay distinct", () => {
  const seedOf = (seed: number) => generateOptions({ seed }, { maxTokens: 1, limit: 1, topLogprobs: 0 }).seed!;
  const given = [0, 1, -1, 2, -2, 42, -42, 2 ** 31 - 1, -(2 ** 31), 2 ** 32, Number.MIN_SAFE_INTEGER + 2 ** 33];
  const seeds = given.map(seedOf);
  for (const seed of seeds) expect(Number.isSafeInteger(seed) && seed >= 0).toBe(true);
  expect(new Set(seeds).size).toBe(given.length);
  expect(seedOf(7)).toBe(7);
  expect(seedOf(-1)).toBe(Number.MAX_SAFE_INTEGER);
  expect(seedOf(Number.MIN_SAFE_INTEGER)).toBe(1);
});
