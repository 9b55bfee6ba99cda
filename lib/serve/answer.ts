// The parts of an answer, choice by choice, in the order in which they become final. Streamed and whole answers are both built from them.

import type { PromptScores } from "../inference/prompt-scores.ts";
import type { Piece } from "../inference/sequence.ts";
import type { Scheduled } from "../inference/shared-scheduler.ts";
import { type Parsed, type ToolCall, ToolCallParser } from "../language-model/chat/tool-calls.ts";

/** The next part of a choice. */
export interface Delta {
  text: string;
  calls: ToolCall[];
  /** The tokens, except one that ends the answer. */
  tokens: readonly Piece[];
  /** Scores of the prompt's tokens, if requested. Only the first part has them. */
  scores?: PromptScores;
  finishReason?: "stop" | "length" | "tool_calls";
}

/** How tool calls are parsed. */
export interface Calls {
  /** Whether the answer ends after the first call. */
  single: boolean;
  /** Whether the request names the function to call. The finish reason is then "stop". */
  named: boolean;
}

/** Yields the parts of a sequence until it ends. Leaving the loop early ends the sequence. */
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
  // The stream ended without a last piece. If the sequence has a finish reason, the request asked for no tokens. Otherwise the sequence was
  // ended from outside, and nothing is yielded.
  if (sequence.finishReason)
    yield { text: "", calls: [], tokens: [], ...(scores && { scores }), finishReason: sequence.finishReason };
}

/** Returns the finish reason after a tool call. As in OpenAI's API it is "stop" if the request names the function. */
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
