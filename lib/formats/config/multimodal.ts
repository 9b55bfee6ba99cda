// Multimodal models with a supported language model: the language model's part of config.json, and its weights.
import type { BuiltInModelType, ModelType } from "./families.ts";

type Json = Record<string, unknown>;

interface LanguageModel {
  modelType: BuiltInModelType;
  /** transformers' class of the language model alone. */
  architecture: string;
  /** Defaults of the configuration class, which `text_config` may omit. */
  defaults: Json;
}

/** Keyed by the multimodal model's `model_type`. */
const LANGUAGE_MODELS: Readonly<Record<string, LanguageModel>> = {
  gemma3: {
    modelType: "gemma3_text",
    architecture: "Gemma3ForCausalLM",
    defaults: {
      vocab_size: 262208,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_hidden_layers: 26,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      bos_token_id: 2,
      eos_token_id: 1,
      pad_token_id: 0,
    },
  },
};

/** Keys for which the outer configuration takes precedence over `text_config`. */
const OF_THE_WHOLE = [
  ...["bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "quantization_config"],
  ...["id2label", "label2id", "num_labels", "problem_type"],
];

/** Returns the config.json of a model's language model, or the given value if the model has no other part. */
export function languageModelConfig(raw: Json): Json {
  const { model_type: type, text_config: text, vision_config: _, architectures, ...whole } = raw;
  const model = typeof type === "string" && Object.hasOwn(LANGUAGE_MODELS, type) ? LANGUAGE_MODELS[type] : undefined;
  if (!model || typeof text !== "object" || text === null || Array.isArray(text)) return raw;
  const said = OF_THE_WHOLE.filter((key) => (whole[key] ?? undefined) !== undefined);
  return {
    ...model.defaults,
    ...whole,
    ...text,
    ...Object.fromEntries(said.map((key) => [key, whole[key]])),
    model_type: model.modelType,
    architectures: Array.isArray(architectures)
      ? architectures.map((name) => (/ForConditionalGeneration$/.test(String(name)) ? model.architecture : name))
      : [model.architecture],
  };
}

const PICTURES = /^(model\.)?(vision_tower|multi_modal_projector)\./;

/**
 * The name that a weight of a whole model has in its language model alone; undefined for weights of pictures. Checkpoints have
 * `language_model.model.`, those of transformers from 4.52 on `model.language_model.`.
 */
export function languageModelName(name: string, modelType: ModelType): string | undefined {
  if (!Object.values(LANGUAGE_MODELS).some((model) => model.modelType === modelType)) return name;
  if (PICTURES.test(name)) return undefined;
  return name
    .replace(/^(model\.)?language_model\.lm_head\./, "lm_head.")
    .replace(/^(model\.)?language_model\.(model\.)?/, "model.");
}
