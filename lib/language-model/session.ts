import { compiledAhead, withParsed } from "../constrain/index.ts";
import { checkPath, HeddleError, invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { KvCache } from "../inference/cache/kv-cache.ts";
import { readSession, writeSession } from "../inference/cache/session-file.ts";
import {
  type GenerateOptions,
  type OptionsIn,
  type ResolvedOptions,
  resolveOptions,
} from "../inference/generation-options.ts";
import { eachPiece, runSequences } from "../inference/scheduler.ts";
import { type Piece, type Sequence, sequencesOf } from "../inference/sequence.ts";
import { type CacheDType, checkedCacheDtype } from "../models/cache-shape.ts";
import { fingerprintOf } from "../models/fingerprint.ts";
import type { ModelView } from "../models/model-view.ts";
import { Answers, type Completion, type CompletionIn } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";
import { continuedIds, type Prompt } from "./prompt.ts";
import { Reply } from "./reply.ts";

/** Options of `model.session`. */
export interface SessionOptions {
  /** Maximum number of tokens. Default: the model's context length. */
  contextLength?: number | undefined;
  /** Element type of the KV cache: f32, bf16, f16 or q8. Default: the model's. */
  cacheDtype?: CacheDType | undefined;
  /**
   * Names of the adapters to use. Default: the model's active ones at each call. If an adapter is merged later, its update is part of the
   * weights. If an adapter is removed, calls are rejected.
   */
  adapters?: readonly string[] | undefined;
}

/**
 * Explicit generation state: a KV cache and its ids. Each call passes a whole prompt. The prefix that the prompt shares with the session's
 * content is not computed again. A session serves one call at a time, and a model serves many sessions at once.
 *
 * Each call uses the model's state from when the call begins, unless a training step writes to the weights. Cached content from before a
 * change of the model (training, or adapters merged, unmerged, replaced or activated) is computed again.
 */
export class Session {
  /** The model that answers. */
  readonly languageModel: LanguageModel;
  private readonly cache: KvCache;
  /** Names of the adapters that the session was opened with, if given. */
  private readonly named: readonly string[] | undefined;
  private busy = false;
  /**
   * Number of forks in progress. Several forks may run at once. Other calls are rejected during a fork, because they
   * would write to the rows that it reads.
   */
  private forking = 0;

  /** @internal Use model.session(). */
  constructor(languageModel: LanguageModel, cache: KvCache, named: readonly string[] | undefined) {
    this.languageModel = languageModel;
    this.cache = cache;
    this.named = named && [...named];
  }

  /** @internal */
  static open(languageModel: LanguageModel, options: SessionOptions = {}): Session {
    rejectUnknownNames(options, ["contextLength", "cacheDtype", "adapters"]);
    const most = languageModel.contextLength;
    const { contextLength = most, cacheDtype = languageModel.cacheDtype, adapters } = options;
    checkWhole("contextLength", contextLength, 1, most);
    checkedCacheDtype(cacheDtype);
    const cache = new KvCache(languageModel.model, { slots: 1, contextLength, dtype: cacheDtype, adapters });
    return new Session(languageModel, cache, adapters);
  }

  /** @internal Loads a session, with the state of a chat if the file has one. */
  static async load(languageModel: LanguageModel, path: string): Promise<{ session: Session; chat?: unknown }> {
    const { cache, named, ...rest } = await readSession(path, languageModel.model, languageModel.contextLength);
    return { session: new Session(languageModel, cache, named ? cache.adapters : undefined), ...rest };
  }

  /** Ids whose keys and values the session holds. */
  get tokens(): readonly number[] {
    return this.cache.ids(0);
  }
  /** Maximum number of positions, for a prompt and its answer together. */
  get contextLength(): number {
    return this.cache.contextLength;
  }
  /** The element type of keys and values in its cache. */
  get cacheDtype(): CacheDType {
    return this.cache.dtype;
  }
  /** Size of the KV cache at its present capacity in bytes. The system commits memory as it is written. */
  get cacheBytes(): number {
    return this.cache.bytes;
  }

  /**
   * Streams the continuation of a whole prompt. The prefix that the session holds is not computed again. Awaiting the
   * reply gives the result of `complete`.
   */
  generate<F>(prompt: Prompt, options: OptionsIn<F> = {} as never): Reply<CompletionIn<F>> {
    return new Reply(() => this.answer(prompt, options)) as Reply<CompletionIn<F>>;
  }

  /** Returns the whole continuation. */
  async complete<F>(prompt: Prompt, options: OptionsIn<F> = {} as never): Promise<CompletionIn<F>> {
    return this.generate(prompt, options).then(); // `then` starts the reply at once
  }

  private async *answer(prompt: Prompt, options: GenerateOptions): AsyncGenerator<Piece, Completion, undefined> {
    const held = this.languageModel.model.hold(); // the model may change before the prompt and the options are ready
    try {
      return yield* this.answerWith(held, prompt, options);
    } finally {
      held.release();
    }
  }

  private async *answerWith(
    model: ModelView,
    prompt: Prompt,
    options: GenerateOptions,
  ): AsyncGenerator<Piece, Completion, undefined> {
    const ready = options?.responseFormat ? await compiledAhead(options) : options;
    const resolved = this.resolve(ready);
    const { cache, contextLength, languageModel } = this;
    const { tokenizer } = languageModel;
    const reading = continuedIds(languageModel, [prompt], { ...resolved, contextLength });
    const ids = reading instanceof Promise ? await this.awaited(reading) : reading;
    cache.assertLive(); // the cache may have been disposed while a long prompt was tokenized
    this.assertIdle();
    const [sequence] = sequencesOf(ids, resolved, { contextLength, tokenizer, ownsPrompts: true }) as [Sequence];
    cache.renew(model, unmerged(this.named, model));
    const answers = new Answers([sequence]);
    let given = 0;
    const run = async function* () {
      try {
        yield* runSequences(cache, [sequence], answers.progress);
      } finally {
        // Decoding may have run ahead. Drop tokens that were not delivered, and the last token, which may or may not
        // have been run.
        const { context, generated } = sequence;
        if (generated > 0) cache.truncate(0, Math.max(0, context.length - 1 - (generated - given)));
        // The call may have ended with only a part of its prompt computed. With dynamic RoPE, no other prompt can use these keys.
        cache.dropBeginning(0);
      }
    };
    for await (const piece of eachPiece(this.exclusively(run), resolved.signal)) {
      answers.add(piece);
      given++;
      yield piece;
    }
    return withParsed(answers.finish(languageModel.loadMs)[0]!, ready);
  }

  /**
   * Writes the session to a file, atomically. `model.loadSession` continues from it.
   * @throws HeddleError INVALID_ARGUMENT if the model has changed since the content was computed; IO, DISPOSED
   */
  async save(path: string): Promise<void> {
    await this.saveWith(path, undefined);
  }

  /**
   * @internal Saves with the state of a chat. If the cached keys are not of the current model, only the chat's state is
   * saved.
   */
  async saveWith(path: string, chat: unknown): Promise<void> {
    checkPath("path", path);
    this.cache.assertLive();
    const run = async function* (session: Session) {
      const { cache } = session;
      if (chat !== undefined || cache.ids(0).length === 0) session.renew();
      const fingerprint = await fingerprintOf(cache.model, cache.adapters);
      session.assertCurrent(); // checked last, because a training step may have run since
      yield await writeSession(path, cache, { fingerprint, named: session.named !== undefined, chat });
    };
    for await (const _ of this.exclusively(() => run(this)));
  }

  /** Returns an independent copy of the session. Calls other than `fork` are rejected until the copy is made. */
  async fork(): Promise<Session> {
    if (this.busy) throw secondCall();
    this.forking++;
    try {
      return new Session(this.languageModel, await this.cache.fork(), this.named);
    } finally {
      this.forking--;
    }
  }

  /**
   * Drops everything after the first `length` tokens. If RoPE scaling is dynamic, drops all tokens, because the keys of the first tokens
   * were rotated for the longer sequence. The next call computes them again.
   */
  truncate(length = 0): void {
    this.assertIdle();
    checkWhole("length", length, 0);
    this.cache.truncate(0, length);
    this.cache.dropBeginning(0);
  }

  /** Frees the KV cache. Later calls throw DISPOSED. The model stays loaded. */
  dispose(): void {
    this.cache.dispose();
  }
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  private resolve(options: GenerateOptions): ResolvedOptions {
    this.cache.assertLive();
    this.assertIdle();
    const { languageModel } = this;
    const resolved = resolveOptions(options, languageModel.optionContext);
    if (resolved.n !== 1) throw invalidArgument("n", "1 in a session", resolved.n);
    // The model's num_beams is ignored, because beam search needs several sequences, and a session has one.
    if ((options.numBeams ?? 1) !== 1)
      throw invalidArgument("numBeams", "1 in a session (use model.complete())", options.numBeams);
    languageModel.checkTexts(resolved);
    if (resolved.adapters)
      throw invalidArgument("adapters", "no value in a session (use session({ adapters }))", resolved.adapters);
    return resolved;
  }

  /** Waits for the ids of a long prompt. No other call may begin until then. */
  private async awaited<T>(work: Promise<T>): Promise<T> {
    this.busy = true;
    try {
      return await work;
    } finally {
      this.busy = false;
    }
  }

  private async *exclusively<T>(run: () => AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
    this.assertIdle();
    this.busy = true;
    try {
      yield* run();
    } finally {
      this.busy = false;
    }
  }

  /** Switches the cache to the model's current state. */
  private renew(): void {
    const { model } = this.languageModel;
    this.cache.renew(model, unmerged(this.named, model));
  }

  private assertCurrent(): void {
    const { model } = this.languageModel;
    if (this.cache.isOf(model, unmerged(this.named, model))) return;
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "session: the model's weights or adapters changed since its keys and values were computed (the next call computes them again; truncate() drops them)",
    );
  }

  private assertIdle(): void {
    if (this.busy || this.forking > 0) throw secondCall();
  }
}

/** Returns the names without those of adapters that have been merged into the weights. */
function unmerged(names: readonly string[] | undefined, { mergedAdapters }: ModelView): readonly string[] | undefined {
  return names?.filter((name) => !mergedAdapters.includes(name));
}

function secondCall(): HeddleError {
  return new HeddleError(
    "INVALID_ARGUMENT",
    "session: expected one call at a time, got a second one while the first runs (fork() the session, or open another)",
  );
}
