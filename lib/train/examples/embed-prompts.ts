// What stands before texts that vectors are trained on.
import { z } from "zod";
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import {
  type PromptTokenizer,
  promptCounter,
  promptOf,
  promptTokenCounter,
} from "../../language-model/embed/embed-prompts.ts";

/** A text, or one of the model's `embedding.prompts` by its name. */
export type TrainingPrompt = string | { promptName: string };

/** What `trainEmbedding` puts in front of the texts of its rows. */
export interface TrainingPrompts {
  /** Of each `anchor`. Default: nothing. */
  anchor?: TrainingPrompt | undefined;
  /** Of each `positive` and `negative`. Default: nothing. */
  document?: TrainingPrompt | undefined;
  /** Of both sentences of rows of `evalScores`. Default: nothing. */
  sentence?: TrainingPrompt | undefined;
}

const isNamed = (v: unknown) =>
  typeof v === "object" &&
  v !== null &&
  Object.keys(v).join() === "promptName" &&
  typeof Object.values(v)[0] === "string";
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

/** What stands before the texts of a column. */
export interface ColumnPrompt {
  /** "" for nothing. */
  text: string;
  /** How many of a text's first tokens are not its own. */
  before(ids: ArrayLike<number>): number;
  /** How many of them pooling leaves out. */
  unpooled(ids: ArrayLike<number>): number;
}

export type ColumnPrompts = Readonly<Record<keyof TrainingPrompts, ColumnPrompt>>;

/** Nothing before any text. */
export const NO_PROMPT: ColumnPrompt = { text: "", before: () => 0, unpooled: () => 0 };

/** The prompts of the columns. @throws HeddleError INVALID_ARGUMENT for a name that the model lacks, with those that it has */
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
  // Where one column has a prompt, equal texts of another are told by what follows what stands before them there.
  const some = texts.anchor !== "" || texts.document !== "";
  const column = (text: string): ColumnPrompt => ({
    text,
    before: some ? promptTokenCounter(text, embedding, tokenizer) : NO_PROMPT.before,
    unpooled: promptCounter(text, embedding, tokenizer),
  });
  return { anchor: column(texts.anchor), document: column(texts.document), sentence: column(texts.sentence) };
}

/** Texts with equal keys are one text, whatever stands before them. */
export function textKey(ids: Uint32Array, { before }: ColumnPrompt): string {
  return ids.subarray(before(ids)).join(" ");
}
