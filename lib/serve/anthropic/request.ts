// Converts requests of Anthropic's API to those of the core.
import { isObject } from "../../core/is-object.ts";
import type { AnswerForm } from "../../language-model/chat/answer-format.ts";
import type { GenerateOptions, LanguageModel } from "../../language-model/index.ts";
import type { ChatRequest } from "../core/chat.ts";
import type { Exchange } from "../core/context.ts";
import { withPrefill } from "../core/prefill.ts";
import { runSliced } from "../core/sliced-work.ts";
import { answerFormOf } from "../core/tool-use.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import { convertedConversation } from "./conversation.ts";
import type { Conversation } from "./schema.ts";

/** Converts a conversation, its tools and its reasoning parameters. @throws Refusal 400 */
export async function chatRequest(
  exchange: Exchange,
  model: LanguageModel,
  given: Conversation,
  options: GenerateOptions,
): Promise<ChatRequest> {
  const { system, messages: said, output_config: output } = given;
  if (said.length === 0) throw invalid("messages", "an array of at least one message", said);
  const tools = given.tools?.map((tool, i) => toolOf(tool, `tools[${i}]`));
  const converted = await runSliced(exchange, [system, said], () => convertedConversation(system, said));
  const choice = toolChoice(given.tool_choice, tools);
  const form = answerFormOf(model, { tools, toolChoice: choice.toolChoice });
  const thinks = given.thinking?.type === "enabled" || given.thinking?.type === "adaptive" || form.alwaysReasons;
  const variables = variablesOf(form, given);
  const { messages, prefill } = withPrefill(converted, thinks);
  return {
    messages: [...messages],
    prefill,
    tools,
    ...choice,
    variables,
    maxReasoningTokens: given.thinking?.type === "enabled" ? given.thinking.budget_tokens : undefined,
    options: {
      ...options,
      ...(output?.format && { responseFormat: { type: "json_schema", schema: output.format.schema } }),
    },
  };
}

/** A tool in the form of OpenAI's chat completions. */
interface Tool {
  type: "function";
  function: { name: string; description?: string; parameters: object };
}

function toolOf(tool: unknown, at: string): Tool {
  if (!isObject(tool)) throw invalid(at, "an object with name and input_schema", tool);
  // Anthropic's schema allows null for the type, but not for the description.
  const { type = "custom", name, description, input_schema: schema } = tool;
  if (type !== "custom" && type !== null)
    throw typeof type === "string"
      ? unsupported(
          `${at}.type`,
          `${type.slice(0, 60)} is not supported: the server runs no tools, so pass a tool with input_schema`,
        )
      : invalid(`${at}.type`, "custom", type);
  if (tool.defer_loading === true) throw unsupported(`${at}.defer_loading`, "is not supported");
  if (typeof name !== "string" || name === "") throw invalid(`${at}.name`, "a text", name);
  if (!isObject(schema)) throw invalid(`${at}.input_schema`, "an object", schema);
  if (description !== undefined && typeof description !== "string")
    throw invalid(`${at}.description`, "a text", description);
  return {
    type: "function",
    function: { name, ...(description !== undefined && { description }), parameters: schema },
  };
}

function toolChoice(
  choice: Conversation["tool_choice"],
  tools: readonly Tool[] = [],
): Pick<ChatRequest, "toolChoice" | "parallelToolCalls"> {
  if (!choice) return {};
  const { type, name, disable_parallel_tool_use: single } = choice;
  const parallelToolCalls = single !== true;
  switch (type) {
    case "any":
      return { toolChoice: "required", parallelToolCalls };
    case "tool":
      if (name === undefined || !tools.some((tool) => tool.function.name === name))
        throw invalid("tool_choice.name", "the name of one of the tools", name);
      return { toolChoice: { type: "function", function: { name } }, parallelToolCalls };
    default:
      return { toolChoice: type, parallelToolCalls };
  }
}

/** Returns the variables of the chat template. As in Anthropic's API, a model reasons only if the request asks for it. */
function variablesOf(form: AnswerForm, { thinking, output_config: output }: Conversation): Record<string, unknown> {
  const effort = output?.effort === "max" ? "xhigh" : (output?.effort ?? undefined);
  switch (thinking?.type) {
    case undefined:
      return { ...(form.alwaysReasons ? {} : form.switchVariables(false)), ...form.levelVariables(effort) };
    case "adaptive":
      return form.levelVariables(effort);
    case "disabled":
      return form.switchVariables(false);
    case "enabled":
      if (thinking.budget_tokens === undefined)
        throw invalid("thinking.budget_tokens", "a whole number of at least 1", undefined);
      return form.switchVariables(true, { effort, budget: thinking.budget_tokens });
  }
}
