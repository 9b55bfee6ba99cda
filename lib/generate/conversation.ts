import type { LanguageModel } from "./language-model.ts";

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** Ids that a model sees of a conversation before it answers. */
export function conversationPrompt(languageModel: LanguageModel, messages: readonly ChatMessage[]): number[] {
  return Array.from(languageModel.tokenizer!.encode(transcript(messages)));
}

/**
 * What a base model continues: the texts of all messages, each question on a new line and its answer right behind it.
 */
export function transcript(messages: readonly ChatMessage[]): string {
  let text = "";
  for (const { role, content } of messages) text += role !== "assistant" && text !== "" ? `\n${content}` : content;
  return text;
}
