// Trains a tiny model with several stages on the ranks of a launcher, or alone, and prints each stage's losses on rank 0.
// Usage: ranks-stages.mjs ENTRY ACCUMULATE [SHARDING [large | ORDER]]. With `large`, the model's matrices are cut among the ranks. ORDER is
// a nested list of ranks, in whose order they add. With [[0,2],[1,3]] they compute (0 + 2) + (1 + 3).
const [entry, accumulate, sharding, size] = process.argv.slice(2);
const { createModel, dpo, grpo, openWorld, ppo, pretrain, sft, Tokenizer, trainClassifier } = await import(entry);

/** Adds arrays of the ranks in the order of nested lists. */
const added = (order, arrays) =>
  typeof order === "number"
    ? arrays[order]
    : order.map((one) => added(one, arrays)).reduce((sum, array) => sum.map((value, i) => value + array[i]));

/** Returns a world whose ranks add in the order of nested lists. */
function inOrder(order, ranks) {
  const sumOf = async (own) => {
    const all = await ranks.gatherBytes(new Uint8Array(own.buffer, own.byteOffset, own.byteLength));
    return added(
      order,
      all.map((bytes) => new own.constructor(bytes.slice().buffer)),
    ); // a copy is aligned
  };
  return {
    ...ranks,
    overlap: false,
    sum: async (values) => [...(await sumOf(Float64Array.from(values)))],
    async allReduce(tensors) {
      for (const tensor of tensors) await tensor.write(await sumOf(await tensor.toFloat32()));
    },
  };
}

const ranks = await openWorld({ threads: 1 });
const world = size?.startsWith("[") ? inOrder(JSON.parse(size), ranks) : ranks;
const sentences = Array.from(
  { length: 60 },
  (_, i) =>
    `The ${["cat", "dog", "bird"][i % 3]} saw ${["a house", "the sea", "a hill"][(i % 7) % 3]} and ran home. ${i}`,
);
const tokenizer = await Tokenizer.train(sentences, { vocabSize: 320 });
const words = sentences.slice(0, 24).map((text) => text.split(" "));
const pairs = words.map((w, i) => ({
  prompt: w.slice(0, 3).join(" "),
  chosen: ` ${w[i % 5]} ${i}`,
  rejected: ` ${w.slice(2, 5 + (i % 3)).join(" ")}`,
}));
const prompts = pairs.map(({ prompt }, i) => ({ prompt, wanted: i % 2 ? "a" : "o" }));
const letters = ({ completions, wanted }) =>
  completions.map((text, i) => text.split(wanted[i]).length - 1 + text.length / 100);

const shared = {
  maxSteps: 4,
  perDeviceTrainBatchSize: 4,
  gradientAccumulationSteps: Number(accumulate),
  learningRate: 1e-3,
  seed: 5,
  dtype: "f32",
  world,
  sharding,
};
const stages = {
  pretrain: (base) => pretrain(base, { ...shared, data: [{ text: sentences.join("\n") }], maxSeqLength: 16 }),
  "sft with LoRA": (base) =>
    sft(base, { ...shared, data: sentences.map((text) => ({ text })), lora: { r: 4 }, maxSeqLength: 32 }),
  dpo: (base) => dpo(base, { ...shared, data: pairs }),
  grpo: (base) =>
    grpo(base, {
      ...shared,
      data: prompts,
      rewards: [letters],
      numGenerations: 2,
      maxCompletionLength: 6,
      scaleRewards: "batch",
      beta: 0.05,
    }),
  ppo: (base) =>
    ppo(base, {
      ...shared,
      data: prompts,
      rewards: [letters],
      maxCompletionLength: 6,
      numPpoEpochs: 2,
      numMiniBatches: 2,
      whitenRewards: true,
    }),
  classify: (base) =>
    trainClassifier(base, { ...shared, data: sentences.map((text, i) => ({ text, label: ["c", "d", "b"][i % 3] })) }),
};

const text = [{ text: sentences.join("\n") }];
const large = {
  pretrain: stages.pretrain,
  "pretrain in bf16": (base) => pretrain(base, { ...shared, data: text, maxSeqLength: 16, dtype: "bf16" }),
  "pretrain with Muon": (base) => pretrain(base, { ...shared, data: text, maxSeqLength: 16, optim: "muon" }),
  "sft with LoRA": (base) =>
    sft(base, { ...shared, data: sentences.map((text) => ({ text })), lora: { r: 128 }, maxSeqLength: 32 }),
};

const found = {};
for (const [name, start] of Object.entries(size === "large" ? large : stages)) {
  const base = createModel(
    {
      modelType: "llama",
      hiddenSize: 32,
      intermediateSize: 64,
      ...(size === "large" && { hiddenSize: 192, intermediateSize: 512, vocabSize: 4096 }),
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 128,
      initializerRange: 0.1,
    },
    { seed: 7, tokenizer, device: ranks.device },
  );
  const losses = [];
  for await (const event of start(base)) if ("loss" in event) losses.push(event.loss);
  await base.dispose();
  found[name] = losses;
}
if (world.rank === 0) console.log(JSON.stringify(found));
await ranks.close();
