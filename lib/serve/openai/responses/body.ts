// The object of a response in OpenAI's Responses API.
import type { Usage } from "../../core/generate.ts";
import { seconds } from "../../core/seconds.ts";
import type { Refusal } from "../../http/http-error.ts";
import { newId } from "./items.ts";
import type { ResponseParameters } from "./schema.ts";

/** The part of a response that is known before the answer: its id, and the request's parameters, which it repeats. */
export type Head = Readonly<Record<string, unknown>> & { id: string };

/** Makes the head of a new response. @param model the model's name */
export function headOf(given: ResponseParameters, model: string): Head {
  return {
    id: newId("resp"),
    object: "response",
    created_at: seconds(),
    background: false,
    model,
    instructions: given.instructions ?? null,
    max_output_tokens: given.max_output_tokens ?? null,
    metadata: given.metadata ?? {},
    parallel_tool_calls: given.parallel_tool_calls ?? true,
    previous_response_id: given.previous_response_id ?? null,
    reasoning: { effort: given.reasoning?.effort ?? null, summary: summaryOf(given) ?? null },
    store: given.store ?? true,
    temperature: given.temperature ?? null,
    text: { ...given.text, format: given.text?.format ?? { type: "text" } },
    tool_choice: given.tool_choice ?? "auto",
    tools: given.tools ?? [],
    top_logprobs: given.top_logprobs ?? 0,
    top_p: given.top_p ?? null,
    truncation: given.truncation ?? "disabled",
  };
}

/** Returns the kind of summary that a request asks for. */
export function summaryOf({ reasoning }: ResponseParameters): string | undefined {
  return reasoning?.summary ?? reasoning?.generate_summary ?? undefined;
}

/** Fields that are set only when a response has finished. */
const UNFINISHED = { error: null, incomplete_details: null, completed_at: null, usage: null };

/** Returns the fields of a response that is being written. */
export function unfinished(): Record<string, unknown> {
  return { ...UNFINISHED, status: "in_progress" };
}

/** Returns the fields of a finished response. */
export function finished(status: "completed" | "incomplete", usage: object): Record<string, unknown> {
  return {
    ...UNFINISHED,
    status,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    completed_at: status === "completed" ? seconds() : null,
    usage,
  };
}

/** Returns the fields of a failed response. Its codes are those of OpenAI's API. */
export function failed({ status, message }: Refusal): Record<string, unknown> {
  const code = status === 429 ? "rate_limit_exceeded" : status < 500 ? "invalid_prompt" : "server_error";
  return { ...UNFINISHED, status: "failed", error: { code, message } };
}

/** Formats the token counts of a response. */
export function usageBody({ promptTokens, cachedTokens, completionTokens }: Usage, reasoningTokens: number): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: promptTokens + completionTokens,
  };
}
