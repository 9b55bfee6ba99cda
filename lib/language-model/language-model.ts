import { checkPath, invalidArgument, withoutTokenizer } from "../core/errors.ts";
import { brand } from "../core/instanceof.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { GenerationConfig } from "../formats/config/generation-config.ts";
import type { ModelCard } from "../formats/model-card.ts";
import type { FloatDType } from "../graph/index.ts";
import { resolveModel } from "../hub/resolve.ts";
import { SpareStore } from "../inference/cache/cache-store.ts";
import {
  type GenerateOptions,
  type OptionContext,
  type OptionsIn,
  type ResolvedOptions,
  resolveOptions,
} from "../inference/generation-options.ts";
import { loadAdapter } from "../models/adapters/adapter-files.ts";
import { checkAdapterName } from "../models/adapters/adapters.ts";
import { type CacheDType, checkedCacheDtype, checkedPageSize, defaultCacheDtype } from "../models/cache-shape.ts";
import type { Model } from "../models/model.ts";
import { holding } from "../models/model-view.ts";
import { contextLimit } from "../models/rope-frequencies.ts";
import type { ChatMessage, Tokenizer } from "../tokenizer/index.ts";
import { DEFAULT_ADAPTER, saveAdapter } from "./adapters.ts";
import { Batcher, type BatcherOptions } from "./batcher.ts";
import { Chat, type ChatOptions } from "./chat/chat.ts";
import { type ChatReplyIn, type RespondOptions, respond } from "./chat/respond.ts";
import type { Completion, CompletionIn } from "./completion.ts";
import { type Classification, classifyWords, type TokenClassification } from "./embed/classify.ts";
import { type ClassifierInput, classifyTexts } from "./embed/classify-texts.ts";
import { EMBED_NAMES, type EmbedOptions, embeddedIds, embeddings } from "./embed/embed.ts";
import { type RankedDocument, RERANK_NAMES, type RerankOptions, rerank } from "./embed/rerank.ts";
import type { TextPair } from "./embed/text-pairs.ts";
import { answersOf, generated, startRequest } from "./generation-request.ts";
import { type LoadedModel, loadLanguageModel } from "./load.ts";
import { checkedContext, checkLoadOptions, type LoadOptions } from "./load-options.ts";
import { type LogitsOptions, logitsOf, reading, type ScoreOptions, scoreOf } from "./logits.ts";
import { isEmptyList, isPrompt, type Prompt, promptList, type ReadTextOptions } from "./prompt.ts";
import { Reply } from "./reply.ts";
import { saveLanguageModel } from "./save.ts";
import { Session, type SessionOptions } from "./session.ts";

/** The parts of a LanguageModel. */
interface Parts extends Partial<Pick<LoadedModel, "tokenizer" | "card" | "path" | "name">> {
  model: Model;
  generation?: GenerationConfig | undefined;
  contextLength?: number | undefined;
  cacheDtype?: CacheDType | undefined;
  cachePageSize?: number | undefined;
  loadMs?: number | undefined;
}

/**
 * A model with its tokenizer: text in, text out. It is stateless: calls are independent, and any number may run at once. State is explicit,
 * in `session()` and `chat()`.
 *
 * A call uses the weights and adapters that exist when it begins. A generator begins when its first piece is requested.
 * Merging, removing or activating adapters meanwhile does not affect the call. Training writes weights in place: a call
 * that runs meanwhile sees each step, but attends to keys from earlier steps.
 *
 * @example
 * const model = await LanguageModel.load("default");
 * for await (const piece of model.generate("The capital of France is", { maxTokens: 8 })) process.stdout.write(piece.text);
 */
export class LanguageModel {
  /** The network: weights, configuration, device. */
  readonly model: Model;
  /** The tokenizer. Without one, calls take and return token ids alone. */
  tokenizer: Tokenizer | undefined;
  /** Generation defaults that came with the model. */
  readonly generation: GenerationConfig;
  /** The model card: stage, parent, data, tokens seen, cut-off date. */
  card: ModelCard | undefined;
  /** Maximum number of tokens of a sequence. */
  readonly contextLength: number;
  /** Default element type of KV caches. */
  readonly cacheDtype: CacheDType;
  /** Page size of caches with several sequences, in tokens, if they are paged. */
  readonly cachePageSize: number | undefined;
  /**
   * Path from which the weights were loaded, or to which they were saved last. Adapters trained on the model record it as their base,
   * unless the model has a `name`.
   */
  path: string | undefined;
  /** @internal */ readonly loadMs: number;
  private readonly loaded: Pick<Parts, "path" | "name">;
  /** @internal */ readonly spare = new SpareStore();

  static {
    brand(LanguageModel, "LanguageModel");
  }

  /** @internal See `load` and `createModel`. */
  constructor(parts: Parts) {
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.generation = parts.generation ?? {};
    this.card = parts.card;
    const most = contextLimit(parts.model.config);
    this.contextLength = checkedContext(parts.contextLength ?? most, most);
    this.cacheDtype = checkedCacheDtype(parts.cacheDtype ?? defaultCacheDtype(parts.model));
    this.cachePageSize = parts.cachePageSize === undefined ? undefined : checkedPageSize(parts.cachePageSize);
    this.loadMs = parts.loadMs ?? 0;
    this.path = parts.path;
    this.loaded = { path: parts.path, name: parts.name };
  }

  /**
   * Loads a Hugging Face folder, a checkpoint folder of heddle, a .gguf file, or `default`, the embedded model. A name such as
   * `OWNER/NAME[@REVISION][:TAG]` is a model in the cache of Hugging Face's tools, and `ollama:NAME[:TAG]` one of Ollama's. An existing
   * path takes precedence over a name.
   * @throws HeddleError NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, ABORTED
   */
  static async load(pathOrDefault = "default", options: LoadOptions = {}): Promise<LanguageModel> {
    checkLoadOptions(options);
    const started = performance.now();
    const parts = await loadLanguageModel(pathOrDefault, options);
    try {
      const { contextLength, cacheDtype, cachePageSize } = options;
      const loadMs = performance.now() - started;
      return new LanguageModel({ ...parts, contextLength, cacheDtype, cachePageSize, loadMs });
    } catch (error) {
      parts.model.dispose();
      throw error;
    }
  }

  /** Name by which the weights were loaded, such as `OWNER/NAME`. Undefined if they were loaded by a path, or saved elsewhere since. */
  get name(): string | undefined {
    return this.path === this.loaded.path ? this.loaded.name : undefined;
  }

  /** The model's type and sizes. */
  get config(): ModelConfig {
    return this.model.config;
  }

  /**
   * Streams new tokens for one prompt, or for several at once. `piece.index` is the index of the prompt times `n`, plus the index of the
   * sample. Awaiting the reply, after the loop or instead of it, gives the result of `complete`. With `numBeams`, the pieces come together
   * at the end of the search.
   * @param prompt text, token ids, or an array of those. An empty array is an empty prompt, which is rejected.
   * @throws HeddleError when the reply is read or awaited: INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED, DISPOSED, NUMERICAL
   */
  generate<F>(prompt: Prompt, options?: OptionsIn<F>): Reply<CompletionIn<F>>;
  /** Streams new tokens for several prompts at once. Awaiting the reply gives all completions in order. */
  generate<F>(prompts: readonly Prompt[], options?: OptionsIn<F>): Reply<CompletionIn<F>[]>;
  /** Streams new tokens for one prompt or for several. */
  generate(prompt: Prompt | readonly Prompt[], options?: GenerateOptions): Reply<Completion | Completion[]>;
  generate(
    prompt: Prompt | readonly Prompt[],
    options: GenerateOptions = {},
  ): Reply<Completion> | Reply<Completion[]> | Reply<Completion | Completion[]> {
    const isSingle = isPrompt(prompt);
    const start = async function* (model: LanguageModel) {
      const all = yield* generated(model, promptList(prompt), options);
      return isSingle ? all[0]! : all;
    };
    // Several answers cannot be awaited as a single result.
    const n = options?.n ?? 1;
    const several = () => invalidArgument("n", "1 for a single answer (completeAll returns several)", n);
    return new Reply(() => start(this), isSingle && n !== 1 ? several : undefined);
  }

  /**
   * Returns the continuation of one prompt. For several prompts, returns all continuations, like completeAll. An empty array counts as an empty
   * prompt and is rejected, unlike in completeAll.
   */
  async complete<F>(prompt: Prompt, options?: OptionsIn<F>): Promise<CompletionIn<F>>;
  /** Returns the continuations of several prompts, in order, like completeAll. */
  async complete<F>(prompts: readonly Prompt[], options?: OptionsIn<F>): Promise<CompletionIn<F>[]>;
  /** Returns the continuation of one prompt, or of each of several. */
  async complete(prompt: Prompt | readonly Prompt[], options?: GenerateOptions): Promise<Completion | Completion[]>;
  async complete(
    prompt: Prompt | readonly Prompt[],
    options: GenerateOptions = {},
  ): Promise<Completion | Completion[]> {
    if (!isPrompt(prompt)) return this.completeAll(prompt, options);
    if ((options?.n ?? 1) !== 1) throw invalidArgument("n", "1 (completeAll returns several)", options.n);
    return (await this.completeAll([prompt], options))[0]!;
  }

  /**
   * Completes several prompts, `n` times each, in order. With `numBeams` the best come first. Answers agree within rounding with those of
   * separate calls, and to the bit with `deterministic`. Common prefixes are computed once.
   * @throws HeddleError INVALID_ANSWER if the schema of `responseFormat` rejects an answer. `cause.completions` holds all answers in order.
   */
  async completeAll<F>(prompts: readonly Prompt[], options: OptionsIn<F> = {} as never): Promise<CompletionIn<F>[]> {
    const call = startRequest(this, isEmptyList(prompts) ? [] : promptList(prompts), options);
    // Do not await a request that is ready: the weights and adapters are chosen when its results are first read, and an await would delay
    // that.
    return answersOf(call instanceof Promise ? await call : call, this.loadMs) as Promise<CompletionIn<F>[]>;
  }

  /** Starts a conversation: explicit state that can be saved, forked and discarded. */
  chat(options: ChatOptions = {}): Chat {
    this.model.assertLive();
    return new Chat(this, options);
  }

  /**
   * Answers a conversation, without keeping any state: give all of its messages with each call. Text, reasoning and tool calls are separate
   * fields, also in the pieces. The chat template determines the form in which tool calls and their results are written.
   *
   * @example
   * const { text, reasoning, toolCalls = [] } = await model.respond([{ role: "user", content: "Is it raining in Kyoto?" }], { tools });
   *
   * @throws HeddleError UNSUPPORTED if the template cannot express the tool choice or the effort; otherwise as generate
   */
  respond<F>(messages: readonly ChatMessage[], options: OptionsIn<F, RespondOptions> = {} as never): ChatReplyIn<F> {
    this.model.assertLive();
    return respond(this, messages, options) as ChatReplyIn<F>;
  }

  /** Creates a session: a KV cache that is reused for prompts with a common prefix. */
  session(options: SessionOptions = {}): Session {
    return Session.open(this, options);
  }

  /**
   * Makes a batcher, which lets independent calls share runs, so that many at once take little longer than one.
   * @throws HeddleError INVALID_ARGUMENT, DISPOSED
   */
  batcher(options: BatcherOptions = {}): Batcher {
    this.model.assertLive();
    return new Batcher(this, options);
  }

  /**
   * Loads a session that `session.save` wrote with the same model. Generation continues bit-identically. A file is bound to its model by a
   * fingerprint of the configuration, the adapters and the weights. Models of more than 16 MB are sampled: training changes the
   * fingerprint, but a manual edit of a few rows may not.
   * @throws HeddleError NOT_FOUND, IO, INVALID_FILE for other files, damaged sessions, and sessions of another model
   */
  async loadSession(path: string): Promise<Session> {
    this.model.assertLive();
    return (await Session.load(this, path)).session;
  }

  /** Loads a conversation and its KV cache from a file of `chat.save`. @throws HeddleError as loadSession */
  async loadChat(path: string): Promise<Chat> {
    this.model.assertLive();
    return Chat.load(this, path);
  }

  /**
   * Computes logits of every position, or only of the last.
   * @returns one Float32Array (vocabulary) per position; entry i scores the token after position i
   */
  async logits(prompt: Prompt, options: LogitsOptions = {}): Promise<Float32Array[]> {
    rejectUnknownNames(options, ["last", "adapters", "signal"]);
    const { contextLength } = this;
    return reading(this, prompt, options, (model, ids) => logitsOf(model, ids, { ...options, contextLength }));
  }

  /**
   * Computes natural log-probabilities of a text's own tokens. Entry i is that of token i given the tokens before it. Entries before `from`
   * are 0 and cost less. Default of `from`: 1, because the first token has no score.
   */
  async score(prompt: Prompt, options: ScoreOptions = {}): Promise<Float32Array> {
    rejectUnknownNames(options, ["from", "adapters", "signal"]);
    const { contextLength } = this;
    return reading(this, prompt, options, (model, ids) => scoreOf(model, ids, { ...options, contextLength }));
  }

  /**
   * Classifies a text, or each of several texts, with the model's classification head. Returns labels with probabilities. Pairs such as `{
   * text: premise, textPair: hypothesis }` are read together. An empty array gives an empty result.
   * @throws HeddleError UNSUPPORTED for a model without a sequence classification head, CONTEXT_OVERFLOW
   */
  // The overload for lists precedes the one for token ids, so that `[]` is an empty list of texts.
  async classify(text: string | TextPair, options?: ReadTextOptions): Promise<Classification>;
  /** Classifies several texts or pairs of texts, in order. An empty array gives an empty result. */
  async classify(texts: readonly ClassifierInput[], options?: ReadTextOptions): Promise<Classification[]>;
  /** Classifies a text, a pair of texts, or token ids. */
  async classify(text: ClassifierInput, options?: ReadTextOptions): Promise<Classification>;
  /** Classifies a text, or each of several texts. */
  async classify(
    text: ClassifierInput | readonly ClassifierInput[],
    options?: ReadTextOptions,
  ): Promise<Classification | Classification[]>;
  async classify(
    text: ClassifierInput | readonly ClassifierInput[],
    options: ReadTextOptions = {},
  ): Promise<Classification | Classification[]> {
    rejectUnknownNames(options, ["truncation", "signal"]);
    this.model.assertLive();
    return classifyTexts(this, text, options);
  }

  /**
   * Sorts documents by how well they answer a query, the best first. A cross-encoder (a sequence classification head) reads each document
   * with the query. With an embedding model, the vectors are compared.
   * @throws HeddleError UNSUPPORTED for other models, CONTEXT_OVERFLOW, INVALID_ARGUMENT
   */
  async rerank(query: string, documents: readonly string[], options: RerankOptions = {}): Promise<RankedDocument[]> {
    rejectUnknownNames(options, RERANK_NAMES);
    this.model.assertLive();
    return rerank(this, query, documents, options);
  }

  /**
   * Labels the words of a text. Words without a token are skipped. The words may also be given as an array.
   * @throws HeddleError INVALID_ARGUMENT if a given word has no token
   */
  async classifyTokens(
    text: string | readonly string[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<TokenClassification[]> {
    rejectUnknownNames(options, ["signal"]);
    this.model.assertLive();
    const { tokenizer, contextLength } = this;
    if (!tokenizer) throw withoutTokenizer("model");
    return holding(this.model, (model) => classifyWords(model, tokenizer, text, { ...options, contextLength }));
  }

  /**
   * Embeds a text, or each of several texts, as a vector. Its width is the hidden size times the number of pooling modes, or the output
   * width of the model's embedding layers. Vectors have length 1 unless the model's configuration says otherwise. An empty array gives an
   * empty result. A model without an embedding configuration returns the mean of its hidden states.
   * @param options.pooling overrides the model's setting, as do `options.normalize` and `options.truncateDim`
   * @param options.promptName one of the model's prompts, prepended to each text
   * @throws HeddleError INVALID_ARGUMENT for a prompt that the model lacks, CONTEXT_OVERFLOW, NUMERICAL
   */
  async embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  /** Embeds several texts, in order. An empty array gives an empty result. */
  async embed(texts: readonly Prompt[], options?: EmbedOptions): Promise<Float32Array[]>;
  /** Embeds a text or token ids as a vector. */
  async embed(text: Prompt, options?: EmbedOptions): Promise<Float32Array>;
  /** Embeds a text, or each of several texts. */
  async embed(text: Prompt | readonly Prompt[], options?: EmbedOptions): Promise<Float32Array | Float32Array[]>;
  async embed(text: Prompt | readonly Prompt[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    rejectUnknownNames(options, EMBED_NAMES);
    this.model.assertLive();
    const { signal, pooling, normalize, truncateDim } = options;
    const vectors = await holding(this.model, async (model) => {
      const { ids, promptLengths } = await embeddedIds(text, this, options);
      const embedding = { pooling, normalize, truncateDim };
      return embeddings(model, ids, { embedding, promptLengths, signal, contextLength: this.contextLength });
    });
    return isPrompt(text) && !isEmptyList(text) ? vectors[0]! : vectors;
  }

  /**
   * Writes a folder that transformers reads: config.json, safetensors, generation_config.json, tokenizer and model card. The files appear
   * together, once all are on the disk. An earlier model in the folder stays until then, so the disk needs space for both. Files of the
   * earlier model that were not replaced are then removed: its tokenizer, chat templates, adapter, sentence-transformers' modules and card.
   * Other files stay. Adapters are not saved: use `saveAdapter`, or merge them into the weights with `mergeAdapter` first.
   * @param options.dtype `auto` keeps each weight's type. Quantized weights become f32, because safetensors has no quantized types
   * @throws HeddleError INVALID_ARGUMENT if an active adapter is not merged, because its effect would be lost; IO, ABORTED
   */
  async save(
    folder: string,
    options: { dtype?: FloatDType | "auto" | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    rejectUnknownNames(options, ["dtype", "signal"]);
    await saveLanguageModel(this, folder, options);
  }

  /**
   * Loads a LoRA adapter from a folder in PEFT's layout, or by its name in the shared cache, and activates it. Calls that name no adapters
   * then use it. Several adapters share the same base.
   * @throws HeddleError NOT_FOUND, IO, INVALID_FILE if it does not fit the model, UNSUPPORTED
   */
  async loadAdapter(folder: string, options: { name?: string | undefined } = {}): Promise<void> {
    rejectUnknownNames(options, ["name"]);
    checkPath("folder", folder);
    this.model.assertLive();
    const name = checkAdapterName(options.name ?? DEFAULT_ADAPTER);
    await loadAdapter(this.model, await resolveModel(folder), name);
  }

  /** Writes an adapter in PEFT's layout: adapter_config.json and adapter_model.safetensors, and the model card. */
  async saveAdapter(
    folder: string,
    options: { name?: string | undefined; dtype?: FloatDType | undefined } = {},
  ): Promise<void> {
    rejectUnknownNames(options, ["name", "dtype"]);
    checkPath("folder", folder);
    const { name = DEFAULT_ADAPTER, dtype = "f32" } = options;
    await saveAdapter(this, folder, name, dtype);
  }

  /**
   * Adds an adapter's update to the weights, so that applying it costs nothing. `unmergeAdapters` restores the exact weights.
   * @throws HeddleError NOT_FOUND; INVALID_ARGUMENT if it is merged already, or if it or the weights it changes are being trained
   */
  async mergeAdapter(name = DEFAULT_ADAPTER): Promise<void> {
    await this.model.mergeAdapter(name);
  }
  /**
   * Restores the weights from before `mergeAdapter`, and activates the merged adapters again.
   * @throws HeddleError INVALID_ARGUMENT if the weights are being trained
   */
  unmergeAdapters(): void {
    this.model.unmergeAdapters();
  }
  /** Sets which adapters apply if a call names none. Their updates add up. @throws HeddleError NOT_FOUND */
  setActiveAdapters(names: readonly string[]): void {
    this.model.setActiveAdapters(names);
  }
  /**
   * Removes an adapter and frees its tensors after running calls that use it have ended.
   * @throws HeddleError NOT_FOUND; INVALID_ARGUMENT if it is merged or being trained
   */
  removeAdapter(name = DEFAULT_ADAPTER): void {
    this.model.removeAdapter(name);
  }

  /** Frees the weights and cached memory. Running calls end with DISPOSED. Sessions keep their memory until they are disposed too. */
  async dispose(): Promise<void> {
    this.spare.dispose();
    this.model.dispose();
  }
  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** @internal See OptionContext. */
  get optionContext(): OptionContext {
    const { config, generation, tokenizer } = this;
    const eosTokenIds = generation.eosTokenIds ?? (config.eosTokenIds.length > 0 ? config.eosTokenIds : undefined);
    return {
      vocabSize: config.vocabSize,
      tokenizer,
      generation,
      eosTokenIds: [...new Set([...(eosTokenIds ?? []), ...(tokenizer?.eosTokenIds ?? [])])],
    };
  }

  /** @internal Refuses options that need a tokenizer if the model has none. */
  checkTexts({ stopTexts, automaton }: ResolvedOptions): void {
    if (this.tokenizer) return;
    if (stopTexts.length > 0)
      throw invalidArgument("stop", "token ids, because this model has no tokenizer", stopTexts[0]);
    if (automaton) throw withoutTokenizer("responseFormat");
  }

  /** @internal */
  resolve(options: GenerateOptions): ResolvedOptions {
    this.model.assertLive();
    const resolved = resolveOptions(options, this.optionContext);
    this.checkTexts(resolved);
    return resolved;
  }
}
