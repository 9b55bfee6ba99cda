// The public tokenizer class: files, vocabulary, model inputs and chats. text-codec.ts converts text to ids.
import { checkObject, checkPath, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { atOnce, inSlices } from "../core/slices.ts";
import { checkFlag, checkNames } from "../core/unknown-options.ts";
import { assistantSpans, type Render, tokenMask } from "./chat/assistant-mask.ts";
import {
  type ChatMessage,
  ChatRenderer,
  type ChatTemplateOptions,
  checkFitOptions,
  checkTemplateOptions,
  chooseTemplate,
  type Fit,
  type FitOptions,
  fitMessages,
  type RenderedChat,
} from "./chat/chat.ts";
import { generatedMask } from "./chat/generation-blocks.ts";
import { GuardCharacters } from "./chat/guard-characters.ts";
import type { GuardedTokens } from "./chat/injection-guard.ts";
import { type MessageSpan, messageSpans, messageTurns } from "./chat/spans.ts";
import { type EncodeOptions, Flag } from "./encode-options.ts";
import { parseConfig, type TokenizerConfig } from "./files/config.ts";
import {
  checkTexts,
  readFolder,
  readVocabulary,
  readVocabularyAsync,
  type TokenizerTexts,
  writeFolder,
} from "./files/folder.ts";
import { type GgufRecord, readGguf, readGgufAsync } from "./files/gguf.ts";
import { ggufRecordOf } from "./files/gguf-file.ts";
import type { AddedToken, TokenizerFile } from "./files/tokenizer-file.ts";
import { readVocabularyCache, writeVocabularyCache } from "./files/vocabulary-cache.ts";
import { configToJson, tokenizerToJson } from "./files/write.ts";
import {
  buildInput,
  checkInputTexts,
  type InputOptions,
  type InputText,
  type ModelInput,
  padInputs,
} from "./inputs.ts";
import { checkPadding, type Padding, paddingToJson, readPadding } from "./padding.ts";
import { type PairPart, readPairForm, readSingleForm } from "./pipeline/post-processors.ts";
import { buildCodec, type NativeCodec, TextCodec } from "./text-codec.ts";
import { tokenIds } from "./token-names.ts";
import type { TrainOptions } from "./training/train-options.ts";
import { checkTruncation, readTruncation, type Truncation, truncationToJson } from "./truncation.ts";

/**
 * Converts text to ids and back, by the rules of a Hugging Face tokenizer.json, a GGUF file's vocabulary, or a vocabulary trained here.
 *
 * Lone surrogates count as U+FFFD, as in `String.prototype.toWellFormed`.
 *
 * @example
 * const tokenizer = await Tokenizer.load("model-folder");
 * const ids = tokenizer.encode("unbelievable");
 * tokenizer.decode(ids);
 */
export class Tokenizer extends TextCodec {
  readonly config: TokenizerConfig;
  readonly bosTokenId: number | undefined;
  /** Ids that end a text. Generation stops at any of them. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;

  private readonly file: TokenizerFile;
  private specialIds: ReadonlySet<number> | undefined;
  private guarded: GuardedTokens | undefined;
  private truncationRule: Truncation | undefined;
  private paddingRule: Padding | undefined;

  /** @internal Use load, fromFiles, fromGguf or train. */
  constructor(file: TokenizerFile, config: TokenizerConfig, codec?: NativeCodec) {
    super(file, codec);
    this.file = file;
    this.config = config;
    this.truncationRule = readTruncation(file.truncation);
    this.paddingRule = readPadding(file.padding);
    const ids = (name: string | undefined) => (name === undefined ? undefined : this.tokenToId(name));
    this.bosTokenId = ids(config.bosToken);
    this.padTokenId = ids(config.padToken);
    this.unkTokenId = ids(config.unkToken ?? file.model.unknownToken);
    const eos = [ids(config.eosToken), ...config.eosTokenIds].filter((id) => id !== undefined);
    this.eosTokenIds = [...new Set(eos)];
  }

  /**
   * Loads a tokenizer from a folder with tokenizer.json, tokenizer.model (SentencePiece, or Llama 3's ranks), vocab.json and merges.txt,
   * or vocab.txt. It also reads tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja and
   * additional_chat_templates if present. The path may also be one of these files, a published .tiktoken file, or a GGUF file. `default`
   * is the tokenizer of the embedded model. @throws HeddleError NOT_FOUND, INVALID_FILE, or UNSUPPORTED with the name of the component
   *
   * @param options.cache whether to keep a compiled BPE vocabulary next to tokenizer.json (tokenizer.json.heddle). If the cache matches
   * the file's content, the file is not parsed; otherwise the cache is written again. Default: false.
   */
  static async load(
    path: string,
    options: { signal?: AbortSignal | undefined; cache?: boolean | undefined } = {},
  ): Promise<Tokenizer> {
    checkNames(options, { signal: true, cache: true });
    checkFlag("cache", options.cache);
    const folder = path === "default" ? (await import("../formats/default-model.ts")).defaultModelPath() : path;
    const gguf = await ggufRecordOf(folder, options.signal);
    const texts = gguf ? {} : await readFolder(folder, options.signal);
    try {
      if (gguf) return await Tokenizer.fromGgufAsync(gguf, { signal: options.signal, takes: true });
      return options.cache === true
        ? await Tokenizer.loadCached(texts, options.signal)
        : await fromTexts(texts, options.signal);
    } catch (error) {
      if (!(error instanceof HeddleError) || (error.code === "NOT_FOUND" && !gguf)) throw error;
      throw new HeddleError(error.code, `${path}: ${error.message}`, { cause: error });
    }
  }

  private static async loadCached(texts: TokenizerTexts, signal: AbortSignal | undefined): Promise<Tokenizer> {
    const { tokenizerPath, tokenizer: source } = texts;
    if (tokenizerPath === undefined || !(source instanceof Uint8Array)) return fromTexts(texts, signal);
    const compiled = await readVocabularyCache(tokenizerPath, source);
    if (compiled) {
      try {
        return await fromTexts({ ...texts, compiled }, signal);
      } catch (error) {
        if (!(error instanceof HeddleError)) throw error; // otherwise read the file without the cache, which reports its own errors
        throwIfAborted(signal, "Tokenizer.load");
      }
    }
    const loaded = await fromTexts(texts, signal);
    await writeVocabularyCache(tokenizerPath, source, loaded.file);
    return loaded;
  }

  /** Makes a tokenizer from the contents of the files that `load` reads. */
  static fromFiles(texts: TokenizerTexts): Tokenizer {
    checkTexts(texts);
    const config = parseConfig(texts);
    return new Tokenizer(readVocabulary(texts, config), config);
  }

  /**
   * Makes a tokenizer from the metadata of a GGUF file: a record of its keys, of which those that begin with `tokenizer.` are read. The
   * supported models are "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "bert" (WordPiece) and "t5" (Unigram).
   * @throws HeddleError NOT_FOUND, INVALID_FILE, UNSUPPORTED
   */
  static fromGguf(metadata: GgufRecord): Tokenizer {
    checkObject("metadata", metadata);
    const { file, config } = readGguf(metadata);
    return new Tokenizer(file, config);
  }

  /** @internal Like fromGguf, mostly off the event loop. Rejects with ABORTED if the signal fires. */
  static async fromGgufAsync(
    metadata: GgufRecord,
    { signal, takes = false }: { signal?: AbortSignal | undefined; takes?: boolean } = {},
  ): Promise<Tokenizer> {
    checkObject("metadata", metadata);
    // Yield first, because reading the metadata may have taken long.
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(signal, "Tokenizer.load");
    const { file, config } = await readGgufAsync(metadata, { signal, takes });
    return built(file, config, signal);
  }

  /**
   * Trains a vocabulary on texts, by default byte-level BPE, off the event loop. Each text is a document, or a part of one that was cut
   * between words. Training is deterministic: of equally frequent pairs, the one with the lexicographically greater bytes is merged
   * first. The vocabulary is smaller than `vocabSize` only if the texts have no more pairs. Rejects with ABORTED if the signal fires.
   */
  static async train(texts: Iterable<string> | AsyncIterable<string>, options: TrainOptions): Promise<Tokenizer> {
    const { trainFile } = await import("./training/train.ts");
    const { file, config } = await trainFile(texts, options);
    return new Tokenizer(file, config);
  }

  /**
   * Encodes texts, or pairs of texts, as model inputs: truncated and padded, with masks. `truncation` and `padding` default to the
   * tokenizer's (from tokenizer.json, or as set here). It does not block the event loop. Rejects with INVALID_ARGUMENT if the length has
   * no room for the special tokens, and with ABORTED if the signal fires.
   *
   * @example
   * await tokenizer.encodeInputs([["question", "passage"], "one text"], {
   *   truncation: { maxLength: 512, strategy: "onlySecond" }, padding: { multipleOf: 8 },
   * });
   */
  async encodeInputs(texts: readonly InputText[], options: InputOptions = {}): Promise<ModelInput[]> {
    checkInputTexts(texts);
    checkObject("options", options);
    const { truncation: cuts, padding: fills, ...rest } = options;
    let truncation =
      typeof cuts === "object" ? checkTruncation(cuts) : cuts === false ? undefined : this.truncationRule;
    if (cuts === true && !truncation) {
      const maxLength = this.config.modelMaxLength;
      if (maxLength === undefined)
        throw invalidArgument("truncation", "an object with maxLength, because the tokenizer has none", cuts);
      truncation = { maxLength };
    }
    const padding = typeof fills === "object" ? checkPadding(fills) : fills === false ? undefined : this.paddingRule;
    const flat = texts.flatMap((input) => (typeof input === "string" ? [input] : [...input]));
    const encoded = await this.encodeBatch(flat, { ...rest, addSpecialTokens: false });
    const form = (parts: PairPart[]) => parts.filter((part) => "text" in part || options.addSpecialTokens !== false);
    const single = form(readSingleForm(this.file));
    let pair: PairPart[] | undefined;
    let at = 0;
    const inputs = texts.map((input) => {
      const isPair = typeof input !== "string";
      pair ??= isPair ? form(readPairForm(this.file)) : undefined;
      const ids = encoded.slice(at, at + (isPair ? 2 : 1));
      at += ids.length;
      return buildInput(ids, isPair ? pair! : single, truncation);
    });
    return padding || fills === true ? padInputs(inputs, padding ?? {}, this.padTokenId) : inputs;
  }

  /** The default truncation of encodeInputs: that of tokenizer.json, or as set here. `save` writes it. */
  get truncation(): Truncation | undefined {
    return this.truncationRule;
  }

  /** Sets the default truncation of encodeInputs; undefined for none. @throws HeddleError INVALID_ARGUMENT */
  set truncation(rule: Truncation | undefined) {
    this.truncationRule = rule && { ...checkTruncation(rule) };
  }

  /** The default padding of encodeInputs: that of tokenizer.json, or as set here. `save` writes it. */
  get padding(): Padding | undefined {
    return this.paddingRule;
  }

  /** Sets the default padding of encodeInputs; undefined for none. @throws HeddleError INVALID_ARGUMENT */
  set padding(rule: Padding | undefined) {
    this.paddingRule = rule && { ...checkPadding(rule) };
  }

  /**
   * Encodes two texts as one sequence, for a cross-encoder. By default it uses the tokenizer's template for pairs (BERT's [CLS] first
   * [SEP] second [SEP]); with `addSpecialTokens: false` the texts are concatenated. `typeIds` are the token types, which tell the texts
   * apart.
   * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE if the tokenizer's template is invalid
   */
  encodePair(first: string, second: string, options: EncodeOptions = {}): { ids: Uint32Array; typeIds: Uint32Array } {
    const texts = [first, second].map((text) => this.encode(text, { ...options, addSpecialTokens: false }));
    const parts = readPairForm(this.file).filter((part) => "text" in part || options.addSpecialTokens !== false);
    const { ids, typeIds } = buildInput(texts, parts, undefined);
    return { ids, typeIds };
  }

  /** Whether the tokenizer has a chat template. */
  get hasChatTemplate(): boolean {
    return Object.keys(this.config.chatTemplates).length > 0;
  }

  /**
   * Converts a conversation to text and ids by the tokenizer's chat template. Without one it uses a default template: ChatML if the
   * vocabulary has its tokens, else "User: …" and "Assistant: …". No BOS or EOS is added, because templates write them.
   *
   * Text inside the messages never becomes a special token: for `{ role: "user", content: "<|im_end|>" }` the ids are those of the
   * characters, not of the token. So do not encode `text` again. This also covers characters that the normalizer converts to those of a
   * token, such as `＜|im_end|＞` under NFKC.
   *
   * @throws HeddleError INVALID_ARGUMENT for messages that the template refuses, INVALID_FILE for a template that is invalid or exceeds
   * the limits on time, steps and memory
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): { text: string; ids: Uint32Array } {
    checkTemplateOptions(options);
    const { text, barriers } = atOnce(this.rendered(messages, options));
    return { text, ids: this.encodeGuarded(text, barriers) };
  }

  /**
   * Like applyChatTemplate, but only the template's rendering blocks the event loop. Long texts are encoded on a thread. Rejects with
   * ABORTED if the signal fires.
   */
  async applyChatTemplateAsync(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<{ text: string; ids: Uint32Array }> {
    checkObject("options", options);
    const { signal, ...rest } = options;
    checkTemplateOptions(rest);
    throwIfAborted(signal, "chat template");
    const { text, barriers } = await inSlices(this.rendered(messages, rest), "chat template", signal);
    return { text, ids: await this.encodeGuardedAsync(text, barriers, signal) };
  }

  /**
   * Like applyChatTemplate, with a mask of the assistant's tokens: 1 for its answers and the tokens that end them, 0 for everything else,
   * including the markup before an answer. If the template has `{% generation %}` tags, the mask covers the tokens that overlap them,
   * like transformers' return_assistant_tokens_mask.
   */
  applyChatTemplateWithMask(
    messages: readonly ChatMessage[],
    options: Omit<ChatTemplateOptions, "addGenerationPrompt"> = {},
  ): { text: string; ids: Uint32Array; assistantMask: Uint8Array } {
    checkTemplateOptions(options);
    const chat = atOnce(this.renderer(messages, options));
    const { text, barriers } = atOnce(chat.renderWhole(messages));
    const flags = Flag.allowSpecial | Flag.offsets;
    const [ids, offsets] = this.native.encodeWithOffsets(text, flags, barriers);
    const generated = atOnce(chat.renderGenerated(messages));
    // Use the marked parts only if the text without marks is the same. A template's filter may have treated marked text differently.
    if (generated?.text === text)
      return { text, ids, assistantMask: generatedMask(ids.length, offsets, generated.spans) };
    const spans = assistantSpans(messages, text, (some, opens) => chat.renderPart(some, opens));
    this.specialIds ??= new Set([...this.specialTokens.values(), ...this.eosTokenIds]);
    const special = this.specialIds;
    return { text, ids, assistantMask: tokenMask(text, ids, offsets, spans, (id) => special.has(id)) };
  }

  /**
   * Like applyChatTemplate, and also returns the span of tokens of each message, including its markup. The spans are contiguous from the
   * first token to the last one, or to the generation prompt.
   */
  applyChatTemplateWithSpans(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): { text: string; ids: Uint32Array; spans: MessageSpan[] } {
    checkTemplateOptions(options);
    const chat = atOnce(this.renderer(messages, options));
    const opens = options.addGenerationPrompt === true;
    const { text, barriers } = atOnce(chat.renderWhole(messages));
    const renderPart: Render = (some, addGenerationPrompt) => chat.renderPart(some, addGenerationPrompt);
    const answered = opens ? renderPart(messages, false) : text;
    const prompt = answered !== undefined && text.startsWith(answered) ? answered.length : text.length;
    const turns = messageTurns(messages, text.slice(0, prompt), renderPart);
    const [ids, offsets] = this.native.encodeWithOffsets(text, Flag.allowSpecial | Flag.offsets, barriers);
    return { text, ids, spans: messageSpans(turns, offsets, prompt) };
  }

  /**
   * Returns a copy of the tokenizer with another default chat template, which its `files()` contains.
   * @param options.template the template's text, or the name of one of the tokenizer's templates. Default: the fallback template
   */
  withChatTemplate(options: { template?: string | undefined } = {}): Tokenizer {
    checkNames(options, { template: true });
    const template = chooseTemplate(this.config, (token) => this.tokenToId(token) !== undefined, options);
    const chatTemplates = { ...this.config.chatTemplates, default: template };
    return new Tokenizer(this.file, { ...this.config, chatTemplates });
  }

  /** Creates the renderer of a conversation. */
  private renderer(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
  ): Generator<void, ChatRenderer, undefined> {
    checkObject("options", options);
    const template = chooseTemplate(this.config, (token) => this.tokenToId(token) !== undefined, options);
    return ChatRenderer.of(messages, { template, guarded: this.guardedTokens, config: this.config, options });
  }

  private get guardedTokens(): GuardedTokens {
    if (!this.guarded) {
      const tokens = this.plan.spec.added.filter((token) => token.guarded);
      const normalizes = this.file.normalizer !== undefined && tokens.some((token) => token.normalized);
      const characters = normalizes ? new GuardCharacters((text) => this.native.guardCharacters(text)) : undefined;
      this.guarded = { tokens, characters };
    }
    return this.guarded;
  }

  private *rendered(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
  ): Generator<void, RenderedChat, undefined> {
    const chat = yield* this.renderer(messages, options);
    return yield* chat.renderWhole(messages);
  }

  /**
   * Tests whether a conversation fits a context, and if not, which messages to drop: the oldest turns, but never the system messages at
   * the beginning or the last turn.
   */
  fit(messages: readonly ChatMessage[], options: FitOptions): Fit {
    checkFitOptions(options);
    const search = fitMessages(messages, options);
    let step = search.next();
    const chat = atOnce(this.renderer(messages, options));
    while (!step.done) {
      const { text, barriers } = atOnce(chat.renderWhole(step.value));
      step = search.next(this.encodeGuarded(text, barriers).length);
    }
    return step.value;
  }

  /** Like fit, but only the template's rendering blocks the event loop. Rejects with ABORTED if the signal fires. */
  async fitAsync(
    messages: readonly ChatMessage[],
    options: FitOptions & { signal?: AbortSignal | undefined },
  ): Promise<Fit> {
    checkObject("options", options);
    const { signal, ...rest } = options;
    checkFitOptions(rest);
    const search = fitMessages(messages, rest);
    let step = search.next();
    throwIfAborted(signal, "chat template");
    const chat = await inSlices(this.renderer(messages, rest), "chat template", signal);
    while (!step.done) {
      throwIfAborted(signal, "chat template");
      const { text, barriers } = await inSlices(chat.renderWhole(step.value), "chat template", signal);
      step = search.next((await this.encodeGuardedAsync(text, barriers, signal)).length);
    }
    return step.value;
  }

  /** The added tokens: special tokens, which `allowSpecial` and `skipSpecialTokens` concern, and others. */
  get addedTokens(): readonly AddedToken[] {
    return this.file.added;
  }

  /** The ids of special tokens, by their text. */
  get specialTokens(): ReadonlyMap<string, number> {
    return tokenIds(this.file.added.filter((token) => token.special));
  }

  /** The first of eosTokenIds, which ends documents in training. */
  get eosTokenId(): number | undefined {
    return this.eosTokenIds[0];
  }

  /** Returns the contents of the files that `save` writes, by name. */
  files(): { "tokenizer.json": string; "tokenizer_config.json": string } {
    return {
      "tokenizer.json": tokenizerToJson(this.saved()),
      "tokenizer_config.json": configToJson(this.file, this.config),
    };
  }

  /**
   * Writes tokenizer.json and tokenizer_config.json for Hugging Face's libraries. It creates the folder if it is missing, and removes
   * another tokenizer's files from it.
   */
  async save(folder: string): Promise<void> {
    checkPath("folder", folder);
    await writeFolder(folder, this.saved(), this.config);
  }

  private saved(): TokenizerFile {
    return {
      ...this.file,
      truncation: truncationToJson(this.truncationRule),
      padding: paddingToJson(this.paddingRule, this.padTokenId, (id) => this.idToToken(id)),
    };
  }
}

/** Like Tokenizer.fromFiles, mostly off the event loop. */
async function fromTexts(texts: TokenizerTexts, signal: AbortSignal | undefined): Promise<Tokenizer> {
  const config = parseConfig(texts);
  return built(await readVocabularyAsync(texts, config, signal), config, signal);
}

async function built(
  file: TokenizerFile,
  config: TokenizerConfig,
  signal: AbortSignal | undefined,
): Promise<Tokenizer> {
  const codec = await buildCodec(file, signal);
  throwIfAborted(signal, "Tokenizer.load");
  return new Tokenizer(file, config, codec);
}
