import { gotText, type LocatedRow, rowError } from "../../data/rows.ts";
import { isAssistant } from "../../tokenizer/chat/assistant-mask.ts";
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { commonPrefix, continuationIds, promptIdsOf } from "../../tokenizer/prompt-ids.ts";
import { checkedMessages, rendered, rolesOf } from "../examples/sft-rows.ts";
import { type AnsweredPrompt, joined } from "./sequences.ts";

/** Methods of a tokenizer that preference training needs. `Tokenizer` implements them. */
type PreferenceTokenizer = Pick<Tokenizer, "encode" | "closingCount" | "applyChatTemplate" | "eosTokenIds">;

/** A prompt as given in a row, and as ids. A conversation's ids end where the assistant's answer begins. */
export interface EncodedPrompt {
  readonly given: string | readonly ChatMessage[];
  readonly ids: readonly number[];
}

/** Encodes prompts and answers of rows as ids, by the rules of supervised fine-tuning. */
export class RowEncoder {
  private readonly tokenizer: PreferenceTokenizer;
  private readonly template: { template?: string };

  constructor(tokenizer: PreferenceTokenizer, { chatTemplate }: { chatTemplate?: string | undefined } = {}) {
    this.tokenizer = tokenizer;
    this.template = chatTemplate === undefined ? {} : { template: chatTemplate };
  }

  /** Encodes the prompt of a row: a text, or an array of messages. */
  prompt(row: LocatedRow, given: unknown = row.value.prompt): EncodedPrompt {
    if (Array.isArray(given)) {
      const messages = checkedMessages(row, "prompt", given);
      return { given: messages, ids: Array.from(this.rendered(row, "prompt", messages, true)) };
    }
    if (typeof given !== "string") throw rowError(row, "prompt", "a text, or an array of messages", given);
    const ids = Array.from(promptIdsOf(this.tokenizer, given));
    if (ids.length === 0) throw rowError(row, "prompt", "a text that is not empty", given);
    return { given, ids };
  }

  /** Encodes a prompt and one answer to it: a text, or messages after a conversation. An answer ends with the end token. */
  answer(row: LocatedRow, prompt: EncodedPrompt, field: string, given: unknown): AnsweredPrompt {
    if (typeof prompt.given !== "string") return this.reply(row, prompt, field, given);
    if (typeof given !== "string") throw rowError(row, field, "a text, like the prompt", given);
    if (given.trim() === "") throw rowError(row, field, "a text that is not empty", given);
    const ids = continuationIds(this.tokenizer, { text: prompt.given, ids: prompt.ids }, given);
    const [eos] = this.tokenizer.eosTokenIds;
    // A tokenizer may drop characters, such as zero-width spaces. The mean over an answer without tokens would be NaN.
    if (ids.length === 0 && eos === undefined) throw rowError(row, field, "a text of at least one token", given);
    return joined(prompt.ids, eos === undefined ? [...ids] : [...ids, eos]);
  }

  private reply(row: LocatedRow, prompt: EncodedPrompt, field: string, given: unknown): AnsweredPrompt {
    const messages = typeof given === "string" ? [{ role: "assistant", content: given }] : given;
    const after = checkedMessages(row, field, messages);
    if (!after.some(isAssistant)) throw rowError(row, field, "an assistant message", gotText(rolesOf(after)));
    const ids = this.rendered(row, field, [...(prompt.given as readonly ChatMessage[]), ...after], false);
    const shared = commonPrefix(ids, prompt.ids);
    if (shared === 0 || shared === ids.length)
      throw rowError(row, field, "an answer that the chat template shows after the prompt", given);
    // Leave out the template's text after the answer's end, which the model does not choose.
    const end = ids.findLastIndex((id) => this.tokenizer.eosTokenIds.includes(id));
    return { ids: Int32Array.from(ids.slice(0, end > shared ? end + 1 : ids.length)), promptLength: shared };
  }

  private rendered(row: LocatedRow, field: string, messages: readonly ChatMessage[], addGenerationPrompt: boolean) {
    const chatTemplate = this.template.template;
    const options = { ...this.template, addGenerationPrompt };
    return rendered(row, field, { chatTemplate }, () => this.tokenizer.applyChatTemplate(messages, options).ids);
  }
}
