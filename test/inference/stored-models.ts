// Models loaded from files: weights in 16 bits or quantized blocks, experts, and q8 caches.
import { join } from "node:path";
import { convertModel } from "../../lib/convert/convert.ts";
import { LanguageModel, type LoadOptions } from "../../lib/language-model/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { tinyModel } from "./helpers.ts";

export interface Stored {
  config?: object;
  /** Type of the weights: bf16, to which loading converts them, or a block type of a GGUF file. Default f32. */
  dtype?: "bf16" | "q8_0" | "q4_k";
  cacheDtype?: "q8";
}

const experts = { numExperts: 5, numExpertsPerTok: 2, moeIntermediateSize: 256 };
export const storedModels: [string, Stored][] = [
  ["bf16", { dtype: "bf16" }],
  ["q8_0", { dtype: "q8_0" }],
  ["q4_k", { dtype: "q4_k" }],
  ["f32, q8 caches", { cacheDtype: "q8" }],
  [
    "q4_k with a window, q8 caches",
    { config: { modelType: "mistral", slidingWindow: 40 }, dtype: "q4_k", cacheDtype: "q8" },
  ],
  ["experts in bf16", { config: { modelType: "gpt_oss", ...experts, slidingWindow: 30 }, dtype: "bf16" }],
  ["experts in q8_0", { config: { modelType: "qwen3_moe", ...experts }, dtype: "q8_0" }],
];

/** Writes a model to a folder or a GGUF file. @returns a function that loads it */
export async function store({
  config,
  dtype,
  cacheDtype,
}: Stored): Promise<(options: LoadOptions) => Promise<LanguageModel>> {
  const sizes = { hiddenSize: 256, intermediateSize: 512, maxPositionEmbeddings: 1024, initializerRange: 0.12 };
  await using model = tinyModel({}, { ...sizes, ...config });
  let path = join(temporaryFolder(), "model");
  await model.save(path);
  if (dtype !== undefined && dtype !== "bf16") {
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(path, file, { dtype });
    path = file;
  }
  const given = { ...(dtype === "bf16" && { dtype }), ...(cacheDtype && { cacheDtype }) };
  return (options) => LanguageModel.load(path, { ...options, ...given });
}
