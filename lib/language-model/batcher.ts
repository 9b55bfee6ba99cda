import { compiledAhead, withParsed } from "../constrain/index.ts";
import { onAbort } from "../core/abort-listeners.ts";
import { HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFlag, checkWhole } from "../core/option-values.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { MAX_SLOTS } from "../inference/cache/slots.ts";
import { checkOptionNames, type GenerateOptions, type OptionsIn } from "../inference/generation-options.ts";
import type { Piece } from "../inference/sequence.ts";
import { type Scheduled, SharedScheduler } from "../inference/shared-scheduler.ts";
import { type Completion, CompletionBuilder, type CompletionIn, parsedAll, timingsOf } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";
import { continuedIds, isEmptyList, type Prompt, promptList } from "./prompt.ts";
import { Reply } from "./reply.ts";

/** Options of `model.batcher`. */
export interface BatcherOptions {
  /** Maximum number of answers that share a run, up to 32. Further answers wait. Default: 8. */
  slots?: number | undefined;
  /**
   * Makes answers, including log-probabilities, bit-identical regardless of other answers. Prompts are then processed
   * more slowly, and no prefix cache is used. Without it, answers agree within rounding.
   */
  deterministic?: boolean | undefined;
}

/** Current load of a batcher. */
export interface BatcherCounts {
  /** Number of answers that share runs now. */
  running: number;
  /** Number of answers that wait for a slot. */
  waiting: number;
  /** Number of tokens generated since the batcher was made. */
  tokens: number;
}

const DEFAULT_SLOTS = 8;

/**
 * Continuous batching: independent calls share the model's runs, as in `heddle serve`. A call joins between two runs
 * and leaves when it ends, so eight calls at once take little longer than one. The KV cache is reused for prompts with
 * a common prefix. A slow reader pauses only its own answer, and a failing answer does not affect others. Options that
 * need separate runs (numBeams, assistantModel, promptLookupNumTokens, adapters) are refused. The batcher uses the
 * model's active adapters. If weights or adapters change, running answers keep the old ones, and later answers wait for
 * them to end.
 *
 * @example
 * await using batcher = model.batcher({ slots: 16 });
 * const answers = await Promise.all(users.map(({ prompt }) => batcher.complete(prompt, { maxTokens: 64 })));
 */
export class Batcher {
  /** The model that answers. */
  readonly languageModel: LanguageModel;
  private readonly scheduler: SharedScheduler;
  private readonly deterministic: boolean;

  /** @internal Use model.batcher(). */
  constructor(languageModel: LanguageModel, options: BatcherOptions = {}) {
    rejectUnknownNames(options, ["slots", "deterministic"]);
    const { slots = DEFAULT_SLOTS, deterministic = false } = options;
    checkWhole("slots", slots, 1, MAX_SLOTS);
    checkFlag("deterministic", deterministic);
    this.languageModel = languageModel;
    this.deterministic = deterministic;
    this.scheduler = new SharedScheduler(languageModel, { slots, deterministic });
  }

  /**
   * Like model.generate, for one prompt. Errors are thrown when the reply is read.
   * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED, DISPOSED, NUMERICAL
   */
  generate<F>(prompt: Prompt, options: OptionsIn<F> = {} as never): Reply<CompletionIn<F>> {
    return new Reply(() => this.answer(prompt, options)) as Reply<CompletionIn<F>>;
  }

  /** Like model.complete, for one prompt. */
  async complete<F>(prompt: Prompt, options: OptionsIn<F> = {} as never): Promise<CompletionIn<F>> {
    return this.generate(prompt, options).then(); // `then` starts the reply at once
  }

  /**
   * Like model.completeAll: returns `n` continuations of each prompt, in order. If one generation fails, the others are
   * cancelled. A schema checks the answers after all of them have ended.
   */
  async completeAll<F>(prompts: readonly Prompt[], options: OptionsIn<F> = {} as never): Promise<CompletionIn<F>[]> {
    const started = performance.now();
    const ready = options?.responseFormat ? await compiledAhead(options) : options;
    const submitted = this.submit(isEmptyList(prompts) ? [] : promptList(prompts), ready);
    const all = submitted instanceof Promise ? await submitted : submitted;
    try {
      const whole = all.map((one) => wholeOf(this.read(one, { started, signal: ready?.signal })));
      return (await parsedAll(await Promise.all(whole), ready)) as CompletionIn<F>[];
    } finally {
      for (const { stream } of all) stream.cancel();
    }
  }

  /** Number of running and waiting answers, and of all tokens generated so far. */
  get counts(): BatcherCounts {
    return this.scheduler.counts;
  }

  /** Ends pending answers with DISPOSED, and frees the cache. The model stays loaded. */
  async dispose(): Promise<void> {
    await this.scheduler.close(new HeddleError("DISPOSED", "batcher: used after dispose()"));
  }
  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  private async *answer(prompt: Prompt, options: GenerateOptions): AsyncGenerator<Piece, Completion, undefined> {
    checkOptionNames(options);
    if ((options.n ?? 1) !== 1) throw invalidArgument("n", "1 (completeAll returns several)", options.n);
    const started = performance.now();
    const ready = options.responseFormat ? await compiledAhead(options) : options;
    const submitted = this.submit([prompt], ready);
    const [one] = submitted instanceof Promise ? await submitted : submitted;
    const completion = yield* this.read(one!, { started, signal: ready.signal });
    return withParsed(completion, ready);
  }

  private submit(prompts: readonly Prompt[], options: GenerateOptions): Scheduled[] | Promise<Scheduled[]> {
    checkOptionNames(options);
    this.checkShared(options);
    const { languageModel, scheduler } = this;
    const { contextLength } = languageModel;
    const resolved = scheduler.resolve(options);
    throwIfAborted(resolved.signal);
    const ids = continuedIds(languageModel, prompts, { ...resolved, contextLength });
    if (!(ids instanceof Promise)) return scheduler.submit(ids, options);
    return ids.then((ids) => {
      throwIfAborted(resolved.signal);
      return scheduler.submit(ids, options);
    });
  }

  /**
   * Checks the options that all answers of a run share.
   * @throws HeddleError INVALID_ARGUMENT if such an option is given for a single answer
   */
  private checkShared({ adapters, assistantModel, promptLookupNumTokens, deterministic }: GenerateOptions): void {
    if (adapters !== undefined)
      throw invalidArgument("adapters", "no value in a batcher, which uses the model's active adapters", adapters);
    if (assistantModel !== undefined || (promptLookupNumTokens ?? 0) !== 0)
      throw invalidArgument(
        assistantModel === undefined ? "promptLookupNumTokens" : "assistantModel",
        "no value in a batcher (use model.generate())",
        assistantModel ?? promptLookupNumTokens,
      );
    if (deterministic === true && !this.deterministic)
      throw invalidArgument(
        "deterministic",
        "no value in a batcher (use batcher({ deterministic: true }))",
        deterministic,
      );
  }

  /** Streams the pieces of a sequence. */
  private async *read(
    { sequence, stream }: Scheduled,
    { started, signal }: { started: number; signal: AbortSignal | undefined },
  ): AsyncGenerator<Piece, Completion, undefined> {
    const builder = new CompletionBuilder();
    const leave = () => stream.cancel();
    let [first, last] = [started, started];
    const forget = signal && onAbort(signal, leave);
    try {
      for await (const pieces of stream) {
        last = performance.now();
        if (first === started) first = last;
        for (const piece of pieces) {
          builder.add(piece);
          yield { ...piece, index: 0 };
          throwIfAborted(signal);
        }
      }
      throwIfAborted(signal); // a cancelled stream ends without an error
    } finally {
      forget?.();
    }
    // Times as the caller sees them: they include waiting for a slot, and work on other answers.
    const progress = {
      prefilledTokens: sequence.promptLength - sequence.cachedTokens,
      prefillMs: first - started,
      decodedTokens: Math.max(0, sequence.generated - 1),
      decodeMs: last - first,
      firstTokenMs: first - started,
    };
    return builder.finish(sequence, timingsOf(progress, this.languageModel.loadMs));
  }
}

async function wholeOf<T>(pieces: AsyncGenerator<Piece, T, undefined>): Promise<T> {
  for (;;) {
    const step = await pieces.next();
    if (step.done) return step.value;
  }
}
