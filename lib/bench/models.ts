import { join } from "node:path";
import { convertModel } from "../convert/convert.ts";
import type { Device } from "../graph/index.ts";
import { createModel } from "../language-model/create.ts";
import { Tokenizer } from "../tokenizer/index.ts";

/** Shapes of published models (stories15M of llama2.c and SmolLM-135M), and a tiny one for smoke tests. */
export const SHAPES = {
  "15M": {
    hiddenSize: 288,
    intermediateSize: 768,
    numHiddenLayers: 6,
    numAttentionHeads: 6,
    numKeyValueHeads: 6,
    vocabSize: 32_000,
  },
  "135M": {
    hiddenSize: 576,
    intermediateSize: 1536,
    numHiddenLayers: 30,
    numAttentionHeads: 9,
    numKeyValueHeads: 3,
    vocabSize: 49_152,
  },
  tiny: {
    hiddenSize: 64,
    intermediateSize: 128,
    numHiddenLayers: 1,
    numAttentionHeads: 2,
    numKeyValueHeads: 1,
    vocabSize: 512,
  },
} as const;

/** The name of a shape of models. */
export type ShapeName = keyof typeof SHAPES;
/** The type of the matrices in a model file. */
export type FileType = "bf16" | "q8_0" | "q4_0" | "q4_k";

/** Writes GGUF files of a shape with random weights, one per type. */
export async function randomModels(
  name: ShapeName,
  types: readonly FileType[],
  { device, folder }: { device: Device; folder: string },
): Promise<Map<FileType, string>> {
  const tokenizer = await Tokenizer.train(["the quick brown fox jumps over the lazy dog. "], { vocabSize: 300 });
  await using model = createModel(
    { modelType: "llama", ...SHAPES[name], maxPositionEmbeddings: 2048, tieWordEmbeddings: true },
    { tokenizer, seed: 1, device },
  );
  const checkpoint = join(folder, name);
  await model.save(checkpoint);
  const files = new Map<FileType, string>();
  for (const type of types) {
    const file = join(folder, `${name}.${type}.gguf`);
    await convertModel(checkpoint, file, { to: "gguf", dtype: type });
    files.set(type, file);
  }
  return files;
}
