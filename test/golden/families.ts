// Writes the models of families.json as folders. Weights have their Hugging Face names.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ModelConfigInput, parseModelConfig } from "../../lib/formats/config/config.ts";
import { saveWeights } from "../formats/write-weights.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import "../../lib/models/registry.ts";
import { bytesByName, weightByName } from "./by-name.ts";

export interface FamilyGolden {
  name: string;
  config: Record<string, unknown> & { model_type: string };
  /** The shape of each weight, by its Hugging Face name. */
  weights: Record<string, number[]>;
  prompt: number[];
  greedy: number[];
  /** Log-probabilities of the greedy tokens. */
  logprobs: number[];
  /** Logits of the first 16 positions of prompt and continuation. */
  logits: number[][];
  /** Mean cross-entropy over these positions. */
  loss: number;
  /** Norm and first values of each weight's gradient. */
  gradients: Record<string, { norm: number; first: number[] }>;
}

export const familyGoldens: FamilyGolden[] = JSON.parse(readFileSync(new URL("families.json", import.meta.url), "utf8"));

/** Returns a golden's configuration for a model with a tokenizer, which sets the vocabulary and the ids of special tokens. */
export function familyConfig({ config }: FamilyGolden): ModelConfigInput {
  const { vocabSize: _, bosTokenId: __, eosTokenIds: ___, padTokenId: ____, ...others } = parseModelConfig(config);
  return others;
}

/** Writes config.json and model.safetensors. @returns the folder */
export async function writeFamily(golden: Pick<FamilyGolden, "config" | "weights">, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(golden.config));
  const isGemma = golden.config.model_type.includes("gemma");
  const tensors = Object.entries(golden.weights).map(([name, shape]): TensorData => {
    if (/_(blocks|scales)$/.test(name)) return { name, dtype: "u8", shape, bytes: bytesByName(name, shape) };
    // scripts/golden/decoder.py has the same rule.
    const around = /norm(s\.\d+)?\.weight$/i.test(name) && !isGemma ? 1 : 0;
    return { name, dtype: "f32", shape, bytes: new Uint8Array(weightByName(name, shape, around).buffer) };
  });
  await saveWeights(folder, tensors);
  return folder;
}
