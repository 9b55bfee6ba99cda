// Heads on a trunk, with the names of transformers and TRL: classification heads (`score`) and the value head
// (`v_head`).
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { JsonFields } from "../../io/json.ts";
import type { ClassifierConfig, EmbeddingConfig, ModelConfig } from "./config.ts";
import { formatOf } from "./families.ts";

/**
 * Prefix of the value head in TRL's AutoModelForCausalLMWithValueHead: `v_head.summary.weight` (1, hidden) and `.bias`.
 */
export const VALUE_HEAD = "v_head.summary";

/**
 * Returns the prefix of a classifier's weights: the family's name for the task, or else `classifier` for encoders and
 * `score` for decoders.
 */
export function classifierPrefix({ modelType, classifier }: Pick<ModelConfig, "modelType" | "classifier">): string {
  const { classifierNames, encoder } = formatOf(modelType);
  return (classifier && classifierNames?.[classifier.task]) ?? (encoder ? "classifier" : "score");
}

/** Returns the name of an untied language-modeling head. */
export function ownHead({ modelType }: Pick<ModelConfig, "modelType">): string {
  return `${formatOf(modelType).headName ?? "lm_head"}.weight`;
}

const TASKS = { sequence: "ForSequenceClassification", token: "ForTokenClassification" } as const;
const POOLING = { last: "last", mean: "mean", cls: "first", first: "first" } as const;

/**
 * Converts a class name to that of a classifier: `LlamaForCausalLM` → `LlamaForSequenceClassification`,
 * `GPT2LMHeadModel` → `GPT2ForSequenceClassification`.
 */
export function classifierClass(languageModel: string, { task }: ClassifierConfig): string {
  return languageModel.replace(/(ForCausalLM|LMHeadModel|ForMaskedLM|Model)$/, "") + TASKS[task];
}

/** Returns the classifier that a config.json's class implies, or undefined for other classes. */
function classifierFromJson(raw: JsonFields, where: string): JsonFields | undefined {
  const names = Array.isArray(raw.architectures) ? raw.architectures : [];
  const task = (Object.keys(TASKS) as (keyof typeof TASKS)[]).find((t) =>
    names.some((name) => typeof name === "string" && name.endsWith(TASKS[t])),
  );
  if (!task) return undefined;
  const classifier: JsonFields = { task, labels: labelsOf(raw, where) };
  if (typeof raw.problem_type === "string") classifier.problemType = raw.problem_type;
  const pooling = raw.classifier_pooling;
  if (typeof pooling === "string") {
    if (!Object.hasOwn(POOLING, pooling))
      throw new HeddleError(
        "UNSUPPORTED",
        `${where}: classifier_pooling: expected last, mean or cls, got ${describe(pooling)}`,
      );
    classifier.pooling = POOLING[pooling as keyof typeof POOLING];
  }
  if (raw.classifier_temperature !== undefined) classifier.temperature = raw.classifier_temperature;
  return classifier;
}

/** Returns the label names by index. transformers' default is two labels, LABEL_0 and LABEL_1. */
function labelsOf(raw: JsonFields, where: string): unknown[] {
  const names = raw.id2label;
  const invalid = (expected: string, got: unknown) =>
    new HeddleError("INVALID_FILE", `${where}: id2label: expected ${expected}, got ${describe(got)}`);
  if (names === undefined || names === null) {
    const count = raw.num_labels ?? 2;
    if (!isWhole(count, 1, 65536))
      throw new HeddleError("INVALID_FILE", `${where}: num_labels: expected 1 to 65536, got ${describe(count)}`);
    return Array.from({ length: count as number }, (_, i) => `LABEL_${i}`);
  }
  if (!isObject(names)) throw invalid("an object", names);
  const { length } = Object.keys(names);
  return Array.from({ length }, (_, i) => {
    if (!Object.hasOwn(names, String(i))) throw invalid(`a name for each of 0 to ${length - 1}`, Object.keys(names));
    return names[String(i)];
  });
}

/** Returns the config.json keys that describe a classifier. */
function classifierToJson(classifier: ClassifierConfig): JsonFields {
  const { labels, problemType, pooling, temperature } = classifier;
  return {
    id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    ...(problemType !== undefined && { problem_type: problemType }),
    // transformers' decoders pool the last token. Other modes use ModernBERT's key.
    ...(pooling !== "last" && { classifier_pooling: pooling === "first" ? "cls" : pooling }),
    ...(temperature !== undefined && { classifier_temperature: temperature }),
  };
}

/** Name of the file with an adapter's head configuration, which uses config.json's keys. */
export const HEAD_CONFIG_FILE = "head_config.json";

/** Returns the config.json keys of the parts that a plain language model lacks: classifier, value head, pooling. */
export function headsToJson(config: ModelConfig, languageModel: string): JsonFields {
  const { classifier, valueHead, embedding } = config;
  return {
    ...(classifier && { architectures: [classifierClass(languageModel, classifier)], ...classifierToJson(classifier) }),
    ...(valueHead && { value_head: true }),
    ...(embedding && embeddingToJson(embedding)),
  };
}

/** Reads the keys that headsToJson writes, if present. The schema checks their values. */
export function headsFromJson(raw: JsonFields, where: string): JsonFields {
  const classifier = classifierFromJson(raw, where);
  return {
    ...(classifier && { classifier }),
    ...(raw.value_head === true && { valueHead: true }),
    ...embeddingFromJson(raw),
  };
}

/** Embedding settings other than pooling, by config.json key. */
const EMBEDDING_KEYS = {
  embedding_normalize: "normalize",
  embedding_layers: "layers",
  embedding_include_prompt: "includePrompt",
  embedding_prompts: "prompts",
  embedding_default_prompt_name: "defaultPromptName",
  embedding_similarity: "similarity",
  embedding_truncate_dim: "truncateDim",
  embedding_max_seq_length: "maxSeqLength",
  embedding_lowercase: "lowercase",
} as const satisfies Record<string, keyof EmbeddingConfig>;

function embeddingToJson(embedding: EmbeddingConfig): JsonFields {
  const others = Object.entries(EMBEDDING_KEYS).filter(([, name]) => embedding[name] !== undefined);
  return {
    embedding_pooling: embedding.pooling,
    ...Object.fromEntries(others.map(([key, name]) => [key, embedding[name]])),
  };
}

function embeddingFromJson(raw: JsonFields): { embedding?: JsonFields } {
  const pooling = raw.embedding_pooling;
  if (typeof pooling !== "string" && !Array.isArray(pooling)) return {};
  const others = Object.entries(EMBEDDING_KEYS).filter(([key]) => raw[key] !== undefined && raw[key] !== null);
  return {
    embedding: { pooling, normalize: true, ...Object.fromEntries(others.map(([key, name]) => [name, raw[key]])) },
  };
}
