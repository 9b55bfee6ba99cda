import { randomInt } from "node:crypto";
import { Constraint } from "../constrain/index.ts";
import { HeddleError, seedAfter } from "../core/errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { AnswerText } from "./answer-text.ts";
import type { ResolvedOptions } from "./generation-options.ts";
import { PromptScores } from "./prompt-scores.ts";
import { candidatesOf } from "./sampling/candidates.ts";
import { idleSteps } from "./sampling/logit-processors.ts";
import { asked } from "./stop.ts";

/**
 * Why an answer ended. `stop`: an end token, an entry of the option `stop`, or the response format's end. `length`:
 * maxTokens, or the end of the context.
 */
export type FinishReason = "stop" | "length";

/** One of the likeliest tokens of a step. */
export interface TopCandidate {
  /** Id of the token. */
  token: number;
  /** Natural logarithm of its probability, as in `Piece`. */
  logprob: number;
  /** Text of the token as it would appear within a text, such as " the" for "▁the". Empty without a tokenizer. */
  text: string;
}

/** One step of generation. */
export interface Piece {
  /**
   * Text that became final with this token. Empty while a character is incomplete or the text may start a stop text.
   */
  text: string;
  /** Id of the token. */
  token: number;
  /** Natural logarithm of the model's probability of the token, before temperature, bias and penalties. */
  logprob: number;
  /** The likeliest tokens, best first, if `topLogprobs` asks for them. */
  top?: TopCandidate[];
  /**
   * Entropy in nats of the model's distribution, before temperature, bias and penalties. `logprob` is from the same distribution. Set with
   * `top`.
   */
  entropy?: number;
  /**
   * On a sequence's first piece, if `promptLogprobs` is set: natural log-probabilities of the prompt's tokens, null for
   * the first.
   */
  promptLogprobs?: (number | null)[];
  /** The likeliest tokens at each position of the prompt, best first, if `promptLogprobs` is above 0. */
  promptTop?: (TopCandidate[] | null)[];
  /** Index of the sequence: prompt · n + sample. */
  index: number;
  /** Set on the last piece of a sequence. */
  finishReason?: FinishReason;
  /**
   * On the last piece, with `numBeams`: the score that ranks the texts. It is the sum of log-probabilities, divided by
   * the length to the power `lengthPenalty`.
   */
  score?: number;
}

/** The sampler's result for one sequence. */
export interface Choice {
  token: number;
  logprob: number;
  topIds?: Int32Array;
  topLogprobs?: Float32Array;
  /** Set with `topIds`. */
  entropy?: number;
}

/**
 * Returns the error for a prompt that exceeds the context.
 * @param tokens number of the prompt's tokens, or Infinity if it was not counted to its end
 * @param hint whether the message mentions `contextOverflow`
 */
export function overflow(contextLength: number, tokens: number, { name = "prompt", hint = true } = {}): HeddleError {
  const got = Number.isFinite(tokens) ? tokens : "more";
  const expected = `${name}: expected at most ${contextLength} tokens, the context length, got ${got}`;
  const more = hint ? ' (contextOverflow: "truncateLeft" drops the oldest)' : "";
  return new HeddleError("CONTEXT_OVERFLOW", expected + more);
}

/** The name of a prompt in error messages: `prompt`, or `prompt[3]` in a batch. */
export function promptName(index: number, count: number, what = "prompt"): string {
  return count > 1 ? `${what}[${index}]` : what;
}

/**
 * Checks that a prompt leaves room for an answer.
 * @throws HeddleError CONTEXT_OVERFLOW, unless the oldest tokens may be dropped
 */
export function checkPromptFits(
  tokens: number,
  { contextLength, contextOverflow }: Pick<ResolvedOptions, "contextOverflow"> & { contextLength: number },
  name: string,
): void {
  if (tokens <= contextLength || contextOverflow === "truncateLeft") return;
  throw overflow(contextLength, tokens, { name, hint: contextOverflow === "error" });
}

/** Maximum number of new tokens for which cache memory is reserved in advance. */
const RESERVED_AHEAD = 1024;

/** A running sequence: its ids, its context, and its stop conditions. */
export class Sequence {
  readonly index: number;
  readonly options: ResolvedOptions;
  readonly seed: number;
  readonly promptLength: number;
  /** Prompt and generated ids. */
  readonly ids: number[];
  /** The ids that the model sees: all of them, unless `truncateLeft` dropped the oldest. */
  context: number[];
  finishReason: FinishReason | undefined;
  /** Number of prompt tokens that were already in the cache. */
  cachedTokens = 0;
  /** Time at which the sequence got its slot, by `performance.now()`. Undefined while the sequence waits. */
  startedAt: number | undefined;
  /** Number of tokens that were drafted. */
  draftedTokens = 0;
  /** Number of drafted tokens that were accepted. */
  acceptedTokens = 0;
  /** The response format's constraint on the answer. */
  readonly constraint: Constraint | undefined;
  /** Scores of its prompt's tokens. */
  readonly scores: PromptScores | undefined;
  /** Score of the hypothesis, with beam search. */
  score: number | undefined;
  /** Maximum number of generated tokens. */
  readonly limit: number;
  readonly contextLength: number;
  private readonly tokenizer: Tokenizer | undefined;
  /** The text of its new tokens. */
  readonly answer: AnswerText;
  /** The answer's text so far. Only kept for stop conditions, or for a constraint with stop texts. */
  private text = "";
  /** Number of generated tokens from which on a logit processor may act. */
  private idleUntil = 0;

  /**
   * @throws CONTEXT_OVERFLOW if the prompt does not fit, or with contextOverflow `error`, if the prompt and maxTokens
   * do not fit
   */
  constructor(
    prompt: readonly number[],
    options: ResolvedOptions,
    of: {
      index: number;
      /** Index among the samples of its prompt. */
      sample: number;
      contextLength: number;
      tokenizer: Tokenizer | undefined;
      scores?: PromptScores | undefined;
      /** Name of its prompt in messages. */
      name?: string;
      /** Whether the sequence may use the prompt's array itself. Copying a million ids would block the event loop. */
      takesPrompt?: boolean;
    },
  ) {
    this.index = of.index;
    this.options = options;
    // randomInt allows ranges below 2^48.
    this.seed = options.seed === undefined ? randomInt(2 ** 47) : seedAfter(options.seed, of.sample);
    this.ids = of.takesPrompt ? (prompt as number[]) : [...prompt];
    this.promptLength = prompt.length;
    this.contextLength = of.contextLength;
    // Avoids copying prompts that are far too long.
    this.context = prompt.length > of.contextLength ? withoutOldest(prompt, of.contextLength) : [...prompt];
    this.limit = this.lengthLimit(of.name);
    this.tokenizer = of.tokenizer;
    this.answer = AnswerText.after(prompt, { ...options, tokenizer: of.tokenizer });
    const { automaton, vocabSize, stopTokens: ends, visibleTokens: visible } = options;
    this.constraint =
      automaton && this.tokenizer && new Constraint(automaton, { tokens: this.tokenizer, vocabSize, ends, visible });
    this.scores = of.scores;
    // If the response format allows only the empty text, nothing is generated.
    if (this.constraint?.finished) this.limit = 0;
    if (this.limit === 0 && !this.isScoring) this.endWithPrompt();
  }

  /**
   * Returns the maximum number of new tokens. The last new token is never run. So a context of L tokens has room for a
   * prompt of P tokens and L − P + 1 new tokens.
   */
  private lengthLimit(name = "prompt"): number {
    const { maxTokens, defaultMaxTokens, contextOverflow } = this.options;
    const room = this.contextLength - this.promptLength + 1;
    checkPromptFits(this.promptLength, { contextLength: this.contextLength, contextOverflow }, name);
    if (contextOverflow === "truncateLeft") return maxTokens ?? defaultMaxTokens;
    if (contextOverflow === "error" && maxTokens !== undefined && maxTokens > room)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `maxTokens: expected at most ${room} after a ${name} of ${this.promptLength} tokens in a context of ${this.contextLength}, got ${maxTokens} (contextOverflow: "stop" ends the answer early, "truncateLeft" drops the oldest tokens)`,
      );
    return Math.min(maxTokens ?? defaultMaxTokens, room);
  }

  /** Whether tokens of the prompt are still to be scored. */
  get isScoring(): boolean {
    return this.scores !== undefined && !this.scores.isWhole;
  }

  get generated(): number {
    return this.ids.length - this.promptLength;
  }

  /** Ends a sequence that generates no tokens. */
  endWithPrompt(): void {
    this.finishReason = this.constraint?.finished ? "stop" : "length";
  }

  /** Number of tokens for which cache memory is reserved at the start. Beyond them the cache grows on demand. */
  get reservedLength(): number {
    return Math.min(this.contextLength, this.context.length + Math.min(RESERVED_AHEAD, this.limit - this.generated));
  }

  /** Number of tokens that may still be drawn before the sequence or its context ends. */
  get room(): number {
    return Math.min(this.limit - this.generated, this.contextLength - this.context.length + 1);
  }

  /**
   * Number of draws, from the next one on, whose logits no processor changes.
   * @throws HeddleError INVALID_ARGUMENT, and errors of processors
   */
  get idleSteps(): number {
    const { generated, ids, promptLength, index } = this;
    if (generated >= this.idleUntil)
      this.idleUntil = generated + idleSteps(this.options.logitProcessors, { ids, promptLength, index });
    return this.idleUntil - generated;
  }

  /** Whether the context must be shortened before the next run. */
  get outgrown(): boolean {
    return this.context.length > this.contextLength;
  }

  /** Keeps the first token (a BOS anchors attention, Xiao et al. 2023) and the newest half of a context. */
  dropOldest(): void {
    this.context = withoutOldest(this.context, this.contextLength);
  }

  /**
   * Whether a stop condition of the caller ends the sequence after these generated tokens.
   * @param text the part of the tokens' text that can no longer change
   */
  isToStopAfter(tokens: readonly number[], text: string): boolean {
    if (this.options.stopConditions.length === 0) return false;
    return this.isToStop([...this.ids.slice(0, this.promptLength), ...tokens], text);
  }

  /** Whether a stop condition of the caller ends the sequence here. All conditions are called. */
  private isToStop(ids: readonly number[], text: string): boolean {
    const { stopConditions } = this.options;
    if (stopConditions.length === 0) return false;
    const { promptLength, index } = this;
    const context = { ids, promptLength, index, text };
    let stops = false;
    for (const condition of stopConditions) stops = asked(condition, context) || stops;
    return stops;
  }

  /**
   * Adds a choice and returns its piece.
   * @param byCondition whether a stop condition ends the sequence here; undefined: calls the conditions
   */
  accept({ token, logprob, topIds, topLogprobs, entropy }: Choice, byCondition?: boolean): Piece {
    this.ids.push(token);
    this.context.push(token);
    const { answer, options, constraint } = this;
    const ends = options.stopTokens.has(token);
    constraint?.accept(token);
    let text = ends ? "" : answer.push(token);
    const over = ends || answer.stopped || constraint?.finished === true;
    const stopped = !over && (byCondition ?? this.isToStop(this.ids, this.text + text));
    if (over || stopped) this.finishReason = "stop";
    else if (this.generated >= this.limit) this.finishReason = "length";
    if (this.finishReason) {
      text += answer.flush();
      if (answer.stopped) this.finishReason = "stop";
    }
    const conditional = options.stopConditions.length > 0;
    if (conditional || (constraint && options.stopTexts.length > 0)) this.text += text;
    // A document that a stop text or a stop condition cuts has finishReason "length".
    if (constraint && (answer.stopped || stopped) && !constraint.isWhole(this.text)) this.finishReason = "length";
    const piece: Piece = { text, token, logprob, index: this.index };
    if (topIds && topLogprobs) piece.top = candidatesOf({ topIds, topLogprobs }, this.tokenizer);
    if (entropy !== undefined) piece.entropy = entropy;
    if (this.scores && this.generated === 1) {
      piece.promptLogprobs = this.scores.logprobs;
      if (this.scores.top) piece.promptTop = this.scores.top;
    }
    if (this.finishReason) {
      piece.finishReason = this.finishReason;
      if (this.score !== undefined) piece.score = this.score;
    }
    return piece;
  }
}

/**
 * Makes the sequences of prompts: `n` samples of each, in order.
 * @throws HeddleError CONTEXT_OVERFLOW
 */
export function sequencesOf(
  prompts: readonly (readonly number[])[],
  options: ResolvedOptions,
  of: {
    contextLength: number;
    tokenizer: Tokenizer | undefined;
    /** Index of the first sequence. Default: 0. */
    first?: number;
    /** Returns the options of the sequence at an index within this call. Default: `options`. */
    optionsAt?: (place: number) => ResolvedOptions;
    /** Whether sequences may use the prompts' arrays themselves. */
    ownsPrompts?: boolean;
  },
): Sequence[] {
  const { contextLength, tokenizer, first = 0, optionsAt = () => options, ownsPrompts = false } = of;
  const { n, promptLogprobs } = options;
  return prompts.flatMap((ids, p) => {
    const scores = promptLogprobs === undefined ? undefined : new PromptScores(ids, promptLogprobs, tokenizer);
    const name = promptName(p, prompts.length);
    return Array.from({ length: n }, (_, sample) => {
      const place = p * n + sample;
      // The last sample uses the prompt's array, after the others have copied it.
      const takesPrompt = ownsPrompts && sample === n - 1 && scores === undefined;
      const own = { index: first + place, sample, contextLength, tokenizer, scores, name, takesPrompt };
      return new Sequence(ids, optionsAt(place), own);
    });
  });
}

/** Returns the first token of a context (a BOS anchors attention, Xiao et al. 2023) and its newest half. */
export function withoutOldest(context: readonly number[], contextLength: number): number[] {
  const kept = Math.max(1, Math.floor(contextLength / 2));
  return [context[0]!, ...context.slice(-kept)].slice(-contextLength);
}
