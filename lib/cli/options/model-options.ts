import { withoutTokenizer } from "../../core/errors.ts";
import { LanguageModel, type LoadOptions } from "../../language-model/index.ts";
import type { OptionSpecs } from "../command.ts";

/** Options of commands that load a model. */
export const loadOptions = {
  adapter: {
    kind: "string",
    value: "DIR",
    about: "a LoRA adapter to put on the model; may be repeated: their updates add up",
    repeated: true,
  },
  dtype: {
    kind: "string",
    value: "auto|f32|bf16|f16|q8_0|q4_0|q4_k|q6_k",
    about:
      "element type of the weights; auto keeps the stored one, a quantised one is made of matrices as they are read",
  },
  "quantized-activations": {
    kind: "string",
    value: "int8|f32",
    about: "how activations meet quantised (and bf16) weights: int8 is fast, f32 exact",
  },
  "context-length": { kind: "integer", value: "N", about: "most tokens of a sequence" },
  "cache-dtype": {
    kind: "string",
    value: "f32|bf16|f16|q8",
    about:
      "element type of the KV cache (default: 16 bits for bf16 and quantised weights, else f32); q8 takes little more than a quarter of f32",
  },
} as const satisfies OptionSpecs;

interface Given {
  model?: string;
  adapter?: string[];
  device?: string;
  threads?: number;
  dtype?: string;
  "quantized-activations"?: string;
  "context-length"?: number;
  "cache-dtype"?: string;
}

/** The model that the options name, with its adapters. */
export async function openModel(options: Given): Promise<LanguageModel> {
  const model = await LanguageModel.load(options.model ?? "default", {
    device: options.device,
    threads: options.threads,
    dtype: options.dtype as LoadOptions["dtype"],
    quantizedActivations: options["quantized-activations"] as LoadOptions["quantizedActivations"],
    contextLength: options["context-length"],
    cacheDtype: options["cache-dtype"] as LoadOptions["cacheDtype"],
  });
  try {
    for (const [i, folder] of (options.adapter ?? []).entries())
      await model.loadAdapter(folder, { name: `adapter-${i + 1}` });
    return model;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** @throws HeddleError INVALID_ARGUMENT where the model cannot read text */
export function needTokenizer(model: LanguageModel): void {
  if (!model.tokenizer) throw withoutTokenizer("model");
}
