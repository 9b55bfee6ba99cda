// The parts of an answer, in the order in which they become final. Streamed and whole answers are both built from them.

import type { AnswerParser, AnswerPart } from "../../answers/parts.ts";
import type { PromptScores } from "../../inference/prompt-scores.ts";
import type { Piece } from "../../inference/sequence.ts";
import type { Scheduled } from "../../inference/shared-scheduler.ts";

/** The next part of an answer. */
export interface Delta extends AnswerPart {
  /** The tokens, without the stop token that ends the answer. */
  tokens: readonly Piece[];
  /** Scores of the prompt's tokens, if requested. Only the first part has them. */
  scores?: PromptScores;
  /** Why the answer ended. Only the last part has it. */
  finishReason?: "stop" | "length" | "tool_calls";
  /** The one of the request's stop texts that ended the answer. Only the last part has it. */
  stopText?: string;
  /** Number of tokens up to the last allowed call, if that call ended the answer. The model may have generated more. Last part only. */
  length?: number;
}

/** How an answer's text is read. */
export interface Reading {
  /** Makes the parser of an answer to a prompt. */
  parser(prompt: readonly number[]): AnswerParser | undefined;
  /** Whether the request names the function to call. The finish reason is then "stop". */
  named: boolean;
}

/** The first tokens of an answer, if the request gives them. They are the end of the prompt, and are sent as the first part of the answer. */
export interface Begun {
  /** Number of these tokens. */
  tokens: number;
  text: string;
}

/** Yields the parts of a sequence until it ends. Leaving the loop early ends the sequence. */
export async function* deltas(
  { sequence, stream }: Scheduled,
  { reading, begun }: { reading?: Reading | undefined; begun?: Begun | undefined },
): AsyncGenerator<Delta, void, undefined> {
  const parser = reading?.parser(sequence.ids.slice(0, sequence.promptLength - (begun?.tokens ?? 0)));
  const { stopTokens } = sequence.options;
  let { scores } = sequence;
  let length = 0;
  if (begun) yield { ...(parser?.push(begun.text) ?? { text: begun.text, reasoning: "", calls: [] }), tokens: [] };
  for await (const pieces of stream) {
    const { finishReason } = pieces.at(-1)!;
    const parts = parser ? partsOf(pieces, parser) : [plainPart(pieces)];
    for (const { tokens } of parts) length += tokens.length;
    const last = parts.pop()!;
    for (const part of parts) {
      yield { ...part, ...(scores && { scores }) };
      scores = undefined;
    }
    if (parser?.ended) {
      yield { ...last, ...(scores && { scores }), finishReason: calledReason(reading), length };
      return;
    }
    if (finishReason && parser) append(last, parser.flush());
    const ended = finishReason === "stop" && stopTokens.has(pieces.at(-1)!.token);
    yield {
      ...last,
      tokens: ended ? last.tokens.slice(0, -1) : last.tokens,
      ...(scores && { scores }),
      ...(finishReason && {
        finishReason: finishReason === "stop" && parser?.count ? calledReason(reading) : finishReason,
        ...(sequence.answer.stopText !== undefined && { stopText: sequence.answer.stopText }),
      }),
    };
    scores = undefined;
    if (finishReason) return;
  }
  // The stream ended without a last piece. If the sequence finished without a token, max_tokens or the context allowed
  // none. Otherwise the stream was cancelled. Its last text is lost then, so a last part would be wrong.
  if (sequence.finishReason && sequence.generated === 0)
    yield {
      ...(parser?.flush() ?? { text: "", reasoning: "", calls: [] }), // the parser may still hold text of `begun`
      tokens: [],
      ...(scores && { scores }),
      finishReason: sequence.finishReason,
    };
}

/** A part with its tokens. */
interface TokenPart extends AnswerPart {
  tokens: Piece[];
}

function plainPart(tokens: readonly Piece[]): TokenPart {
  return { text: tokens.map((piece) => piece.text).join(""), reasoning: "", calls: [], tokens: [...tokens] };
}

/**
 * Parses the pieces that are ready. Neighbours of the same kind become one part, so that the tokens of a part belong to its text, reasoning
 * or calls. Tokens whose text is held back belong to the next part. Returns at least one part.
 */
function partsOf(pieces: readonly Piece[], parser: AnswerParser): TokenPart[] {
  const parts: TokenPart[] = [];
  let held: Piece[] = [];
  for (const piece of pieces) {
    const more = parser.push(piece.text);
    held.push(piece);
    const last = parts.at(-1);
    if (kindOf(more) !== "nothing" || parser.ended) {
      if (last && kindOf(last) === kindOf(more)) {
        append(last, more);
        last.tokens.push(...held);
      } else parts.push({ ...more, tokens: held });
      held = [];
    }
    if (parser.ended) break;
  }
  if (held.length > 0) parts.push({ text: "", reasoning: "", calls: [], tokens: held });
  return parts;
}

/** Returns which fields of a part have content. A token can end the reasoning and begin the text. */
function kindOf({ text, reasoning, calls }: AnswerPart): string {
  const kinds = [text && "text", reasoning && "reasoning", calls.length > 0 && "calls"].filter(Boolean);
  return kinds.join(" and ") || "nothing";
}

/** Returns the finish reason after a tool call. As in OpenAI's API it is "stop" if the request names the function. */
function calledReason(reading: Reading | undefined): "stop" | "tool_calls" {
  return reading?.named ? "stop" : "tool_calls";
}

function append(to: AnswerPart, more: AnswerPart): void {
  to.text += more.text;
  to.reasoning += more.reasoning;
  to.calls.push(...more.calls);
}

/** A complete answer. */
export interface Answer {
  text: string;
  reasoning: string;
  calls: { id: string; name: string; arguments: string }[];
  tokens: Piece[];
  finishReason: NonNullable<Delta["finishReason"]>;
  stopText?: string;
}

/** Reads an answer to its end. */
export async function wholeAnswer(parts: AsyncIterable<Delta>): Promise<Answer> {
  const answer: Answer = { text: "", reasoning: "", calls: [], tokens: [], finishReason: "stop" };
  for await (const part of parts) addPart(answer, part);
  return answer;
}

/** Adds the next part to an answer. */
export function addPart(answer: Answer, { text, reasoning, calls, tokens, finishReason, stopText }: Delta): void {
  answer.text += text;
  answer.reasoning += reasoning;
  answer.tokens.push(...tokens);
  for (const { index, id, name = "", arguments: more } of calls) {
    const call = answer.calls[index];
    if (call) call.arguments += more;
    else answer.calls[index] = { id, name, arguments: more };
  }
  if (finishReason) answer.finishReason = finishReason;
  if (stopText !== undefined) answer.stopText = stopText;
}
