// Whole training steps (forward, backward, AdamW) at the shapes of the project's tables: tokens per second, share of ops.
import type { Batch } from "../lib/data/corpus.ts";
import { parseModelConfig } from "../lib/formats/config.ts";
import type { Device, FloatDType } from "../lib/graph/index.ts";
import { Model } from "../lib/models/model.ts";
import { languageModelling } from "../lib/train/language-modelling.ts";
import { TrainStep } from "../lib/train/step.ts";
import { median, report, seconds } from "./measure.ts";

const SHAPES = [
  {
    name: "Llama 3M",
    sequences: 16,
    sequenceLength: 256,
    config: {
      modelType: "llama",
      vocabSize: 2048,
      hiddenSize: 192,
      intermediateSize: 512,
      numHiddenLayers: 6,
      numAttentionHeads: 6,
      numKeyValueHeads: 6,
    },
  },
  {
    name: "Llama 10M",
    sequences: 16,
    sequenceLength: 256,
    config: {
      modelType: "llama",
      vocabSize: 4096,
      hiddenSize: 320,
      intermediateSize: 864,
      numHiddenLayers: 8,
      numAttentionHeads: 5,
      numKeyValueHeads: 5,
    },
  },
  {
    name: "GPT-2 14M",
    sequences: 8,
    sequenceLength: 256,
    config: { modelType: "gpt2", vocabSize: 8192, hiddenSize: 384, numHiddenLayers: 6, numAttentionHeads: 6 },
  },
];

export async function benchTrain(device: Device, { rounds = 7 } = {}): Promise<void> {
  for (const { name, sequences, sequenceLength, config } of SHAPES)
    for (const dtype of ["f32", "bf16"] as FloatDType[]) {
      const parsed = parseModelConfig({ ...config, maxPositionEmbeddings: sequenceLength, tieWordEmbeddings: true });
      const model = await Model.initialise(parsed, device, 1);
      const step = await TrainStep.create(model, languageModelling, { sequences, sequenceLength, dtype });
      const rows = sequences * sequenceLength;
      const ids = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919) % parsed.vocabSize);
      const batch: Batch = { tokens: ids.slice(0, -1), targets: ids.slice(1), tokenCount: rows, byteCount: 0 };
      await step.run([batch], 1e-3);
      const times: number[] = [];
      for (let i = 0; i < rounds; i++) times.push(await seconds(() => step.run([batch], 1e-3)));
      const perToken = 6 * model.parameterCount + 6 * parsed.numHiddenLayers * parsed.hiddenSize * sequenceLength;
      const rate = rows / median(times);
      report({
        name: `train step ${name} ${dtype}`,
        tokensPerSecond: Math.round(rate),
        gflops: Math.round((rate * perToken) / 1e9),
      });
      step.dispose();
      model.dispose();
    }
}
