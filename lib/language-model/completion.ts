import { newProgress, type Progress } from "../inference/progress.ts";
import type { FinishReason, Piece, Sequence, TopCandidate } from "../inference/sequence.ts";

/** Token counts of a call. */
export interface Usage {
  promptTokens: number;
  /** Number of prompt tokens that a session already held, or that another prompt of the call computed. */
  cachedTokens: number;
  completionTokens: number;
  /** With speculative decoding: the number of guessed tokens, and of accepted ones among them. */
  draftedTokens?: number;
  acceptedTokens?: number;
}

/** Durations of a call. */
export interface Timings {
  /** Time to load the model, or 0 if it was created. */
  loadMs: number;
  /** Prompt tokens per second, without cached ones. 0 if none was computed. */
  prefillTokensPerSecond: number;
  /** Generated tokens per second, over all sequences of the call. 0 if nothing was decoded. */
  decodeTokensPerSecond: number;
  /** Time from the call to its first new token. */
  timeToFirstTokenMs: number;
}

/** A complete answer. */
export interface Completion {
  /** The text without the stop text or end token. Empty without a tokenizer. */
  text: string;
  /** New ids only, including an end token. */
  tokens: number[];
  /** Natural logarithm of the model's probability of each token. */
  logprobs: number[];
  /** The likeliest tokens for each new token, if `topLogprobs` is set. */
  top?: TopCandidate[][];
  /** Natural log-probabilities of the prompt's tokens, null for the first, if `promptLogprobs` is set. */
  promptLogprobs?: (number | null)[];
  /** The likeliest tokens at each position of the prompt, if `promptLogprobs` is above 0. */
  promptTop?: (TopCandidate[] | null)[];
  usage: Usage;
  finishReason: FinishReason;
  /**
   * With `numBeams`: the score for choosing texts, which is the sum of log-probabilities over the length to the power
   * `lengthPenalty`.
   */
  score?: number;
  timings: Timings;
}

/** Builds a completion from the pieces of one sequence. */
export class CompletionBuilder {
  private text = "";
  private readonly tokens: number[] = [];
  private readonly logprobs: number[] = [];
  private readonly top: TopCandidate[][] = [];

  add(piece: Piece): void {
    this.text += piece.text;
    this.tokens.push(piece.token);
    this.logprobs.push(piece.logprob);
    if (piece.top) this.top.push(piece.top);
  }

  finish(sequence: Sequence, timings: Timings): Completion {
    const { text, tokens, logprobs, top } = this;
    return {
      text,
      tokens,
      logprobs,
      ...(top.length > 0 && { top }),
      ...(sequence.scores && { promptLogprobs: sequence.scores.logprobs }),
      ...(sequence.scores?.top && { promptTop: sequence.scores.top }),
      usage: {
        promptTokens: sequence.promptLength,
        cachedTokens: sequence.cachedTokens,
        completionTokens: tokens.length,
        ...(sequence.options.speculation && {
          draftedTokens: sequence.draftedTokens,
          acceptedTokens: sequence.acceptedTokens,
        }),
      },
      finishReason: sequence.finishReason ?? "length",
      ...(sequence.score !== undefined && { score: sequence.score }),
      timings,
    };
  }
}

/** Collects the answers of one call's sequences. */
export class Answers {
  readonly progress = newProgress();
  private readonly sequences: readonly Sequence[];
  private readonly builders: readonly CompletionBuilder[];

  constructor(sequences: readonly Sequence[]) {
    this.sequences = sequences;
    this.builders = sequences.map(() => new CompletionBuilder());
  }

  add(piece: Piece): void {
    this.builders[piece.index]!.add(piece);
  }

  finish(loadMs: number): Completion[] {
    const timings = timingsOf(this.progress, loadMs);
    return this.sequences.map((sequence, i) => this.builders[i]!.finish(sequence, timings));
  }
}

export function timingsOf(progress: Progress, loadMs: number): Timings {
  const rate = (tokens: number, ms: number) => (ms > 0 ? (tokens / ms) * 1000 : 0);
  return {
    loadMs,
    prefillTokensPerSecond: rate(progress.prefilledTokens, progress.prefillMs),
    decodeTokensPerSecond: rate(progress.decodedTokens, progress.decodeMs),
    timeToFirstTokenMs: progress.firstTokenMs ?? 0,
  };
}
