import type { Sequence, TextSoFar } from "./sequence.ts";

/** The caller's stop conditions, asked of the hypotheses of one search: each has tokens and a text of its own. */
export class BeamConditions {
  private readonly prompt: Sequence;
  /** By their tokens, so that what nobody goes on with is forgotten. */
  private readonly texts = new WeakMap<readonly number[], TextSoFar>();
  private readonly ended = new WeakSet<readonly number[]>();

  constructor(prompt: Sequence) {
    this.prompt = prompt;
  }

  /**
   * Whether one of them holds for a beam with one token more.
   * @param before the beam's own tokens, of which it was asked when they were new
   */
  hold(tokens: readonly number[], before: readonly number[]): boolean {
    const text = this.prompt.textAfter(tokens, this.texts.get(before));
    this.texts.set(tokens, text);
    const holds = this.prompt.isToStopAfter(tokens, text);
    if (holds) this.ended.add(tokens);
    return holds;
  }

  /** Whether it is by them that a hypothesis ended. */
  haveEnded(tokens: readonly number[]): boolean {
    return this.ended.has(tokens);
  }
}
