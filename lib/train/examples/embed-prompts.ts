// Prompts of the texts that embedding models are trained on.
import { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import {
  type PromptTokenizer,
  promptCounter,
  promptOf,
  promptTokenCounter,
} from "../../language-model/embed/embed-prompts.ts";

/** A text, or one of the model's `embedding.prompts` by its name. */
export type TrainingPrompt = string | { promptName: string };

/** Prompts that `trainEmbedding` puts before the texts of its rows. */
export interface TrainingPrompts {
  /** Prompt of each `anchor`. Default: nothing. */
  anchor?: TrainingPrompt | undefined;
  /** Prompt of each `positive` and `negative`. Default: nothing. */
  document?: TrainingPrompt | undefined;
  /** Prompt of both sentences in rows of `evalScores`. Default: nothing. */
  sentence?: TrainingPrompt | undefined;
}

const isNamed = (v: unknown) =>
  isObject(v) && Object.keys(v).join() === "promptName" && typeof Object.values(v)[0] === "string";
const prompt = z.custom<TrainingPrompt>(
  (v) => typeof v === "string" || isNamed(v),
  "a text, or { promptName } with the name of one of the model's prompts",
);

/** `TrainingPrompts` as a schema. */
export const trainingPromptsSchema = z.strictObject(
  {
    anchor: prompt.optional(),
    document: prompt.optional(),
    sentence: prompt.optional(),
  } satisfies Record<keyof TrainingPrompts, z.ZodType>,
  { error: "an object with anchor, document or sentence" },
);

/** The prompt of a column's texts. */
export interface ColumnPrompt {
  /** "" without a prompt. */
  text: string;
  /** Number of leading tokens, those of the prompt, that `textKey` leaves out. */
  before(ids: ArrayLike<number>): number;
  /** Number of leading tokens that pooling leaves out. */
  unpooled(ids: ArrayLike<number>): number;
}

/** The prompt of each column. */
export type ColumnPrompts = Readonly<Record<keyof TrainingPrompts, ColumnPrompt>>;

/** No prompt. */
export const NO_PROMPT: ColumnPrompt = { text: "", before: () => 0, unpooled: () => 0 };

/**
 * Returns the prompts of the columns.
 * @throws HeddleError INVALID_ARGUMENT for an unknown prompt name; the message lists the known names
 */
export function columnPrompts(
  given: TrainingPrompts = {},
  embedding: EmbeddingConfig,
  tokenizer: PromptTokenizer,
): ColumnPrompts {
  const of = (column: keyof TrainingPrompts) => {
    const wanted = given[column] ?? "";
    const named = typeof wanted === "string" ? { prompt: wanted } : wanted;
    return promptOf(named, embedding, `prompts.${column}.`);
  };
  const texts = { anchor: of("anchor"), document: of("document"), sentence: of("sentence") };
  // If anchors or documents have a prompt, texts are compared without their prompts.
  const ignoresPrompts = texts.anchor !== "" || texts.document !== "";
  const column = (text: string): ColumnPrompt => ({
    text,
    before: ignoresPrompts ? promptTokenCounter(text, embedding, tokenizer) : NO_PROMPT.before,
    unpooled: promptCounter(text, embedding, tokenizer),
  });
  return { anchor: column(texts.anchor), document: column(texts.document), sentence: column(texts.sentence) };
}

/** Returns a key that is equal for equal texts, ignoring their prompts. */
export function textKey(ids: Uint32Array, { before }: ColumnPrompt): string {
  return ids.subarray(before(ids)).join(" ");
}
