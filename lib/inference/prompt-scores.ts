import type { Tokenizer } from "../tokenizer/index.ts";
import { PREFILL_ROWS } from "./cache/kv-cache.ts";
import { candidatesOf } from "./sampling/candidates.ts";
import type { Choice, TopCandidate } from "./sequence.ts";

/** Bytes of logits that one run may hold for the tokens of prompts. */
const LOGIT_BYTES = 32 << 20;

/** Rows of prompts that one run can score. */
export function scoredRows(vocabSize: number): number {
  return Math.max(1, Math.min(PREFILL_ROWS, Math.floor(LOGIT_BYTES / (4 * vocabSize))));
}

/**
 * Log-probabilities of a prompt's tokens, collected while the prompt is processed. Row i scores token i + 1. All samples of one prompt share
 * them.
 */
export class PromptScores {
  /** Log-probabilities of the prompt's tokens; null for the first one. */
  readonly logprobs: (number | null)[];
  /** The likeliest tokens in each place, if any are wanted. */
  readonly top: (TopCandidate[] | null)[] | undefined;
  private readonly ids: readonly number[];
  private readonly tokenizer: Tokenizer | undefined;
  /** Tokens of which all is known, from the beginning on. */
  private known = 1;

  /** @param count of the likeliest tokens that are wanted in each place */
  constructor(ids: readonly number[], count: number, tokenizer: Tokenizer | undefined) {
    this.ids = ids;
    this.tokenizer = tokenizer;
    this.logprobs = ids.map(() => null);
    this.top = count > 0 ? ids.map(() => null) : undefined;
  }

  get isWhole(): boolean {
    return this.known >= this.ids.length;
  }

  /** Number of rows, among `rows` rows from position `past` on, that score a token of the prompt. */
  rowsOf(past: number, rows: number): number {
    return Math.max(0, Math.min(rows, this.ids.length - 1 - past));
  }

  /** The token that the row at a position scores. */
  target(position: number): number {
    return this.ids[position + 1]!;
  }

  /** Takes over what the row at a position says, of a draw that was forced to its target. */
  add(position: number, { token, logprob, topIds, topLogprobs }: Choice): void {
    const place = position + 1;
    // A token that the model rules out cannot be forced either.
    this.logprobs[place] = token === this.ids[place] ? logprob : Number.NEGATIVE_INFINITY;
    if (this.top) this.top[place] = candidatesOf({ topIds: topIds!, topLogprobs: topLogprobs! }, this.tokenizer);
    this.known = Math.max(this.known, place + 1);
  }
}
