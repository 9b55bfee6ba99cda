// Reads the tools of a request: which ones the model sees, whether it must call one, and how its answer is split into parts.

import { formatType, type ToolCallsFormat } from "../../constrain/index.ts";
import { isObject } from "../../core/is-object.ts";
import { AnswerForm, jsonFormat } from "../../language-model/chat/answer-format.ts";
import { checkedToolChoice } from "../../language-model/chat/tool-choice.ts";
import type { GenerateOptions, LanguageModel, LogitProcessor } from "../../language-model/index.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import type { Reading } from "./answer.ts";

interface Given {
  tools?: unknown[] | undefined;
  toolChoice?: unknown;
  parallelToolCalls?: boolean | undefined;
  variables?: Readonly<Record<string, unknown>> | undefined;
  maxReasoningTokens?: number | undefined;
  options: GenerateOptions;
}

/** Whether a value is the definition of a function, as OpenAI and Ollama write it. */
export function isTool(value: unknown): boolean {
  if (!isObject(value) || (value.type !== undefined && value.type !== "function")) return false;
  return isObject(value.function) && typeof value.function.name === "string" && value.function.name !== "";
}

/** The tools of a request, and the generation options that they need. */
interface ToolUse {
  /** Tools that the template gets. */
  tools: unknown[] | undefined;
  options: Pick<GenerateOptions, "logitBias" | "visibleTokens">;
  /**
   * Returns the answer's format for a prompt: a required call, or a choice between a call and the response format.
   * Undefined if the answer needs neither. @throws HeddleError UNSUPPORTED
   */
  callFormat: ((prompt: readonly number[]) => ToolCallsFormat | undefined) | undefined;
  /** Returns the processor of logits that ends the reasoning when its budget is spent. Undefined without a budget. */
  reasoningLimit: ((prompt: readonly number[]) => LogitProcessor | undefined) | undefined;
  /** How the answer is read. Undefined if it is plain text. */
  reading: Reading | undefined;
}

/** Returns the form of a request's answers. The template sees no tools if none may be called. */
export function answerFormOf(
  model: LanguageModel,
  { tools, toolChoice, variables }: Pick<Given, "tools" | "toolChoice" | "variables"> = {},
): AnswerForm {
  return new AnswerForm(model, { tools: toolChoice === "none" ? undefined : tools, variables });
}

/** Reads the tool parameters of a request. @throws Refusal 400; HeddleError for invalid or unsupported tools */
export function toolUse(
  {
    tools,
    toolChoice: given,
    parallelToolCalls: parallel,
    variables,
    maxReasoningTokens: mostReasoning,
    options: { logitBias: bias, responseFormat },
  }: Given,
  model: LanguageModel,
): ToolUse {
  if (isObject(given) && given.type !== "function") throw unsupported("tool_choice.type", "expected function");
  const choice = checkedToolChoice(given);
  const hasTools = tools !== undefined && tools.length > 0;
  const isRequired = choice !== "auto" && choice !== "none";
  if (isRequired && !hasTools) throw invalid("tools", "at least one for a required tool call", tools);
  const named = typeof choice === "object";
  if (named && !tools!.some((tool) => (tool as { function: { name: string } }).function.name === choice.function.name))
    throw invalid("tool_choice.function.name", "the name of one of the tools", choice.function.name);
  const seen = hasTools && choice !== "none" ? tools : undefined;
  const form = answerFormOf(model, { tools: seen, variables });
  // Earlier calls in the conversation may suggest another call, so forbid the tokens of calls.
  const forbidden = hasTools && choice === "none" ? new AnswerForm(model, { tools, variables }).callTokens : [];
  const logitBias = { ...bias, ...Object.fromEntries(forbidden.map((id) => [id, Number.NEGATIVE_INFINITY])) };
  const formatted = formatType(responseFormat);
  const isFormatted = formatted !== "text";
  if (isRequired && isFormatted)
    throw invalid("response_format", "no format together with a required tool call", formatted);
  // With "auto" the model chooses between a call and the response format. Any other formatted answer has neither reasoning nor calls.
  const otherwise = choice === "auto" && form.hasCalls ? jsonFormat(responseFormat) : undefined;
  const isPlain = isFormatted ? !otherwise : !(form.hasCalls || form.hasReasoning);
  const visible = isPlain ? [] : form.visibleTokens;
  const maxCalls = parallel === false ? 1 : undefined;
  return {
    tools: seen,
    options: {
      ...(forbidden.length > 0 && { logitBias }),
      ...(visible.length > 0 && { visibleTokens: visible }),
    },
    callFormat:
      isRequired || otherwise ? (prompt) => form.callFormat(choice, { parallel, prompt, otherwise }) : undefined,
    reasoningLimit:
      isPlain || mostReasoning === undefined
        ? undefined
        : (prompt) => form.reasoningLimit({ maxTokens: mostReasoning, prompt }),
    reading: isPlain
      ? undefined
      : { parser: (prompt) => form.parser({ prompt, maxCalls, isCallOrJson: otherwise !== undefined }), named },
  };
}
