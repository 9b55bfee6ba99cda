// Tool choice: whether and which tool an answer calls, and the resulting response format.
import { TOOL_CALL, type ToolCallsFormat } from "../../constrain/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";

/**
 * Tool choice as in OpenAI's API. `"auto"` (default) leaves it to the model. `"none"` hides the tools. `"required"` forces a call of any
 * tool, and the last form a call of the named tool.
 */
export type ToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

/** Whether one of the model's templates writes calls as `<tool_call>…</tool_call>`. */
export function writesToolCalls(tokenizer: Tokenizer | undefined): boolean {
  return Object.values(tokenizer?.config.chatTemplates ?? {}).some((template) => template?.includes(TOOL_CALL.open));
}

/**
 * Whether a template writes calls as `{"name": …, "arguments": …}`.
 * @param template a name or a text. Default: the tokenizer's template
 */
function writesCallsAsJson({ config: { chatTemplates } }: Tokenizer, template: string | undefined): boolean {
  const used =
    template === undefined
      ? Object.values(chatTemplates)
      : [Object.hasOwn(chatTemplates, template) ? chatTemplates[template] : template];
  return used.some(
    (text) => text?.includes(TOOL_CALL.open) && text.includes("arguments") && !/<function=|<arg_key>/.test(text),
  );
}

/** Checks a tool choice. @throws HeddleError INVALID_ARGUMENT unless it is one */
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
 * Returns the response format of an answer that must be a call, or undefined if the choice is the model's.
 * @param of.template the conversation's template, if it has one
 * @throws HeddleError INVALID_ARGUMENT for an unknown tool, UNSUPPORTED if the model's template writes calls in another form
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
    throw new HeddleError("INVALID_ARGUMENT", "toolChoice: expected tools for a required tool call, got none");
  if (!writesCallsAsJson(tokenizer, template))
    throw new HeddleError(
      "UNSUPPORTED",
      `toolChoice: expected a chat template that writes ${TOOL_CALL.open}{"name": …, "arguments": …}${TOOL_CALL.close} for a required call, got another`,
    );
  return choice === "required"
    ? { type: "tool_calls", tools, parallel }
    : { type: "tool_calls", tools, name: choice.function.name };
}

/** Returns the tokens that begin a call, which are forbidden if no call is allowed. */
export function callTokens(tokenizer: Tokenizer | undefined): number[] {
  return (tokenizer?.addedTokens ?? []).filter(({ content }) => content === TOOL_CALL.open).map(({ id }) => id);
}
