// Trains a model with every stage on the ranks of a launcher, and prints what rank 0 has seen: losses, norms, evaluations, a digest of the
// finished weights, and a text that the model then generates. The model's matrices are so large that the ranks divide them.
// Usage: sharded-stages.mjs ENTRY ACCUMULATE SHARDING STEPS [STAGE…]
import { createHash } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [entry, accumulate, sharding, steps, ...wanted] = process.argv.slice(2);
const heddle = await import(entry);
const { createModel, openWorld, pretrain, sft, Tokenizer } = heddle;

const world = await openWorld({ threads: 1 });
const sentences = Array.from(
  { length: 40 },
  (_, i) => `The ${["cat", "dog", "bird"][i % 3]} saw ${["a house", "the sea", "a hill"][(i % 7) % 3]}. ${i}`,
);
const tokenizer = await Tokenizer.train(sentences, { vocabSize: 320 });
const words = sentences.slice(0, 20).map((text) => text.split(" "));
const pairs = words.map((w, i) => ({
  prompt: w.slice(0, 3).join(" "),
  chosen: ` ${w[i % 5]} ${i}`,
  rejected: ` ${w.slice(2, 5 + (i % 3)).join(" ")}`,
}));
const rated = pairs.map(({ prompt, chosen, rejected }, i) => {
  return { prompt, completion: i % 2 ? chosen : rejected, label: i % 2 === 1 };
});
const texts = sentences.map((text) => ({ text }));
const labeled = sentences.map((text, i) => ({ text, label: ["cat", "dog", "bird"][i % 3] }));
const anchors = pairs.map(({ prompt, chosen }) => ({ anchor: prompt, positive: chosen }));
const prompts = pairs.map(({ prompt }, i) => ({ prompt, wanted: i % 2 ? "a" : "o" }));
const letters = ({ completions, wanted }) =>
  completions.map((text, i) => text.split(wanted[i]).length - 1 + text.length / 100);

const refuse = async () => {
  throw new Error("expected gradients that programs sum, got a call of the world");
};
const shared = {
  maxSteps: Number(steps),
  perDeviceTrainBatchSize: 4,
  gradientAccumulationSteps: Number(accumulate),
  learningRate: 1e-3,
  seed: 5,
  dtype: "f32",
  world: world.overlap ? { ...world, allReduce: refuse, reduceScatter: refuse } : world,
  sharding,
};
const corpus = { data: [{ text: sentences.join("\n") }], maxSeqLength: 16, perDeviceTrainBatchSize: 2 };
const file = join(tmpdir(), `heddle-sharded-stages-${process.pid}.txt`);
await writeFile(file, sentences.join("\n"));
const heldOut = { evalData: [{ text: sentences.slice(0, 5).join(" ") }] };
const policy = { data: prompts, rewards: [letters], maxCompletionLength: 4 };
const stages = {
  pretrain: (base) => pretrain(base, { ...shared, ...corpus, ...heldOut, evalSteps: 2 }),
  "pretrain in bf16": (base) => pretrain(base, { ...shared, ...corpus, dtype: "bf16" }),
  "pretrain with Muon": (base) => pretrain(base, { ...shared, ...corpus, optim: "muon" }),
  "pretrain with gradientCheckpointing": (base) =>
    pretrain(base, { ...shared, ...corpus, gradientCheckpointing: true }),
  "pretrain some weights": (base) =>
    pretrain(base, { ...shared, ...corpus, parameterGroups: [{ match: "layers.0", freeze: true }] }),
  "pretrain, ends with the best weights": (base) =>
    pretrain(base, {
      ...shared,
      ...corpus,
      ...heldOut,
      evalSteps: 1,
      loadBestModelAtEnd: true,
      metricForBestModel: "step",
      greaterIsBetter: false,
      // Only rank 0 calls it, with a model that can be used.
      evaluate: async ({ step, model }) => ({
        step,
        length: (await model.generate("The", { maxTokens: 3, temperature: 0 })).text.length,
      }),
    }),
  sft: (base) => sft(base, { ...shared, data: texts, replay: { data: file, weight: 0.5, maxSeqLength: 16 } }),
  "sft with LoRA": (base) => sft(base, { ...shared, data: texts, lora: { r: 128 } }),
  dpo: (base) => heddle.dpo(base, { ...shared, data: pairs, evalFraction: 0.2 }),
  kto: (base) => heddle.kto(base, { ...shared, data: rated }),
  orpo: (base) => heddle.orpo(base, { ...shared, data: pairs }),
  simpo: (base) => heddle.simpo(base, { ...shared, data: pairs }),
  reward: (base) => heddle.trainReward(base, { ...shared, data: pairs }),
  classify: (base) => heddle.trainClassifier(base, { ...shared, data: labeled, evalFraction: 0.2 }),
  // The replayed text does not use the classifier's head.
  "classify with replay": (base) =>
    heddle.trainClassifier(base, { ...shared, data: labeled, replay: { data: file, weight: 0.5, maxSeqLength: 16 } }),
  embed: (base) => heddle.trainEmbedding(base, { ...shared, data: anchors, evalFraction: 0.2 }),
  grpo: (base) =>
    heddle.grpo(base, { ...shared, ...policy, numGenerations: 2, beta: 0.05, evalPrompts: prompts.slice(0, 3) }),
  "grpo, a rollout for several steps": (base) =>
    heddle.grpo(base, {
      ...shared,
      ...policy,
      numGenerations: 2,
      stepsPerGeneration: 2 * shared.gradientAccumulationSteps,
    }),
  ppo: (base) => heddle.ppo(base, { ...shared, ...policy, numPpoEpochs: 2, numMiniBatches: 2 }),
};

const found = {};
for (const [name, start] of Object.entries(stages)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const base = createModel(
    {
      modelType: "llama",
      hiddenSize: 128,
      intermediateSize: 256,
      vocabSize: 512,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 64,
      initializerRange: 0.1,
      tieWordEmbeddings: name === "sft",
    },
    { seed: 7, tokenizer, device: world.device },
  );
  const events = [];
  for await (const { tokensPerSecond, ...event } of start(base)) events.push(event);
  const digest = createHash("sha256");
  const { model } = base;
  for (const weight of [...model.weightNames, ...[...model.tensors.keys()].filter((key) => key.includes("lora"))])
    digest.update(new Uint8Array((await model.weight(weight).toFloat32()).buffer));
  const isGenerator = model.has("lm_head.weight") || name === "sft";
  const text = isGenerator ? (await base.generate("The cat", { maxTokens: 4, temperature: 0 })).text : "";
  await base.dispose();
  const mine = Buffer.from(digest.digest("hex"));
  const digests = (await world.gatherBytes?.(mine)) ?? [mine];
  const all = new Set(digests.map((bytes) => Buffer.from(bytes).toString()));
  if (digests.length !== world.size || all.size !== 1)
    throw new Error(
      `${name}: expected equal weights on ${world.size} ranks, got ${all.size} kinds of ${digests.length}`,
    );
  found[name] = { events, weights: [...all], text };
}
await rm(file);
if (world.rank === 0) console.log(JSON.stringify(found));
await world.close();
