// Types of the rows that a program passes as data. With them, the compiler finds a misspelt field.
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";

/** A row with these fields. It may have further fields. */
export type OpenRow<Fields> = Fields | (Fields & { readonly [field: string]: unknown });

/** A message of a row. */
export type RowMessage = ChatMessage | Pick<ChatMessage, "role" | "content">;
/** A text, or a conversation. */
export type RowText = string | readonly RowMessage[];

/** A row of `sft`: a conversation, a prompt with its completion, or a text. */
export type SftRow =
  | OpenRow<{ messages: readonly RowMessage[]; tools?: readonly unknown[] | null | undefined }>
  | OpenRow<{ prompt: RowText; completion: RowText; tools?: readonly unknown[] | null | undefined }>
  | OpenRow<{ text: string }>;

/** The name of a class (numbers and booleans are valid), or the target of a regression. */
export type RowLabel = string | number | boolean;
/** A row of `trainClassifier`: a text with its label or labels, or words with one label each. */
export type ClassifyRow =
  | OpenRow<{ text: string; label: RowLabel | readonly RowLabel[] }>
  | OpenRow<{ text: string; labels: readonly RowLabel[] }>
  | OpenRow<{ tokens: readonly string[]; labels: readonly RowLabel[] }>;

/** A row of `trainEmbedding`: matching texts, and texts that do not match. */
export type EmbedRow = OpenRow<{
  /** A text, such as a query. */
  anchor: string;
  /** A text that matches the anchor. */
  positive: string;
  /** One or several texts that do not match the anchor. */
  negative?: string | readonly string[] | null | undefined;
}>;
/** Two texts and their human similarity score. */
export type ScoredRow = OpenRow<{ sentence1: string; sentence2: string; score: number }>;

/**
 * A row of `dpo`, `orpo`, `simpo` and `trainReward`: a better and a worse answer, answers from best to worst (ties as an array), or two
 * conversations with a common beginning. Prompts that a judge of `openRanking` dismissed give no pair.
 */
export type PairRow =
  | OpenRow<{ prompt: RowText; chosen: RowText; rejected: RowText; margin?: number | null | undefined }>
  | OpenRow<{ prompt: RowText; ranked: readonly (RowText | readonly RowText[])[] }>
  | OpenRow<{ prompt: RowText; dismissed: true }>
  | OpenRow<{ chosen: readonly RowMessage[]; rejected: readonly RowMessage[]; margin?: number | null | undefined }>;

/** A row of `kto`: an answer that is good (true) or bad. */
export type KtoRow = OpenRow<{ prompt: RowText; completion: RowText; label: boolean }>;

/** A row of `grpo` and `ppo`: a prompt. Further fields are passed to the rewards. */
export type PromptRow = OpenRow<{ prompt: RowText }>;
