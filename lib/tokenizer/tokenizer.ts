// The public tokenizer class: files, vocabulary, model inputs and chats. text-codec.ts converts text to ids, chat-codec.ts conversations.
import { checkObject, checkPath, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFlag } from "../core/option-values.ts";
import { nextTurn, pause } from "../core/slices.ts";
import { checkNames } from "../core/unknown-options.ts";
import { exists } from "../io/atomic-files.ts";
import { chooseTemplate } from "./chat/chat.ts";
import { ChatCodec } from "./chat-codec.ts";
import type { EncodeOptions } from "./encode-options.ts";
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
import { releaseLarge } from "./files/release.ts";
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
import { buildCodec, type NativeCodec } from "./text-codec.ts";
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
export class Tokenizer extends ChatCodec {
  /** Settings of tokenizer_config.json and related files. */
  readonly config: TokenizerConfig;
  /** Id of the token that begins a text, if there is one. */
  readonly bosTokenId: number | undefined;
  /** Ids that end a text. Generation stops at any of them. */
  readonly eosTokenIds: readonly number[];
  /** Id of the padding token, if there is one. */
  readonly padTokenId: number | undefined;
  /** Id of the token for unknown text, if there is one. */
  readonly unkTokenId: number | undefined;

  /** @internal */
  protected readonly file: TokenizerFile;
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
   * additional_chat_templates if present. The path may also be a vocabulary file, a published .tiktoken file, or a GGUF file. `default`
   * loads the tokenizer of the embedded model. A name such as `OWNER/NAME` loads that of a model in the shared cache.
   *
   * @param options.cache whether to keep a compiled BPE vocabulary next to tokenizer.json (tokenizer.json.heddle). If the cache matches
   * the file's content, the file is not parsed; otherwise the cache is written again. Default: false.
   * @throws HeddleError NOT_FOUND, INVALID_FILE, or UNSUPPORTED with the name of the component
   */
  static async load(
    path: string,
    options: { signal?: AbortSignal | undefined; cache?: boolean | undefined } = {},
  ): Promise<Tokenizer> {
    checkNames(options, { signal: true, cache: true });
    checkFlag("cache", options.cache);
    const folder = await pathOf(path);
    const gguf = await ggufRecordOf(folder, options.signal);
    const texts = gguf ? {} : await readFolder(folder, options.signal);
    try {
      if (gguf) return await Tokenizer.fromGgufAsync(gguf, { signal: options.signal, takes: true });
      return options.cache === true
        ? await Tokenizer.loadCached(texts, options.signal)
        : await fromTexts(texts, options.signal, { takes: true });
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
        if (!(error instanceof HeddleError)) throw error;
        // Read the file without the cache, so that the error is about the file itself.
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
    await nextTurn();
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
   * tokenizer's properties of these names. It does not block the event loop. Rejects with INVALID_ARGUMENT if the length has no room for
   * the special tokens, and with ABORTED if the signal fires.
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
    // Equal texts are encoded once. Exceptions: with dropout, each copy has its own random numbers; with forbidSpecial,
    // errors name the text's index.
    const own = rest.dropout || rest.forbidSpecial ? flat : [...new Set(flat)];
    const encoded = await this.encodeBatch(own, { ...rest, addSpecialTokens: false });
    const byText = own === flat ? undefined : new Map(own.map((text, i) => [text, encoded[i]!]));
    const form = (parts: PairPart[]) => parts.filter((part) => "text" in part || options.addSpecialTokens !== false);
    const single = form(readSingleForm(this.file));
    let pair: PairPart[] | undefined;
    let at = 0;
    const inputs = texts.map((input) => {
      const isPair = typeof input !== "string";
      pair ??= isPair ? form(readPairForm(this.file)) : undefined;
      const ids = (isPair ? [at, at + 1] : [at]).map((i) => byText?.get(flat[i]!) ?? encoded[i]!);
      at += ids.length;
      return buildInput(ids, isPair ? pair! : single, truncation);
    });
    return padding || fills === true ? padInputs(inputs, padding ?? {}, this.padTokenId) : inputs;
  }

  /** The default truncation of encodeInputs: the one last set, or that of tokenizer.json. `save` writes it. */
  get truncation(): Truncation | undefined {
    return this.truncationRule;
  }

  /** Sets the default truncation of encodeInputs; undefined for none. @throws HeddleError INVALID_ARGUMENT */
  set truncation(rule: Truncation | undefined) {
    this.truncationRule = rule && { ...checkTruncation(rule) };
  }

  /** The default padding of encodeInputs: the one last set, or that of tokenizer.json. `save` writes it. */
  get padding(): Padding | undefined {
    return this.paddingRule;
  }

  /** Sets the default padding of encodeInputs; undefined for none. @throws HeddleError INVALID_ARGUMENT */
  set padding(rule: Padding | undefined) {
    this.paddingRule = rule && { ...checkPadding(rule) };
  }

  /**
   * Encodes two texts as one sequence, for a cross-encoder. By default it uses the tokenizer's template for pairs (BERT's [CLS] first
   * [SEP] second [SEP]); with `addSpecialTokens: false` the texts are concatenated. `typeIds` are the token types, which distinguish the
   * two texts.
   * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE if the tokenizer's template is invalid
   */
  encodePair(first: string, second: string, options: EncodeOptions = {}): { ids: Uint32Array; typeIds: Uint32Array } {
    const texts = [first, second].map((text) => this.encode(text, { ...options, addSpecialTokens: false }));
    const parts = readPairForm(this.file).filter((part) => "text" in part || options.addSpecialTokens !== false);
    const { ids, typeIds } = buildInput(texts, parts, undefined);
    return { ids, typeIds };
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

  /** The added tokens. `skipSpecialTokens` omits the special ones. `allowSpecial` also covers others that look like markup. */
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

/** Returns the path to load: that of the embedded model, `name` itself if it exists, or that of a model in the shared cache. */
async function pathOf(name: string): Promise<string> {
  if (name === "default") return (await import("../formats/default-model.ts")).defaultModelPath();
  if (typeof name !== "string" || name === "" || (await exists(name).catch(() => true))) return name;
  return (await import("../hub/resolve.ts")).resolveModel(name, { needs: "tokenizer" });
}

/**
 * Like Tokenizer.fromFiles, mostly off the event loop.
 * @param how.takes whether the memory of `texts` may be freed, because the caller does not use them afterwards
 */
async function fromTexts(
  texts: TokenizerTexts,
  signal: AbortSignal | undefined,
  { takes = false } = {},
): Promise<Tokenizer> {
  const config = parseConfig(texts);
  const file = await readVocabularyAsync(texts, config, signal);
  if (takes) releaseLarge(texts.tokenizer);
  return built(file, config, signal);
}

async function built(
  file: TokenizerFile,
  config: TokenizerConfig,
  signal: AbortSignal | undefined,
): Promise<Tokenizer> {
  await pause();
  const codec = await buildCodec(file, signal);
  throwIfAborted(signal, "Tokenizer.load");
  return new Tokenizer(file, config, codec);
}
