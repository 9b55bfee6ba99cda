import type { Batch } from "../../data/corpus.ts";
import { parseModelConfig } from "../../formats/config/config.ts";
import { Model } from "../../models/model.ts";
import { TrainStep } from "../../train/loop/step.ts";
import { languageModeling } from "../../train/losses/language-modeling.ts";
import type { BenchSuite } from "../types.ts";

interface Shape {
  name: string;
  modelType?: "llama" | "gpt2";
  sequences: number;
  sequenceLength: number;
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numHiddenLayers: number;
  heads: number;
}
const CPU_SHAPES: Shape[] = [
  {
    name: "Llama 3M",
    sequences: 16,
    sequenceLength: 256,
    vocabSize: 2048,
    hiddenSize: 192,
    intermediateSize: 512,
    numHiddenLayers: 6,
    heads: 6,
  },
  {
    name: "Llama 10M",
    sequences: 16,
    sequenceLength: 256,
    vocabSize: 4096,
    hiddenSize: 320,
    intermediateSize: 864,
    numHiddenLayers: 8,
    heads: 5,
  },
];
/** GPT-2 small, for which llm.c and others publish results, and a model of Llama's family of that size. */
const CUDA_SHAPES: Shape[] = [
  {
    name: "GPT-2 124M",
    modelType: "gpt2",
    sequences: 16,
    sequenceLength: 1024,
    vocabSize: 50_304,
    hiddenSize: 768,
    intermediateSize: 3072,
    numHiddenLayers: 12,
    heads: 12,
  },
  {
    name: "Llama 124M",
    sequences: 16,
    sequenceLength: 1024,
    vocabSize: 50_304,
    hiddenSize: 768,
    intermediateSize: 2048,
    numHiddenLayers: 12,
    heads: 12,
  },
];
const QUICK: Shape = {
  name: "Llama tiny",
  sequences: 2,
  sequenceLength: 16,
  vocabSize: 256,
  hiddenSize: 32,
  intermediateSize: 64,
  numHiddenLayers: 1,
  heads: 2,
};

/** Whole optimizer steps: forward, backward, clipping, AdamW. */
export const trainSuite: BenchSuite = async function* ({ device, quick }) {
  for (const shape of quick ? [QUICK] : device.kind === "cuda" ? CUDA_SHAPES : CPU_SHAPES)
    for (const dtype of device.kind === "cuda" && !quick ? (["bf16"] as const) : (["f32", "bf16"] as const)) {
      const { name, modelType = "llama", sequences, sequenceLength, heads, ...sizes } = shape;
      const config = parseModelConfig({
        modelType,
        ...sizes,
        numAttentionHeads: heads,
        numKeyValueHeads: heads,
        maxPositionEmbeddings: sequenceLength,
        tieWordEmbeddings: true,
      });
      const model = await Model.initialize(config, device, 1);
      const step = await TrainStep.create(model, languageModeling, { sequences, sequenceLength, dtype });
      const rows = sequences * sequenceLength;
      const ids = Int32Array.from({ length: rows + 1 }, (_, i) => (i * 7919) % config.vocabSize);
      const batch: Batch = { tokens: ids.slice(0, -1), targets: ids.slice(1), tokenCount: rows, byteCount: 0 };
      // Count six floating-point operations per parameter and token, and those of the causal half of self-attention (Chowdhery
      // et al. 2022, appendix B).
      const flops = rows * (6 * model.parameterCount + 6 * config.numHiddenLayers * config.hiddenSize * sequenceLength);
      yield {
        name: `train step ${name} ${dtype}`,
        unit: "tokens/s",
        work: rows,
        bound: { ceiling: dtype, amount: flops },
        async run() {
          const start = performance.now();
          await step.run([batch], 1e-3);
          return (performance.now() - start) / 1000;
        },
      };
      step.dispose();
      model.dispose();
    }
};
