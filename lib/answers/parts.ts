// The parts of an answer: text, reasoning and tool calls, as they become final while the model writes.

/** The next piece of a tool call. */
export interface CallPart {
  /** Index of the call in the answer, from 0. */
  index: number;
  /** Identifier of the call, the same in all of its parts. */
  id: string;
  /** Name of the function. Only the first part of a call has it. */
  name?: string;
  /** The next characters of the arguments. All parts of a call together form one JSON text. */
  arguments: string;
}

/** The next piece of an answer. Each field may be empty. */
export interface AnswerPart {
  text: string;
  /** The reasoning before the answer. */
  reasoning: string;
  calls: CallPart[];
}

/**
 * Splits a part's call pieces by their position in the answer. `before` continues a call of an earlier part, so it precedes the part's
 * reasoning and text. `after` has the calls that begin in this part, which follow the text.
 */
export function callsAround(calls: readonly CallPart[]): { before: CallPart[]; after: CallPart[] } {
  const first = calls.findIndex(({ name }) => name !== undefined);
  const end = first < 0 ? calls.length : first;
  return { before: calls.slice(0, end), after: calls.slice(end) };
}

/** Splits an answer's text into parts. The text may arrive in chunks of any length. */
export interface AnswerParser {
  push(text: string): AnswerPart;
  /** Returns the text that was held back. Call it once, after the last `push`. */
  flush(): AnswerPart;
  /** Whether the answer has all the calls that are allowed, so that generation can end. */
  readonly ended: boolean;
  /** Number of calls so far. */
  readonly count: number;
}
