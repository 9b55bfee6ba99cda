// What answers are drawn from while the policy is trained in bf16: the matrices that the training step computes with.
import { expect, test } from "vitest";
import { createModel } from "../../lib/generate/create.ts";
import { AnswerScorer } from "../../lib/train/preference/scorer.ts";
import { RolloutModel } from "../../lib/train/rollout/model.ts";

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

test("in f32 the policy itself is the sampler", async () => {
  await using policy = await policyOf();
  const sampler = new RolloutModel(policy, "f32");
  expect(await sampler.refreshed()).toBe(policy);
  sampler.dispose();
  expect(await policy.logits(prompt, { last: true })).toHaveLength(1);
});

test("in bf16 it is a twin with rounded matrices, which follows the weights and leaves the policy as it is", async () => {
  await using policy = await policyOf();
  const before = await policy.logits(prompt);
  const sampler = new RolloutModel(policy, "bf16");
  const twin = await sampler.refreshed();
  expect(twin).not.toBe(policy);
  for (const name of policy.model.languageWeightNames) {
    const { dtype, shape } = twin.model.weight(name);
    expect([name, dtype]).toEqual([name, shape.length >= 2 ? "bf16" : "f32"]);
  }
  // Log-probabilities of the twin are nearer to those that the bf16 training step computes than the masters' are.
  const answer = { ids: Int32Array.from(prompt), promptLength: 1 };
  const scorer = new AnswerScorer(policy.model, { sequences: 1, sequenceLength: 8, dtype: "bf16" });
  const trained = (await scorer.tokens([answer]))[0]!;
  scorer.dispose();
  const distance = async (model: typeof policy) => {
    const scores = (await model.score(prompt)).slice(1);
    return Math.hypot(...Array.from(trained, (v, i) => v - scores[i]!));
  };
  expect(trained).toHaveLength(prompt.length - 1);
  expect(await distance(twin)).toBeLessThan(await distance(policy));

  const name = "model.layers.0.mlp.down_proj.weight";
  const weight = policy.model.weight(name);
  await weight.write(new Float32Array(weight.elements).fill(1 + 2 ** -8)); // halfway between two bf16 numbers: to even
  expect(await sampler.refreshed()).toBe(twin);
  expect(new Set(await twin.model.weight(name).read())).toEqual(new Set([0x3f80]));
  sampler.dispose();
  expect((await policy.logits(prompt))[0]).not.toEqual(before[0]);
});

test("with an adapter at work it is the policy itself", async () => {
  await using policy = await policyOf();
  await policy.model.addAdapter("a", { r: 2, targetModules: "all-linear" });
  const sampler = new RolloutModel(policy, "bf16");
  expect(await sampler.refreshed()).toBe(policy);
  sampler.dispose();
});
