// The decided part of an answer, choice by choice. Streamed and whole answers take the same steps.

import type { PromptScores } from "../inference/prompt-scores.ts";
import type { Piece } from "../inference/sequence.ts";
import type { Scheduled } from "../inference/shared-scheduler.ts";
import { type Parsed, type ToolCall, ToolCallParser } from "../language-model/chat/tool-calls.ts";

/** More of a choice. */
export interface Delta {
  text: string;
  calls: ToolCall[];
  /** The tokens, but for the one that ends the answer. */
  tokens: readonly Piece[];
  /** With the first one: scores of the prompt's tokens, if requested. */
  scores?: PromptScores;
  finishReason?: "stop" | "length" | "tool_calls";
}

/** How calls of tools are looked for. */
export interface Calls {
  /** Whether the answer ends with the first. */
  single: boolean;
  /** Whether the function was named by the request: such a call's answer ends as others do. */
  named: boolean;
}

/** Reads a sequence to its end; whoever stops reading ends it. */
export async function* deltas(
  { sequence, stream }: Scheduled,
  calls: Calls | undefined,
): AsyncGenerator<Delta, void, undefined> {
  const parser = calls && new ToolCallParser(calls.single ? 1 : undefined);
  const { stopTokens } = sequence.options;
  let { scores } = sequence;
  for await (const pieces of stream) {
    const text = pieces.map((piece) => piece.text).join("");
    const { finishReason } = pieces.at(-1)!;
    const parsed = parser?.push(text) ?? { text, calls: [] };
    if (parser?.ended) {
      yield { ...parsed, tokens: pieces, finishReason: calledReason(calls) };
      return;
    }
    if (finishReason && parser) append(parsed, parser.flush());
    const ended = finishReason === "stop" && stopTokens.has(pieces.at(-1)!.token);
    yield {
      ...parsed,
      tokens: ended ? pieces.slice(0, -1) : pieces,
      ...(scores && { scores }),
      ...(finishReason && {
        finishReason: finishReason === "stop" && parser?.count ? calledReason(calls) : finishReason,
      }),
    };
    scores = undefined;
    if (finishReason) return;
  }
  // No token was wanted; or the reading was ended from elsewhere, and nothing is certain.
  if (sequence.finishReason)
    yield { text: "", calls: [], tokens: [], ...(scores && { scores }), finishReason: sequence.finishReason };
}

/** As OpenAI says it: a named function's call is what was asked for, and no reason to stop. */
function calledReason(calls: Calls | undefined): "stop" | "tool_calls" {
  return calls?.named ? "stop" : "tool_calls";
}

function append(to: Parsed, more: Parsed): void {
  to.text += more.text;
  to.calls.push(...more.calls);
}

export interface UsageBody {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** Usage of all choices. A prompt counts once, however many answers it has. */
export function usageOf(all: readonly Scheduled[], n: number): UsageBody {
  let [prompt, cached, completion] = [0, 0, 0];
  for (const [i, { sequence }] of all.entries()) {
    completion += sequence.generated;
    if (i % n !== 0) continue;
    prompt += sequence.promptLength;
    cached += sequence.cachedTokens;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}
