import { type Parsed, withParsed } from "../constrain/index.ts";
import { HeddleError } from "../core/errors.ts";
import type { GenerateOptions } from "../inference/generation-options.ts";
import { newProgress, type Progress } from "../inference/progress.ts";
import type { FinishReason, Piece, Sequence, TopCandidate } from "../inference/sequence.ts";

/** Token counts of a call. */
export interface Usage {
  /** Number of tokens of the prompt. */
  promptTokens: number;
  /** Number of prompt tokens that a session already held, or that another prompt of the call computed. */
  cachedTokens: number;
  /** Number of generated tokens. */
  completionTokens: number;
  /** Number of drafted tokens. Set with speculative decoding. */
  draftedTokens?: number;
  /** Number of drafted tokens that were accepted. Set with speculative decoding. */
  acceptedTokens?: number;
}

/** Durations and speeds of a call. */
export interface Timings {
  /** Time to load the model, or 0 if it was created. */
  loadMs: number;
  /** Computed prompt tokens per second, which excludes cached tokens. 0 if no prompt token was computed. */
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
  /**
   * Entropy in nats of the model's distribution at each new token, before temperature, bias and penalties. `logprobs` are from the same
   * distribution. Set with `top`.
   */
  entropies?: number[];
  /** Natural log-probabilities of the prompt's tokens, null for the first, if `promptLogprobs` is set. */
  promptLogprobs?: (number | null)[];
  /** The likeliest tokens at each position of the prompt, if `promptLogprobs` is above 0. */
  promptTop?: (TopCandidate[] | null)[];
  /** Numbers of tokens. */
  usage: Usage;
  /** Why the answer ended. */
  finishReason: FinishReason;
  /**
   * With `numBeams`: the score that ranks the texts. It is the sum of log-probabilities, divided by the length to the
   * power `lengthPenalty`.
   */
  score?: number;
  /** The value that the schema of `responseFormat` parsed from the text. Set if there is a schema. */
  parsed?: unknown;
  /** Durations and speeds of the call. */
  timings: Timings;
}

/**
 * A complete answer, for a `responseFormat` of the type `Format`. If the format has a Standard Schema, `parsed` has the type of the schema's
 * output.
 */
export type CompletionIn<Format> = Parsed<Completion, Format>;

/**
 * Parses the answers of a call with the schema of its options, if the options have a schema.
 * @throws HeddleError INVALID_ANSWER for the first answer that was cut or rejected. `cause.completions` holds all
 * answers in order, and those that the schema accepts have `parsed`.
 */
export async function parsedAll(
  completions: readonly Completion[],
  options: Pick<GenerateOptions, "responseFormat">,
): Promise<Completion[]> {
  const results = await Promise.allSettled(completions.map((completion) => withParsed(completion, options)));
  const all = results.map((result, i) => (result.status === "fulfilled" ? result.value : completions[i]!));
  const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
  const [first] = refused;
  if (refused.length === 0) return all;
  if (!(first instanceof HeddleError) || first.code !== "INVALID_ANSWER") throw first;
  const count = all.length > 1 ? ` (${refused.length} of ${all.length} answers are not valid)` : "";
  throw new HeddleError(first.code, first.message + count, { cause: { ...(first.cause as object), completions: all } });
}

/** Builds a completion from the pieces of one sequence. */
export class CompletionBuilder {
  private text = "";
  private readonly tokens: number[] = [];
  private readonly logprobs: number[] = [];
  private readonly top: TopCandidate[][] = [];
  private readonly entropies: number[] = [];

  add(piece: Piece): void {
    this.text += piece.text;
    this.tokens.push(piece.token);
    this.logprobs.push(piece.logprob);
    if (piece.top) this.top.push(piece.top);
    if (piece.entropy !== undefined) this.entropies.push(piece.entropy);
  }

  finish(sequence: Sequence, timings: Timings): Completion {
    const { text, tokens, logprobs, top, entropies } = this;
    return {
      text,
      tokens,
      logprobs,
      ...(top.length > 0 && { top }),
      ...(entropies.length > 0 && { entropies }),
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

/** Computes rates in tokens per second; 0 for a phase that took no time. */
export function timingsOf(progress: Progress, loadMs: number): Timings {
  const rate = (tokens: number, ms: number) => (ms > 0 ? (tokens / ms) * 1000 : 0);
  return {
    loadMs,
    prefillTokensPerSecond: rate(progress.prefilledTokens, progress.prefillMs),
    decodeTokensPerSecond: rate(progress.decodedTokens, progress.decodeMs),
    timeToFirstTokenMs: progress.firstTokenMs ?? 0,
  };
}
