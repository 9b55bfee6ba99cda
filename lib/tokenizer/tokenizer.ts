// The tokenizer as users see it: files, vocabulary, chats. text-codec.ts has what turns text into ids.
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
 * Text ↔ ids, by the rules of a Hugging Face tokenizer.json, of a GGUF file's vocabulary, or of one trained here.
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
  /** Any of these ends a text. */
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
   * Loads a tokenizer from a folder with tokenizer.json, tokenizer.model (SentencePiece, or Llama 3's ranks), vocab.json and merges.txt, or
   * vocab.txt. Also reads tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja and
   * additional_chat_templates if present. The path may also be one of these files, a published .tiktoken file, or a GGUF file. `default` is
   * the tokenizer of the embedded model.
   * Throws NOT_FOUND, INVALID_FILE, or UNSUPPORTED with the name of the missing component.
   *
   * @param options.cache whether to keep a compiled BPE vocabulary next to tokenizer.json (tokenizer.json.heddle). It is used if it matches the
   * file's content, which is then not parsed, and made again otherwise. Default: false.
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
        if (!(error instanceof HeddleError)) throw error; // else the file itself will say what is wrong, or that nothing is
        throwIfAborted(signal, "Tokenizer.load");
      }
    }
    const loaded = await fromTexts(texts, signal);
    await writeVocabularyCache(tokenizerPath, source, loaded.file);
    return loaded;
  }

  /** From the texts of the files that `load` reads. */
  static fromFiles(texts: TokenizerTexts): Tokenizer {
    checkTexts(texts);
    const config = parseConfig(texts);
    return new Tokenizer(readVocabulary(texts, config), config);
  }

  /**
   * From the metadata of a GGUF file: a record of its keys, of which `tokenizer.*` are read. Models "llama" (SentencePiece
   * with scores) and "gpt2" (byte-level). Throws NOT_FOUND, INVALID_FILE or, naming it, UNSUPPORTED.
   */
  static fromGguf(metadata: GgufRecord): Tokenizer {
    checkObject("metadata", metadata);
    const { file, config } = readGguf(metadata);
    return new Tokenizer(file, config);
  }

  /** @internal As fromGguf, most of it away from the event loop. Rejects with ABORTED. */
  static async fromGgufAsync(
    metadata: GgufRecord,
    { signal, takes = false }: { signal?: AbortSignal | undefined; takes?: boolean } = {},
  ): Promise<Tokenizer> {
    checkObject("metadata", metadata);
    // Reading the metadata may have taken long.
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(signal, "Tokenizer.load");
    const { file, config } = await readGgufAsync(metadata, { signal, takes });
    return built(file, config, signal);
  }

  /**
   * Trains a byte-level BPE vocabulary on texts (each a document, or a part of one cut where a word ends), away from the
   * event loop. Deterministic: of pairs equally frequent, the one with the lexicographically greater bytes is merged
   * first. Fewer tokens than `vocabSize` come out only if the texts have no more pairs. Rejects with ABORTED.
   */
  static async train(texts: Iterable<string> | AsyncIterable<string>, options: TrainOptions): Promise<Tokenizer> {
    const { trainFile } = await import("./training/train.ts");
    const { file, config } = await trainFile(texts, options);
    return new Tokenizer(file, config);
  }

  /**
   * Encodes texts, or pairs of texts, as model inputs: truncated and padded, with masks. `truncation` and `padding` default to the tokenizer's
   * (from tokenizer.json, or as set here). Does not block the event loop. Throws INVALID_ARGUMENT if the length has no room for the special
   * tokens. Rejects with ABORTED.
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

  /** How encodeInputs cuts texts unless told otherwise: that of tokenizer.json, or as set. `save` writes it. */
  get truncation(): Truncation | undefined {
    return this.truncationRule;
  }

  /** From now on, as `encodeInputs` takes it; undefined: texts stay whole. @throws HeddleError INVALID_ARGUMENT */
  set truncation(rule: Truncation | undefined) {
    this.truncationRule = rule && { ...checkTruncation(rule) };
  }

  /** How encodeInputs fills texts up unless told otherwise: that of tokenizer.json, or as set. `save` writes it. */
  get padding(): Padding | undefined {
    return this.paddingRule;
  }

  /** From now on, as `encodeInputs` takes it; undefined: texts stay as long as they are. @throws HeddleError INVALID_ARGUMENT */
  set padding(rule: Padding | undefined) {
    this.paddingRule = rule && { ...checkPadding(rule) };
  }

  /**
   * Two texts as one sequence, as a cross-encoder takes them: with `addSpecialTokens` the tokenizer's form for pairs
   * (BERT's [CLS] first [SEP] second [SEP]), else one after the other. `typeIds`: which text each token is of.
   * Throws INVALID_FILE where that form is broken.
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
   * A conversation as text and ids, by the tokenizer's chat template (or, without one, a default: ChatML where the
   * vocabulary has its tokens, else "User: …" and "Assistant: …"). The ids are those of the text without added BOS or EOS:
   * a template writes them itself.
   *
   * Text inside the messages is never taken for a special token, whatever it says: with
   * `{ role: "user", content: "<|im_end|>" }` the ids hold the characters, not the token. So do not encode `text` again.
   * The same holds for characters that the normalizer turns into those of a token, such as `＜|im_end|＞` under NFKC.
   *
   * Throws INVALID_ARGUMENT for messages that the template refuses, INVALID_FILE for a template that is broken or
   * exceeds the limits on time, steps and sizes.
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
   * The same without blocking the event loop, except for rendering the template. Long texts are encoded on a thread. Rejects with
   * ABORTED.
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
   * including the mark-up before an answer. If the template has `{% generation %}` tags, the mask covers the tokens that overlap them, like
   * transformers' return_assistant_tokens_mask.
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
    // Where a filter changed what it was given for the marks in it, they say nothing.
    if (generated?.text === text)
      return { text, ids, assistantMask: generatedMask(ids.length, offsets, generated.spans) };
    const spans = assistantSpans(messages, text, (some, opens) => chat.renderPart(some, opens));
    this.specialIds ??= new Set([...this.specialTokens.values(), ...this.eosTokenIds]);
    const special = this.specialIds;
    return { text, ids, assistantMask: tokenMask(text, ids, offsets, spans, (id) => special.has(id)) };
  }

  /**
   * As applyChatTemplate, with the tokens that each message became, mark-up included: they follow one another from the first token
   * to the last, or to the generation prompt.
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
   * Returns the same tokenizer with another default chat template, which `files()` then writes.
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
   * Whether a conversation fits a context, and what to drop of it if not: the oldest turns, never the system messages at
   * the beginning nor the last turn.
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

  /** The same away from the event loop, as applyChatTemplateAsync. Rejects with ABORTED. */
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

  /** Tokens that `allowSpecial` and `skipSpecialTokens` speak of, and others added after training. */
  get addedTokens(): readonly AddedToken[] {
    return this.file.added;
  }

  /** Special tokens' text → id. */
  get specialTokens(): ReadonlyMap<string, number> {
    return tokenIds(this.file.added.filter((token) => token.special));
  }

  /** The first of eosTokenIds: what ends a document in training. */
  get eosTokenId(): number | undefined {
    return this.eosTokenIds[0];
  }

  /** The texts of the files that `save` writes, by name. */
  files(): { "tokenizer.json": string; "tokenizer_config.json": string } {
    return {
      "tokenizer.json": tokenizerToJson(this.saved()),
      "tokenizer_config.json": configToJson(this.file, this.config),
    };
  }

  /**
   * Writes tokenizer.json and tokenizer_config.json as Hugging Face's libraries read them. Makes the folder, and removes another tokenizer's
   * files from it.
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

/** As Tokenizer.fromFiles, most of it away from the event loop. */
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
