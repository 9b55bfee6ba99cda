import type { AnswerText } from "../answer-text.ts";
import type { Sequence } from "../sequence.ts";

interface TextSoFar {
  answer: AnswerText;
  /** The part of the text that can no longer change. Only stop conditions read it. */
  text: string;
}

/** The texts of one search's hypotheses. Stop texts and the caller's stop conditions end them. */
export class BeamTexts {
  private readonly prompt: Sequence;
  /** Texts by token array. An entry is garbage-collected with its token array. */
  private readonly texts = new WeakMap<readonly number[], TextSoFar>();
  private readonly ended = new WeakSet<readonly number[]>();

  constructor(prompt: Sequence) {
    this.prompt = prompt;
  }

  /**
   * Whether a hypothesis ends with its newest token.
   * @param before the tokens without the newest: a hypothesis that did not end
   */
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

  /** Whether a stop condition ended a hypothesis. */
  haveEnded(tokens: readonly number[]): boolean {
    return this.ended.has(tokens);
  }
}
