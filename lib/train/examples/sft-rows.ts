import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import { fieldsOf, type LocatedRow, rowError, said } from "../../data/rows.ts";
import { isAssistant } from "../../tokenizer/chat/assistant-mask.ts";
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { commonPrefix, continuationIds, promptIdsOf } from "../../tokenizer/prompt-ids.ts";

/** What a tokenizer must do for supervised fine-tuning: `Tokenizer` does it. */
export type SftTokenizer = Pick<
  Tokenizer,
  "encode" | "closingCount" | "applyChatTemplate" | "applyChatTemplateWithMask" | "eosTokenIds"
>;

export interface SftRowOptions {
  /** Of conversations, and of completions of messages, count the tokens of the assistant's answers alone; false: every token. */
  assistantOnlyLoss: boolean;
  /** Of prompts with completions, count the completion's tokens alone; false: every token. */
  completionOnlyLoss: boolean;
  /** Name or text of the chat template; the tokenizer's own where not given. */
  chatTemplate?: string | undefined;
}

/** A row as tokens: which of them are learned from those before. */
export interface SftExample {
  ids: Uint32Array;
  /** 1 where the loss counts the token. The first token is never counted: nothing comes before it. */
  mask: Uint8Array;
}

/**
 * A row as tokens. Of one of these shapes:
 * `{ messages }` (a conversation, rendered by the chat template), `{ prompt, completion }` (two texts, or two arrays of messages), `{ text }`.
 * @throws HeddleError `file:line: field: expected …, got …`
 */
export function sftExample(row: LocatedRow, tokenizer: SftTokenizer, options: SftRowOptions): SftExample {
  const { value } = row;
  if (Object.hasOwn(value, "messages")) return conversation(row, tokenizer, options);
  if (Object.hasOwn(value, "prompt") || Object.hasOwn(value, "completion"))
    return promptAndCompletion(row, tokenizer, options);
  if (Object.hasOwn(value, "text")) return plainText(row, tokenizer);
  throw rowError(row, "row", "messages, prompt and completion, or text", said(fieldsOf(row)));
}

function conversation(row: LocatedRow, tokenizer: SftTokenizer, options: SftRowOptions): SftExample {
  const messages = checkedMessages(row, "messages");
  if (options.assistantOnlyLoss && !messages.some(isAssistant))
    throw rowError(
      row,
      "messages",
      "at least one of the assistant's (assistantOnlyLoss: false learns from all)",
      said(rolesOf(messages)),
    );
  const template = templateOptions(row, options);
  const { ids, assistantMask } = rendered(row, "messages", options, () =>
    tokenizer.applyChatTemplateWithMask(messages, template),
  );
  return options.assistantOnlyLoss ? example(ids, assistantMask) : example(ids, new Uint8Array(ids.length).fill(1));
}

function promptAndCompletion(row: LocatedRow, tokenizer: SftTokenizer, options: SftRowOptions): SftExample {
  const { prompt, completion } = row.value;
  if (Array.isArray(prompt) || Array.isArray(completion)) {
    const before = checkedMessages(row, "prompt");
    const after = checkedMessages(row, "completion");
    const template = templateOptions(row, options);
    const { ids, assistantMask } = rendered(row, "completion", options, () =>
      tokenizer.applyChatTemplateWithMask([...before, ...after], template),
    );
    if (!options.completionOnlyLoss) return example(ids, new Uint8Array(ids.length).fill(1));
    // Answers that belong to the prompt are given, not learned. A template may end a conversation with more than its last turn.
    const shared = (addGenerationPrompt: boolean) => {
      const how = { ...template, addGenerationPrompt };
      const given = rendered(row, "prompt", options, () => tokenizer.applyChatTemplate(before, how));
      return commonPrefix(ids, given.ids);
    };
    if (options.assistantOnlyLoss) return example(ids, assistantMask.fill(0, 0, shared(false)));
    // The whole completion, as with TRL: messages of others in it too, and its mark-up but for what asks for the answer.
    return example(ids, new Uint8Array(ids.length).fill(1, Math.max(shared(false), shared(true))));
  }
  if (typeof prompt !== "string") throw rowError(row, "prompt", "a text, or an array of messages", prompt);
  if (typeof completion !== "string") throw rowError(row, "completion", "a text, or an array of messages", completion);
  if (completion.trim() === "") throw rowError(row, "completion", "a text that is not empty", completion);
  const before = promptIdsOf(tokenizer, prompt);
  const after = closed(tokenizer, continuationIds(tokenizer, { text: prompt, ids: before }, completion));
  const ids = Uint32Array.from([...before, ...after]);
  const mask = new Uint8Array(ids.length).fill(1);
  if (options.completionOnlyLoss) mask.fill(0, 0, before.length);
  return example(ids, mask);
}

function plainText(row: LocatedRow, tokenizer: SftTokenizer): SftExample {
  const { text } = row.value;
  if (typeof text !== "string") throw rowError(row, "text", "a text", text);
  if (text.trim() === "") throw rowError(row, "text", "a text that is not empty", text);
  const ids = closed(tokenizer, promptIdsOf(tokenizer, text));
  return example(Uint32Array.from(ids), new Uint8Array(ids.length).fill(1));
}

function example(ids: Uint32Array, mask: Uint8Array): SftExample {
  const counted = mask.slice();
  if (counted.length > 0) counted[0] = 0;
  return { ids, mask: counted };
}

function closed({ eosTokenIds }: SftTokenizer, ids: Uint32Array): number[] {
  const [eos] = eosTokenIds;
  return eos === undefined ? [...ids] : [...ids, eos];
}

/** Roles that chat templates of published models know; another one is a slip, which a template would render as it is. */
const ROLES = ["system", "developer", "user", "assistant", "model", "tool", "function", "ipython", "environment"];

/** A row's messages: each with a role that is known, and with content unless it calls tools. */
export function checkedMessages(
  row: LocatedRow,
  field: string,
  given: unknown = row.value[field],
): readonly ChatMessage[] {
  if (!Array.isArray(given)) throw rowError(row, field, "an array of messages", given);
  if (given.length === 0) throw rowError(row, field, "at least one message", said("an empty array"));
  for (const [i, message] of given.entries()) {
    const name = `${field}[${i}]`;
    if (typeof message !== "object" || message === null || Array.isArray(message))
      throw rowError(row, name, "an object with role and content", message);
    const { role, content, tool_calls: calls } = message as Record<string, unknown>;
    if (typeof role !== "string" || role === "") throw rowError(row, `${name}.role`, "a role such as user", role);
    if (!ROLES.includes(role))
      throw rowError(row, `${name}.role`, nearest(role, ROLES) ?? `one of ${ROLES.join(", ")}`, role);
    const hasCalls = Array.isArray(calls) && calls.length > 0;
    const empty =
      content === undefined || content === null || content === "" || (Array.isArray(content) && !content.length);
    if (empty && isAssistant({ role }) && !hasCalls)
      throw rowError(row, `${name}.content`, "an answer that is not empty", content);
    if ((content === undefined || content === null) && !hasCalls)
      throw rowError(row, `${name}.content`, "a text", content);
    if (!empty && typeof content !== "string" && !Array.isArray(content))
      throw rowError(row, `${name}.content`, "a text", content);
  }
  return given as ChatMessage[];
}

function templateOptions(row: LocatedRow, { chatTemplate }: SftRowOptions) {
  const { tools } = row.value;
  if (tools !== undefined && tools !== null && !Array.isArray(tools)) throw rowError(row, "tools", "an array", tools);
  return {
    ...(Array.isArray(tools) && { tools }),
    ...(chatTemplate !== undefined && { template: chatTemplate }),
  };
}

/** Roles of messages, for messages. */
export const rolesOf = (messages: readonly ChatMessage[]) => messages.map((m) => m.role).join(", ");

/** What a template says against a row, with the row's place and the option that may be at fault instead. */
export function rendered<T>(
  row: LocatedRow,
  field: string,
  { chatTemplate }: { chatTemplate?: string | undefined },
  render: () => T,
): T {
  try {
    return render();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    if (error.code === "NOT_FOUND")
      throw invalidArgument("chatTemplate", "a template, or the name of one that the tokenizer has", chatTemplate);
    const template = chatTemplate === undefined ? "the chat template" : "chatTemplate";
    throw rowError(row, field, `a conversation that ${template} takes`, said(error.message));
  }
}
