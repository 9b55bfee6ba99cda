import type { Tokenizer } from "../tokenizer/index.ts";
import { PREFILL_ROWS } from "./cache/kv-cache.ts";
import { candidatesOf } from "./sampling/candidates.ts";
import type { Choice, TopCandidate } from "./sequence.ts";

/** Maximum size in bytes of the prompt logits in one run. */
const LOGIT_BYTES = 32 << 20;

/** Returns the number of prompt rows that one run can score. */
export function scoredRows(vocabSize: number): number {
  return Math.max(1, Math.min(PREFILL_ROWS, Math.floor(LOGIT_BYTES / (4 * vocabSize))));
}

/**
 * Log-probabilities of a prompt's tokens, collected while the prompt is processed. Row i scores token i + 1. All samples of a prompt
 * share one object.
 */
export class PromptScores {
  /** Log-probabilities of the prompt's tokens; null for the first one. */
  readonly logprobs: (number | null)[];
  /** The likeliest tokens at each position, if requested. */
  readonly top: (TopCandidate[] | null)[] | undefined;
  private readonly ids: readonly number[];
  private readonly tokenizer: Tokenizer | undefined;
  /** Number of leading tokens whose scores are complete. */
  private known = 1;

  /** @param count number of likeliest tokens wanted at each position */
  constructor(ids: readonly number[], count: number, tokenizer: Tokenizer | undefined) {
    this.ids = ids;
    this.tokenizer = tokenizer;
    this.logprobs = ids.map(() => null);
    this.top = count > 0 ? ids.map(() => null) : undefined;
  }

  get isWhole(): boolean {
    return this.known >= this.ids.length;
  }

  /** Returns how many of `rows` rows, starting at position `past`, score a token of the prompt. */
  rowsOf(past: number, rows: number): number {
    return Math.max(0, Math.min(rows, this.ids.length - 1 - past));
  }

  /** Returns the token that the row at a position scores. */
  target(position: number): number {
    return this.ids[position + 1]!;
  }

  /** Adds the result of a row, whose draw was forced to its target. */
  add(position: number, { token, logprob, topIds, topLogprobs }: Choice): void {
    const place = position + 1;
    // A token with logit −∞ cannot be forced.
    this.logprobs[place] = token === this.ids[place] ? logprob : Number.NEGATIVE_INFINITY;
    if (this.top) this.top[place] = candidatesOf({ topIds: topIds!, topLogprobs: topLogprobs! }, this.tokenizer);
    this.known = Math.max(this.known, place + 1);
  }
}
