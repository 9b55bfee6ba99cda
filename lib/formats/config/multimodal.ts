// Multimodal models with a supported language model: the language model's part of config.json, and its weights.
import { isObject } from "../../core/is-object.ts";
import type { JsonFields } from "../../io/json.ts";
import { formatOf, knownModelTypes } from "./families.ts";

/** Keys whose value in the outer configuration takes precedence over that in `text_config`. */
const OUTER_KEYS = [
  ...["bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "quantization_config"],
  ...["id2label", "label2id", "num_labels", "problem_type"],
];

/** Returns the config.json of a multimodal model's language model. Returns other configurations unchanged. */
export function languageModelConfig(raw: JsonFields): JsonFields {
  const { model_type: type, text_config: text, vision_config: _, architectures, ...whole } = raw;
  const modelType =
    type === undefined ? undefined : knownModelTypes().find((known) => formatOf(known).partOf?.modelType === type);
  if (modelType === undefined || !isObject(text)) return raw;
  const { architecture, partOf } = formatOf(modelType);
  const outerKeys = OUTER_KEYS.filter((key) => (whole[key] ?? undefined) !== undefined);
  return {
    ...partOf?.defaults,
    ...whole,
    ...text,
    ...Object.fromEntries(outerKeys.map((key) => [key, whole[key]])),
    model_type: modelType,
    architectures: Array.isArray(architectures)
      ? architectures.map((name) =>
          typeof name === "string" && /ForConditionalGeneration$/.test(name) ? architecture : name,
        )
      : [architecture],
  };
}

const VISION_WEIGHTS = /^(model\.)?(vision_tower|multi_modal_projector)\./;

/**
 * Returns the name of a multimodal model's weight in its language model, or undefined for weights of the vision part.
 * Checkpoints have `language_model.model.`, and since transformers 4.52 `model.language_model.`.
 */
export function languageModelName(name: string, modelType: string): string | undefined {
  if (!formatOf(modelType).partOf) return name;
  if (VISION_WEIGHTS.test(name)) return undefined;
  return name
    .replace(/^(model\.)?language_model\.lm_head\./, "lm_head.")
    .replace(/^(model\.)?language_model\.(model\.)?/, "model.");
}
