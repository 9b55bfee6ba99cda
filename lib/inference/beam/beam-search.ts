import type { Choice } from "../sequence.ts";
import type { BeamOptions } from "./beam-options.ts";

/** A partial hypothesis that is continued. */
interface Beam {
  /** The choices after the prompt. */
  readonly choices: readonly Choice[];
  /** Tokens of the choices. */
  readonly tokens: readonly number[];
  /** Sum of the tokens' log-probabilities after penalties, bias and processors. */
  readonly sum: number;
  /** Index of the previous step's beam that this beam continues. */
  readonly parent: number;
}

/** A text that has ended. */
interface Hypothesis {
  readonly choices: readonly Choice[];
  /** Tokens of the choices, in the array that was passed to `ends`. */
  readonly tokens: readonly number[];
  /**
   * Sum of log-probabilities, divided by the number of tokens (including the end token) to the power `lengthPenalty`.
   */
  readonly score: number;
}

/** The likeliest tokens after one beam, best first. */
export interface Continuations {
  readonly tokens: ArrayLike<number>;
  /** Log-probabilities by which the search ranks the tokens. */
  readonly scores: ArrayLike<number>;
  /** Returns the choice to report for the k-th token. */
  choice(k: number): Choice;
}

/** A beam with one of its continuations. */
interface Candidate {
  beam: number;
  /** Index among the beam's continuations. */
  place: number;
  sum: number;
}

/** Returns the number of candidates that a step considers: enough for `numBeams` to continue, however many end. */
export function searchWidth({ numBeams }: BeamOptions, endTokens: number): number {
  return Math.max(2, 1 + endTokens) * numBeams;
}

/**
 * Beam search over the continuations of one prompt, following transformers' `_beam_search` without sampling (release 4.57). A step takes
 * the best max(2, 1 + number of end tokens) · `numBeams` candidates of all beams. Candidates that end and are among the best `numBeams`
 * become hypotheses, of which the best `numBeams` are kept. The best candidates that do not end are the next beams. Ties go to the better
 * beam, then to the lower token id.
 *
 * transformers starts with `numBeams` copies of the prompt, all but one with sums of −1e9. This search starts with one copy. The results
 * differ only if there are fewer continuations than beams: transformers then continues some of the copies.
 */
export class BeamSearch {
  /** Best first. Empty when the search has ended because no beam can continue. */
  beams: readonly Beam[] = [{ choices: [], tokens: [], sum: 0, parent: 0 }];
  /** Best first. */
  finished: readonly Hypothesis[] = [];
  private readonly width: number;
  private readonly options: BeamOptions;
  /** Maximum number of tokens of a hypothesis. */
  private readonly limit: number;
  private readonly ends: (tokens: readonly number[], parent: number) => boolean;
  private length = 0;

  /**
   * @param of.ends returns whether a hypothesis ends with these tokens, the last of which extends the beam. It must
   * return true at `limit` tokens.
   */
  constructor(
    options: BeamOptions,
    of: { limit: number; endTokens: number; ends: (tokens: readonly number[], parent: number) => boolean },
  ) {
    this.options = options;
    this.width = searchWidth(options, of.endTokens);
    this.limit = of.limit;
    this.ends = of.ends;
  }

  /** Advances the search by one step. @param rows continuations of each beam, in order */
  advance(rows: readonly Continuations[]): void {
    const { beams, options } = this;
    const { numBeams } = options;
    const open: Beam[] = [];
    const ended: Hypothesis[] = [];
    this.length++;
    for (const [rank, { beam: parent, place, sum }] of this.candidates(rows).entries()) {
      if (rank >= numBeams && open.length === numBeams) break;
      const before = beams[parent]!;
      const tokens = [...before.tokens, rows[parent]!.tokens[place]!];
      const ends = this.ends(tokens, parent);
      // Ended texts that are not among the best numBeams candidates are dropped. They neither become hypotheses nor
      // continue.
      if (ends ? rank >= numBeams : open.length === numBeams) continue;
      const choices = [...before.choices, rows[parent]!.choice(place)];
      if (ends) ended.push({ choices, tokens, score: this.score(sum, this.length) });
      else open.push({ choices, tokens, sum, parent });
    }
    this.beams = open;
    // The sort is stable, so the earlier of two equal hypotheses stays first.
    this.finished = [...this.finished, ...ended].sort((a, b) => b.score - a.score).slice(0, numBeams);
  }

  /** Whether the search is over: no beam can improve the hypotheses, by the rule of `earlyStopping`. */
  get done(): boolean {
    const { beams, finished, options, length, limit } = this;
    const { numBeams, lengthPenalty, earlyStopping } = options;
    if (beams.length === 0) return true;
    if (finished.length < numBeams) return false;
    if (earlyStopping === true) return true;
    const reach = earlyStopping === "never" && lengthPenalty > 0 ? limit : length;
    return this.score(beams[0]!.sum, reach) <= finished.at(-1)!.score;
  }

  private score(sum: number, length: number): number {
    return sum / length ** this.options.lengthPenalty;
  }

  /** Returns the best `width` continuations of all beams, without forbidden ones (−∞). */
  private candidates(rows: readonly Continuations[]): Candidate[] {
    const { beams, width } = this;
    const next = rows.map(() => 0);
    const best: Candidate[] = [];
    while (best.length < width) {
      let found: Candidate | undefined;
      for (const [beam, { scores }] of rows.entries()) {
        const place = next[beam]!;
        if (place >= scores.length || scores[place] === Number.NEGATIVE_INFINITY) continue;
        const sum = beams[beam]!.sum + scores[place]!;
        if (!found || sum > found.sum) found = { beam, place, sum };
      }
      if (!found) break;
      next[found.beam]!++;
      best.push(found);
    }
    return best;
  }
}
