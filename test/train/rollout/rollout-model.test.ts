// The model that draws answers while the policy is trained: the policy, or a copy with matrices rounded to bf16.
import { expect, test } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import { completeSeeded } from "../../../lib/language-model/rollout-generate.ts";
import { AnswerScorer } from "../../../lib/train/preference/scorer.ts";
import { RolloutModel } from "../../../lib/train/rollout/model.ts";

const config = {
  modelType: "llama" as const,
  vocabSize: 96,
  hiddenSize: 48,
  intermediateSize: 96,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  maxPositionEmbeddings: 64,
};
const prompt = [5, 9, 2, 77, 31, 8];

async function policyOf() {
  const policy = createModel(config, { seed: 3 });
  await policy.model.prepareForTraining(policy.model.languageWeightNames);
  return policy;
}

test("the rollout model of an f32 policy is the policy itself", async () => {
  await using policy = await policyOf();
  const sampler = new RolloutModel(policy, { dtype: "f32" });
  expect(sampler.isCopy).toBe(false);
  expect(await sampler.refreshed()).toBe(policy);
  sampler.dispose();
  expect(await policy.logits(prompt, { last: true })).toHaveLength(1);
});

test("the rollout model in bf16 is a copy with rounded matrices, which follows the policy and leaves it unchanged", async () => {
  await using policy = await policyOf();
  const before = await policy.logits(prompt);
  const sampler = new RolloutModel(policy, { dtype: "bf16" });
  expect(sampler.isCopy).toBe(true);
  const copy = await sampler.refreshed();
  expect(copy).not.toBe(policy);
  for (const name of policy.model.languageWeightNames) {
    const { dtype, shape } = copy.model.weight(name);
    expect([name, dtype]).toEqual([name, shape.length >= 2 ? "bf16" : "f32"]);
  }
  // The log-probabilities of the copy are closer to those of the bf16 training step than the log-probabilities of the f32 policy.
  const answer = { ids: Int32Array.from(prompt), promptLength: 1 };
  const scorer = new AnswerScorer(policy.model, { sequences: 1, sequenceLength: 8, dtype: "bf16" });
  const trained = (await scorer.tokens([answer]))[0]!;
  scorer.dispose();
  const distance = async (model: typeof policy) => {
    const scores = (await model.score(prompt)).slice(1);
    return Math.hypot(...Array.from(trained, (v, i) => v - scores[i]!));
  };
  expect(trained).toHaveLength(prompt.length - 1);
  expect(await distance(copy)).toBeLessThan(await distance(policy));

  const name = "model.layers.0.mlp.down_proj.weight";
  const weight = policy.model.weight(name);
  await weight.write(new Float32Array(weight.elements).fill(1 + 2 ** -8)); // halfway between two bf16 numbers: rounds to even
  expect(await sampler.refreshed()).toBe(copy);
  expect(new Set(await copy.model.weight(name).read())).toEqual(new Set([0x3f80]));
  sampler.dispose();
  expect((await policy.logits(prompt))[0]).not.toEqual(before[0]);
});

test("the samples of a copy and their log-probabilities have the sampler's temperature", async () => {
  await using policy = await policyOf();
  const temperature = 0.6;
  const sampler = new RolloutModel(policy, { dtype: "bf16", temperature });
  const plain = new RolloutModel(policy, { dtype: "bf16" });
  // Prompt and answer have sixteen tokens in all. With more, the pass that computes logits below would round products to bf16, unlike
  // sampling.
  const options = { maxTokens: 16 - prompt.length, ignoreEos: true, topP: 0.9, repetitionPenalty: 1.3 };
  const seeded = [1, 2, 3].map((seed) => ({ ids: prompt, seed }));
  const drawn = await completeSeeded(await sampler.refreshed(), seeded, { ...options, temperature: 1 });
  const expected = await completeSeeded(await plain.refreshed(), seeded, { ...options, temperature });
  expect(drawn.map((d) => d.tokens)).toEqual(expected.map((d) => d.tokens));
  // Compare with an independent softmax over the plain copy's logits.
  const copy = await plain.refreshed();
  for (const { tokens, logprobs } of drawn) {
    const logits = await copy.logits([...prompt, ...tokens]);
    for (const [i, token] of tokens.entries()) {
      const row = Array.from(logits[prompt.length - 1 + i]!, (v) => v / temperature);
      const lse = Math.log(row.reduce((s, v) => s + Math.exp(v), 0));
      expect(logprobs[i]!).toBeCloseTo(row[token]! - lse, 4);
    }
  }
  sampler.dispose();
  plain.dispose();
});
