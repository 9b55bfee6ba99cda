// What rows are, where a program gives them: the shapes that stages read, so that the compiler finds a misspelt field.
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";

/** A row may have further fields. */
export type OpenRow<Fields> = Fields | (Fields & { readonly [field: string]: unknown });

/** A message of a row. */
export type RowMessage = ChatMessage | Pick<ChatMessage, "role" | "content">;
/** A text, or a conversation. */
export type RowText = string | readonly RowMessage[];

/** Of `sft`: a conversation, a prompt with its completion, or a text. */
export type SftRow =
  | OpenRow<{ messages: readonly RowMessage[]; tools?: readonly unknown[] | null | undefined }>
  | OpenRow<{ prompt: RowText; completion: RowText; tools?: readonly unknown[] | null | undefined }>
  | OpenRow<{ text: string }>;

/** The name of a class; numbers and truth values name classes too, and are what a regression learns. */
export type RowLabel = string | number | boolean;
/** Of `trainClassifier`: a text with its label, or labels, or words with one each. */
export type ClassifyRow =
  | OpenRow<{ text: string; label: RowLabel | readonly RowLabel[] }>
  | OpenRow<{ text: string; labels: readonly RowLabel[] }>
  | OpenRow<{ tokens: readonly string[]; labels: readonly RowLabel[] }>;

/** Of `trainEmbedding`: texts that belong together, and others that do not. */
export type EmbedRow = OpenRow<{
  anchor: string;
  positive: string;
  negative?: string | readonly string[] | null | undefined;
}>;
/** How alike people find two texts. */
export type ScoredRow = OpenRow<{ sentence1: string; sentence2: string; score: number }>;

/**
 * Of `dpo`, `orpo` and `trainReward`: a better and a worse answer, answers from best to worst (several of one rank as an array), or two
 * conversations that begin alike. A prompt that a judge of `openRanking` dismissed gives no pair.
 */
export type PairRow =
  | OpenRow<{ prompt: RowText; chosen: RowText; rejected: RowText; margin?: number | null | undefined }>
  | OpenRow<{ prompt: RowText; ranked: readonly (RowText | readonly RowText[])[] }>
  | OpenRow<{ prompt: RowText; dismissed: true }>
  | OpenRow<{ chosen: readonly RowMessage[]; rejected: readonly RowMessage[]; margin?: number | null | undefined }>;

/** Of `kto`: an answer that is good (true) or bad. */
export type KtoRow = OpenRow<{ prompt: RowText; completion: RowText; label: boolean }>;

/** Of `grpo` and `ppo`: a prompt; further fields go to the rewards. */
export type PromptRow = OpenRow<{ prompt: RowText }>;
