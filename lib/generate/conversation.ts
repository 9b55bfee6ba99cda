import { withoutTokenizer } from "../errors.ts";
import type { LanguageModel } from "./language-model.ts";

export type ChatMessage = {
  role: "system" | "user" | "assistant";
  content: string;
};

/**
 * Ids that a model sees of a conversation before it answers: its chat template's, or a base model's transcript.
 * @param fit drops the oldest turns (never the system's) so that this many tokens stay free for the answer
 */
export function conversationPrompt(
  { tokenizer, contextLength }: LanguageModel,
  messages: readonly ChatMessage[],
  fit?: { reserve: number },
): number[] {
  if (!tokenizer) throw withoutTokenizer("chat");
  if (!tokenizer.hasChatTemplate) return Array.from(tokenizer.encode(transcript(messages)));
  const options = { addGenerationPrompt: true };
  const kept = fit ? tokenizer.fit(messages, { ...options, contextLength, ...fit }).messages : messages;
  return Array.from(tokenizer.applyChatTemplate(kept, options).ids);
}

/**
 * What a base model continues: the texts of all messages, each question on a new line and its answer right behind it.
 */
export function transcript(messages: readonly ChatMessage[]): string {
  let text = "";
  for (const { role, content } of messages) text += role !== "assistant" && text !== "" ? `\n${content}` : content;
  return text;
}
