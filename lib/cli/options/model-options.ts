import { withoutTokenizer } from "../../core/errors.ts";
import { LanguageModel, type LoadOptions } from "../../language-model/index.ts";
import type { OptionSpecs } from "../command.ts";

/** Options of commands that load a model. */
export const loadOptions = {
  adapter: {
    kind: "string",
    value: "DIR",
    about: "LoRA adapter to apply; may be repeated, the updates are summed",
    repeated: true,
  },
  dtype: {
    kind: "string",
    value: "auto|f32|bf16|f16|q8_0|q4_0|q4_k|q6_k",
    about: "element type of the weights; auto keeps the stored type, a quantized type quantizes matrices at load time",
  },
  "quantized-activations": {
    kind: "string",
    value: "int8|f32",
    about: "type of activations multiplied with quantized (and bf16) weights: int8 is fast, f32 is exact",
  },
  "context-length": {
    kind: "integer",
    value: "N",
    about: "maximum sequence length in tokens (default: the model's limit)",
  },
  "cache-dtype": {
    kind: "string",
    value: "f32|bf16|f16|q8",
    about:
      "element type of the KV cache; q8 needs about a quarter of the memory of f32 (default: 16 bits for bf16 and quantized weights, else f32)",
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

/** Converts options of the command line to those of `LanguageModel.load`. */
export function loadedWith(options: Omit<Given, "model">): LoadOptions {
  return {
    device: options.device,
    threads: options.threads,
    dtype: options.dtype as LoadOptions["dtype"],
    quantizedActivations: options["quantized-activations"] as LoadOptions["quantizedActivations"],
    contextLength: options["context-length"],
    cacheDtype: options["cache-dtype"] as LoadOptions["cacheDtype"],
  };
}

/** Loads the model that the options name, with its adapters. */
export async function openModel(options: Given): Promise<LanguageModel> {
  const model = await LanguageModel.load(options.model ?? "default", loadedWith(options));
  try {
    for (const [i, folder] of (options.adapter ?? []).entries())
      await model.loadAdapter(folder, { name: `adapter-${i + 1}` });
    return model;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** Checks that the model has a tokenizer. @throws HeddleError INVALID_ARGUMENT */
export function needTokenizer(model: LanguageModel): void {
  if (!model.tokenizer) throw withoutTokenizer("model");
}
