// Whether, and which, tool an answer calls: the form that this gives the answer.
import { TOOL_CALL, type ToolCallsFormat } from "../../constrain/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";

/**
 * As OpenAI has it. `"auto"` (the default): as the model likes; `"none"`: it is told of no tool; `"required"`: the answer is a call of one
 * of the tools; the last form: a call of that one.
 */
export type ToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

/** Whether a template of the model's writes calls as `<tool_call>…</tool_call>`. */
export function writesToolCalls(tokenizer: Tokenizer | undefined): boolean {
  return Object.values(tokenizer?.config.chatTemplates ?? {}).some((template) => template?.includes(TOOL_CALL.open));
}

/** Whether what a template writes in them is `{"name": …, "arguments": …}`. @param template a name or a text; else the tokenizer's own */
function writesCallsAsJson({ config: { chatTemplates } }: Tokenizer, template: string | undefined): boolean {
  const used =
    template === undefined
      ? Object.values(chatTemplates)
      : [Object.hasOwn(chatTemplates, template) ? chatTemplates[template] : template];
  return used.some(
    (text) => text?.includes(TOOL_CALL.open) && text.includes("arguments") && !/<function=|<arg_key>/.test(text),
  );
}

/** @throws HeddleError INVALID_ARGUMENT for what is no choice */
export function checkedToolChoice(choice: unknown): ToolChoice {
  if (choice === undefined) return "auto";
  if (choice === "none" || choice === "auto" || choice === "required") return choice;
  const { type, function: called } = (choice ?? {}) as { type?: unknown; function?: { name?: unknown } | null };
  if (type !== "function" || typeof called?.name !== "string" || called.name === "")
    throw invalidArgument(
      "toolChoice",
      '"none", "auto", "required" or { type: "function", function: { name } }',
      choice,
    );
  return { type, function: { name: called.name } };
}

/**
 * The form of an answer that has to be a call; undefined where the choice is the model's.
 * @param of.template the conversation's own, where it has one
 * @throws HeddleError INVALID_ARGUMENT where there is no such tool, UNSUPPORTED where the model's template writes calls otherwise
 */
export function toolCallFormat(
  choice: ToolChoice,
  of: {
    tokenizer: Tokenizer;
    tools?: readonly unknown[] | undefined;
    template?: string | undefined;
    parallel?: boolean;
  },
): ToolCallsFormat | undefined {
  if (choice === "none" || choice === "auto") return undefined;
  const { tokenizer, tools = [], template, parallel } = of;
  if (tools.length === 0)
    throw new HeddleError("INVALID_ARGUMENT", "toolChoice: expected tools beside a call that is required, got none");
  if (!writesCallsAsJson(tokenizer, template))
    throw new HeddleError(
      "UNSUPPORTED",
      `toolChoice: a call can be required of models whose chat template writes ${TOOL_CALL.open}{"name": …, "arguments": …}${TOOL_CALL.close}, and this one's does not`,
    );
  return choice === "required"
    ? { type: "tool_calls", tools, parallel }
    : { type: "tool_calls", tools, name: choice.function.name };
}

/** Tokens that begin a call, which are taken away where none is to be made. */
export function callTokens(tokenizer: Tokenizer | undefined): number[] {
  return (tokenizer?.addedTokens ?? []).filter(({ content }) => content === TOOL_CALL.open).map(({ id }) => id);
}
