import { newProgress, type Progress } from "../inference/progress.ts";
import type { FinishReason, Piece, Sequence, TopCandidate } from "../inference/sequence.ts";

/** Token counts of a call. */
export interface Usage {
  promptTokens: number;
  /** Prompt tokens that a session already held, or that another prompt of the call computed. */
  cachedTokens: number;
  completionTokens: number;
  /** With speculative decoding: tokens that were guessed, and those of them that came true. */
  draftedTokens?: number;
  acceptedTokens?: number;
}

/** How long a call took. */
export interface Timings {
  /** Time to load the model; 0 for one that was made, not loaded. */
  loadMs: number;
  /** Tokens of prompts, those that were held already left out; 0 where none was computed. */
  prefillTokensPerSecond: number;
  /** Total over all sequences of the call; 0 if nothing was decoded. */
  decodeTokensPerSecond: number;
  /** From the call to its first new token. */
  timeToFirstTokenMs: number;
}

/** A whole answer. */
export interface Completion {
  /** Without the stop text or end token that ended it; empty without a tokenizer. */
  text: string;
  /** New ids only; an end token is the last of them. */
  tokens: number[];
  /** Natural logarithm of the model's own probability of each. */
  logprobs: number[];
  /** Per token, if `topLogprobs` asks for them. */
  top?: TopCandidate[][];
  /** Natural log-probabilities of the prompt's tokens, null for the first, if `promptLogprobs` asks for them. */
  promptLogprobs?: (number | null)[];
  /** With them, the likeliest tokens in each place, if any are asked for. */
  promptTop?: (TopCandidate[] | null)[];
  usage: Usage;
  finishReason: FinishReason;
  /** With `numBeams`: what the text was chosen by, its sum of log-probabilities over its length to the power `lengthPenalty`. */
  score?: number;
  timings: Timings;
}

/** Puts the pieces of one sequence together. */
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
