import type { AnswerText } from "../answer-text.ts";
import type { Sequence } from "../sequence.ts";

interface TextSoFar {
  answer: AnswerText;
  /** All that is certain of it; kept for stop conditions only. */
  text: string;
}

/** The texts of the hypotheses of one search, by which stop texts and the caller's stop conditions end them. */
export class BeamTexts {
  private readonly prompt: Sequence;
  /** By their tokens: a hypothesis that nothing refers to any more is collected. */
  private readonly texts = new WeakMap<readonly number[], TextSoFar>();
  private readonly ended = new WeakSet<readonly number[]>();

  constructor(prompt: Sequence) {
    this.prompt = prompt;
  }

  /** Whether a hypothesis with one token more ends. @param before the tokens without the last, for which it did not */
  ends(tokens: readonly number[], before: readonly number[]): boolean {
    const { stopTexts, stopConditions } = this.prompt.options;
    if (stopTexts.length === 0 && stopConditions.length === 0) return false;
    const parent = this.texts.get(before);
    const answer = (parent?.answer ?? this.prompt.answer).fork();
    const text = (parent?.text ?? "") + answer.push(tokens.at(-1)!);
    if (answer.stopped) return true;
    this.texts.set(tokens, { answer, text });
    const stops = this.prompt.isToStopAfter(tokens, text);
    if (stops) this.ended.add(tokens);
    return stops;
  }

  /** Whether it is by a stop condition that a hypothesis ended. */
  haveEnded(tokens: readonly number[]): boolean {
    return this.ended.has(tokens);
  }
}
