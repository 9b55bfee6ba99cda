import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { nearest } from "../../core/nearest-name.ts";
import { fieldsOf, gotText, type LocatedRow, rowError } from "../../data/rows.ts";
import { isAssistant } from "../../tokenizer/chat/assistant-mask.ts";
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { commonPrefix, continuationIds, promptIdsOf } from "../../tokenizer/prompt-ids.ts";

/** Methods of a tokenizer that supervised fine-tuning needs. `Tokenizer` implements them. */
export type SftTokenizer = Pick<
  Tokenizer,
  "encode" | "closingCount" | "applyChatTemplate" | "applyChatTemplateWithMask" | "eosTokenIds"
>;

/** Options for turning rows into tokens. */
export interface SftRowOptions {
  /** For conversations, and for completions of messages: whether to learn only the tokens of the assistant's answers; false: every token. */
  assistantOnlyLoss: boolean;
  /** For prompts with completions: whether to learn only the completion's tokens; false: every token. */
  completionOnlyLoss: boolean;
  /** Name or text of the chat template. Default: the tokenizer's own. */
  chatTemplate?: string | undefined;
}

/** A row as tokens, with a mask of the learned tokens. */
export interface SftExample {
  ids: Uint32Array;
  /** 1 if the loss counts the token. The first token is never counted, because it has no preceding token. */
  mask: Uint8Array;
}

/**
 * Tokenizes a row with one of these shapes:
 * `{ messages }` (a conversation, rendered by the chat template), `{ prompt, completion }` (two texts, or two arrays of messages),
 * `{ text }`.
 * @throws HeddleError `file:line: field: expected …, got …`
 */
export function sftExample(row: LocatedRow, tokenizer: SftTokenizer, options: SftRowOptions): SftExample {
  const { value } = row;
  if (Object.hasOwn(value, "messages")) return conversation(row, tokenizer, options);
  if (Object.hasOwn(value, "prompt") || Object.hasOwn(value, "completion"))
    return promptAndCompletion(row, tokenizer, options);
  if (Object.hasOwn(value, "text")) return plainText(row, tokenizer);
  throw rowError(row, "row", "messages, prompt and completion, or text", gotText(fieldsOf(row)));
}

function conversation(row: LocatedRow, tokenizer: SftTokenizer, options: SftRowOptions): SftExample {
  const messages = checkedMessages(row, "messages");
  if (options.assistantOnlyLoss && !messages.some(isAssistant))
    throw rowError(
      row,
      "messages",
      "at least one assistant message (assistantOnlyLoss: false trains on all messages)",
      gotText(rolesOf(messages)),
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
    // Returns how many tokens belong to the prompt, which is not learned. That is the common prefix, because a template
    // may add text after the last turn of the prompt.
    const shared = (addGenerationPrompt: boolean) => {
      const how = { ...template, addGenerationPrompt };
      const given = rendered(row, "prompt", options, () => tokenizer.applyChatTemplate(before, how));
      return commonPrefix(ids, given.ids);
    };
    if (options.assistantOnlyLoss) return example(ids, assistantMask.fill(0, 0, shared(false)));
    // Learn the whole completion, as TRL does: also messages of other roles and the mark-up, but not the generation prompt.
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

/** Returns an example whose first token is not learned, because no token precedes it. */
function example(ids: Uint32Array, mask: Uint8Array): SftExample {
  const counted = mask.slice();
  if (counted.length > 0) counted[0] = 0;
  return { ids, mask: counted };
}

/** Appends the end token, if the tokenizer has one. */
function closed({ eosTokenIds }: SftTokenizer, ids: Uint32Array): number[] {
  const [eos] = eosTokenIds;
  return eos === undefined ? [...ids] : [...ids, eos];
}

/** Roles that chat templates of published models use. Any other role is a mistake, which a template would render as it is. */
const ROLES = ["system", "developer", "user", "assistant", "model", "tool", "function", "ipython", "environment"];

/** Validates a row's messages: each needs a known role, and content unless it calls tools. */
export function checkedMessages(
  row: LocatedRow,
  field: string,
  given: unknown = row.value[field],
): readonly ChatMessage[] {
  if (!Array.isArray(given)) throw rowError(row, field, "an array of messages", given);
  if (given.length === 0) throw rowError(row, field, "at least one message", gotText("an empty array"));
  for (const [i, message] of given.entries()) {
    const name = `${field}[${i}]`;
    if (!isObject(message)) throw rowError(row, name, "an object with role and content", message);
    const { role, content, tool_calls: calls } = message;
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

/** Lists the roles of messages, for error messages. */
export const rolesOf = (messages: readonly ChatMessage[]) => messages.map((m) => m.role).join(", ");

/** Adds the row's location, and the option that may be at fault, to an error of the template. */
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
    throw rowError(row, field, `a conversation that ${template} accepts`, gotText(`an error: ${error.message}`));
  }
}
