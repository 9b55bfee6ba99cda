// Heads on a trunk, as transformers and TRL name them: classification heads (`score`) and the value head (`v_head`).
import { describe, HeddleError } from "../../core/errors.ts";
import type { ClassifierConfig, EmbeddingConfig, ModelConfig } from "./config.ts";
import { formatOf } from "./families.ts";

/** TRL's AutoModelForCausalLMWithValueHead: `v_head.summary.weight` (1, hidden) and `.bias`. */
export const VALUE_HEAD = "v_head.summary";

/** Where a classifier's weights are: a family may have a name for each task, encoders have `classifier`, and others `score`. */
export function classifierPrefix({ modelType, classifier }: Pick<ModelConfig, "modelType" | "classifier">): string {
  const { classifierNames, encoder } = formatOf(modelType);
  return (classifier && classifierNames?.[classifier.task]) ?? (encoder ? "classifier" : "score");
}

/** The language model's head where it is not the embedding. */
export function ownHead({ modelType }: Pick<ModelConfig, "modelType">): string {
  return `${formatOf(modelType).headName ?? "lm_head"}.weight`;
}

const TASKS = { sequence: "ForSequenceClassification", token: "ForTokenClassification" } as const;
const POOLING = { last: "last", mean: "mean", cls: "first", first: "first" } as const;

type Json = Record<string, unknown>;

/** `LlamaForCausalLM`, `GPT2LMHeadModel` → `LlamaForSequenceClassification`, `GPT2ForSequenceClassification`. */
export function classifierClass(languageModel: string, { task }: ClassifierConfig): string {
  return languageModel.replace(/(ForCausalLM|LMHeadModel|ForMaskedLM|Model)$/, "") + TASKS[task];
}

/** The classifier that a config.json describes, by its class; undefined where the class is of another kind. */
export function classifierFromJson(raw: Json, where: string): Json | undefined {
  const names = Array.isArray(raw.architectures) ? raw.architectures : [];
  const task = (Object.keys(TASKS) as (keyof typeof TASKS)[]).find((t) =>
    names.some((name) => typeof name === "string" && name.endsWith(TASKS[t])),
  );
  if (!task) return undefined;
  const classifier: Json = { task, labels: labelsOf(raw, where) };
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

/** Names by index. transformers' default is two labels, LABEL_0 and LABEL_1. */
function labelsOf(raw: Json, where: string): unknown[] {
  const names = raw.id2label;
  const invalid = (expected: string, got: unknown) =>
    new HeddleError("INVALID_FILE", `${where}: id2label: expected ${expected}, got ${describe(got)}`);
  if (names === undefined || names === null) {
    const count = raw.num_labels ?? 2;
    if (!Number.isSafeInteger(count) || (count as number) < 1 || (count as number) > 65536)
      throw new HeddleError("INVALID_FILE", `${where}: num_labels: expected 1 to 65536, got ${describe(count)}`);
    return Array.from({ length: count as number }, (_, i) => `LABEL_${i}`);
  }
  if (typeof names !== "object" || Array.isArray(names)) throw invalid("an object", names);
  const { length } = Object.keys(names);
  return Array.from({ length }, (_, i) => {
    if (!Object.hasOwn(names, String(i))) throw invalid(`a name for each of 0 to ${length - 1}`, `none for ${i}`);
    return (names as Json)[String(i)];
  });
}

/** The keys of config.json that describe a classifier. */
export function classifierToJson(classifier: ClassifierConfig): Json {
  const { labels, problemType, pooling, temperature } = classifier;
  return {
    id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    ...(problemType !== undefined && { problem_type: problemType }),
    // transformers' decoders pool the last token; other ways have the key that ModernBERT's configuration has.
    ...(pooling !== "last" && { classifier_pooling: pooling === "first" ? "cls" : pooling }),
    ...(temperature !== undefined && { classifier_temperature: temperature }),
  };
}

/** File with the configuration of an adapter's heads, with the keys of config.json. */
export const HEAD_CONFIG_FILE = "head_config.json";

/** Keys beyond those of a language model: classifier, value head, pooling. */
export function headsToJson(config: ModelConfig, languageModel: string): Json {
  const { classifier, valueHead, embedding } = config;
  return {
    ...(classifier && { architectures: [classifierClass(languageModel, classifier)], ...classifierToJson(classifier) }),
    ...(valueHead && { value_head: true }),
    ...(embedding && embeddingToJson(embedding)),
  };
}

/** The same read back, as far as it is there; the schema checks it. */
export function headsFromJson(raw: Json, where: string): Json {
  const classifier = classifierFromJson(raw, where);
  return {
    ...(classifier && { classifier }),
    ...(raw.value_head === true && { valueHead: true }),
    ...embeddingFromJson(raw),
  };
}

/** Other embedding settings by key. */
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

function embeddingToJson(embedding: EmbeddingConfig): Json {
  const others = Object.entries(EMBEDDING_KEYS).filter(([, name]) => embedding[name] !== undefined);
  return {
    embedding_pooling: embedding.pooling,
    ...Object.fromEntries(others.map(([key, name]) => [key, embedding[name]])),
  };
}

function embeddingFromJson(raw: Json): { embedding?: Json } {
  const pooling = raw.embedding_pooling;
  if (typeof pooling !== "string" && !Array.isArray(pooling)) return {};
  const others = Object.entries(EMBEDDING_KEYS).filter(([key]) => raw[key] !== undefined && raw[key] !== null);
  return {
    embedding: { pooling, normalize: true, ...Object.fromEntries(others.map(([key, name]) => [name, raw[key]])) },
  };
}
