// Reads the tools of a request: which ones the model sees, whether it must call one, and how calls are parsed.

import { isObject } from "../core/is-object.ts";
import { callTokens, checkedToolChoice, toolCallFormat, writesToolCalls } from "../language-model/chat/tool-choice.ts";
import type { GenerateOptions, LanguageModel } from "../language-model/index.ts";
import type { Calls } from "./answer.ts";
import { invalid, unsupported } from "./http-error.ts";

interface Given {
  tools?: unknown[] | undefined;
  tool_choice?: unknown;
  parallel_tool_calls?: boolean | undefined;
  logit_bias?: Readonly<Record<string, number>> | undefined;
}

/** The tools of a request, and the generation options that they need. */
export interface ToolUse {
  /** Tools that the template gets. */
  tools: unknown[] | undefined;
  options: Pick<GenerateOptions, "responseFormat" | "logitBias">;
  calls: Calls | undefined;
}

/** Reads the tool parameters of a request. @throws Refusal 400; HeddleError for invalid or unsupported tools */
export function toolUse(
  { tools, tool_choice: given, parallel_tool_calls: parallel, logit_bias: bias }: Given,
  model: LanguageModel,
): ToolUse {
  const { tokenizer } = model;
  if (isObject(given) && given.type !== "function") throw unsupported("tool_choice.type", "expected function");
  const choice = checkedToolChoice(given);
  const hasTools = tools !== undefined && tools.length > 0;
  if (choice === "none") {
    // Earlier calls in the conversation may suggest another call, so forbid the tokens of calls.
    const forbidden = hasTools ? callTokens(tokenizer).map((id) => [id, Number.NEGATIVE_INFINITY]) : [];
    const logitBias = { ...bias, ...Object.fromEntries(forbidden) };
    return { tools: undefined, options: forbidden.length > 0 ? { logitBias } : {}, calls: undefined };
  }
  if (choice !== "auto" && !hasTools) throw invalid("tools", "at least one for a required tool call", tools);
  const named = typeof choice === "object";
  if (named && !tools!.some((tool) => (tool as { function: { name: string } }).function.name === choice.function.name))
    throw invalid("tool_choice.function.name", "the name of one of the tools", choice.function.name);
  const responseFormat =
    choice === "auto" || !tokenizer
      ? undefined
      : toolCallFormat(choice, { tokenizer, tools, parallel: parallel === true });
  return {
    tools: hasTools ? tools : undefined,
    options: responseFormat ? { responseFormat } : {},
    calls: hasTools && writesToolCalls(tokenizer) ? { single: parallel === false, named } : undefined,
  };
}
