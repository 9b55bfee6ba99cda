// The tokenizer as users see it. Native code does the work of encode and decode; see plan.ts for who does the rest.
import { binding, type NativeTokenizer } from "../binding.ts";
import { HeddleError, invalidArgument } from "../errors.ts";
import {
  type ChatMessage,
  type ChatTemplateOptions,
  chooseTemplate,
  type Fit,
  type FitOptions,
  fitMessages,
  type RenderedChat,
  renderChat,
} from "./chat.ts";
import { assistantSpans, tokenMask } from "./chat-mask.ts";
import { parseConfig, type TokenizerConfig } from "./config.ts";
import { TokenDecoder } from "./decoder.ts";
import { readFolder, readVocabulary, type TokenizerTexts, writeFolder } from "./folder.ts";
import { type GgufRecord, readGguf } from "./gguf.ts";
import { finish, throwIfAborted } from "./jobs.ts";
import { makePlan, type Plan } from "./plan.ts";
import { readPairForm } from "./post-processors.ts";
import type { AddedToken, TokenizerFile } from "./tokenizer-file.ts";
import { type TrainOptions, trainFile } from "./train.ts";
import { configToJson, tokenizerToJson } from "./write.ts";

export interface EncodeOptions {
  /** Add the ids that the tokenizer puts around a text, such as BOS. Default true. */
  addSpecialTokens?: boolean;
  /**
   * Recognise special tokens' text inside the text, as Hugging Face does. false: it is ordinary text, and so is that of
   * other added tokens that look like mark-up (`<tool_call>`). Default true.
   */
  allowSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  skipSpecialTokens?: boolean;
}

export interface EncodingWithOffsets {
  ids: Uint32Array;
  /**
   * Two numbers a token, in UTF-16 units of the text (JavaScript's string indices): where what the token stands for
   * begins and ends. A token of a part of a character spans all of it; tokens around the text have 0, 0.
   */
  offsets: Uint32Array;
}

const flagAddSpecial = 1;
const flagAllowSpecial = 2;
const flagOffsets = 4;
/** From this many UTF-16 units on, encodeAsync leaves the event loop; below, the crossing costs more than the work. */
const asyncLength = 16_384;

function encodeFlags(options: EncodeOptions | undefined): number {
  if (options === undefined) return flagAddSpecial | flagAllowSpecial;
  return (
    (options.addSpecialTokens === false ? 0 : flagAddSpecial) | (options.allowSpecial === false ? 0 : flagAllowSpecial)
  );
}

function checkText(text: unknown): asserts text is string {
  if (typeof text !== "string") throw invalidArgument("text", "a string", text);
}

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
export class Tokenizer {
  readonly config: TokenizerConfig;
  /** Highest id + 1, added tokens included: what an embedding needs at least. */
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  /** Any of these ends a text. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;

  private readonly file: TokenizerFile;
  private readonly plan: Plan;
  private readonly native: NativeTokenizer;
  private readonly output: Uint32Array;
  private tokensById: (string | undefined)[] | undefined;
  private idsByToken: Map<string, number> | undefined;
  private specialIds: ReadonlySet<number> | undefined;

  /** @internal Use load, fromFiles, fromGguf or train. */
  constructor(file: TokenizerFile, config: TokenizerConfig) {
    this.file = file;
    this.config = config;
    this.plan = makePlan(file);
    this.native = new binding.NativeTokenizer(this.plan.spec);
    // The addon has its own copy now.
    Object.assign(this.plan.spec, { tokens: "", merges: "", scores: undefined, normalizer: [] });
    this.output = this.native.output;
    this.vocabSize = this.native.size;
    const ids = (name: string | undefined) => (name === undefined ? undefined : this.tokenToId(name));
    this.bosTokenId = ids(config.bosToken);
    this.padTokenId = ids(config.padToken);
    this.unkTokenId = ids(config.unkToken ?? file.model.unknownToken);
    const eos = [ids(config.eosToken), ...config.eosTokenIds].filter((id) => id !== undefined);
    this.eosTokenIds = [...new Set(eos)];
  }

  /**
   * Loads a folder with tokenizer.json, or else tokenizer.model (SentencePiece, or Llama 3's ranks), vocab.json and
   * merges.txt, or vocab.txt (and, where there are, tokenizer_config.json, special_tokens_map.json,
   * generation_config.json and chat_template.jinja), or one of these, or a published .tiktoken, by its name.
   * Throws NOT_FOUND, INVALID_FILE or, naming it, UNSUPPORTED for a component that heddle lacks.
   */
  static async load(path: string, options: { signal?: AbortSignal } = {}): Promise<Tokenizer> {
    return Tokenizer.fromFiles(await readFolder(path, options.signal));
  }

  /** From the texts of the files that `load` reads. */
  static fromFiles(texts: TokenizerTexts): Tokenizer {
    const config = parseConfig(texts);
    return new Tokenizer(readVocabulary(texts, config), config);
  }

  /**
   * From the metadata of a GGUF file: a record of its keys, of which `tokenizer.*` are read. Models "llama" (SentencePiece
   * with scores) and "gpt2" (byte-level). Throws NOT_FOUND, INVALID_FILE or, naming it, UNSUPPORTED.
   */
  static fromGguf(metadata: GgufRecord): Tokenizer {
    const { file, config } = readGguf(metadata);
    return new Tokenizer(file, config);
  }

  /**
   * Trains a byte-level BPE vocabulary on texts (each a document, or a part of one cut where a word ends), away from the
   * event loop. Deterministic: of pairs equally frequent, the one with the lexicographically greater bytes is merged
   * first. Fewer tokens than `vocabSize` come out only if the texts have no more pairs. Rejects with ABORTED.
   */
  static async train(texts: Iterable<string> | AsyncIterable<string>, options: TrainOptions): Promise<Tokenizer> {
    const { file, config } = await trainFile(texts, options);
    return new Tokenizer(file, config);
  }

  /** Ids of a text. Linear in its length, also without a single space; for megabytes see encodeAsync. */
  encode(text: string, options?: EncodeOptions): Uint32Array {
    checkText(text);
    const flags = encodeFlags(options);
    const result = this.native.encode(text, flags);
    return typeof result === "number" ? this.output.slice(0, result) : result;
  }

  /** As encode, away from the event loop for long texts. Rejects with ABORTED. */
  async encodeAsync(text: string, options: EncodeOptions & { signal?: AbortSignal } = {}): Promise<Uint32Array> {
    checkText(text);
    throwIfAborted(options.signal, "encode");
    if (text.length < asyncLength) return this.encode(text, options);
    return (await this.encodeBatch([text], options))[0]!;
  }

  /** Ids of each text, encoded on several threads away from the event loop. Rejects with ABORTED. */
  async encodeBatch(
    texts: readonly string[],
    options: EncodeOptions & { signal?: AbortSignal } = {},
  ): Promise<Uint32Array[]> {
    for (const text of texts) checkText(text);
    throwIfAborted(options.signal, "encode");
    const [ids, counts] = await finish(this.native.encodeBatch([...texts], encodeFlags(options)), options.signal);
    let at = 0;
    return texts.map((_, index) => {
      const count = counts[index]!;
      at += count;
      return ids.slice(at - count, at);
    });
  }

  /** Ids and, for each, the stretch of the text it stands for, in UTF-16 units. */
  encodeWithOffsets(text: string, options?: EncodeOptions): EncodingWithOffsets {
    checkText(text);
    const flags = encodeFlags(options) | flagOffsets;
    const [ids, offsets] = this.native.encodeWithOffsets(text, flags);
    return { ids, offsets };
  }

  /**
   * Two texts as one sequence, as a cross-encoder takes them: with `addSpecialTokens` the tokenizer's form for pairs
   * (BERT's [CLS] first [SEP] second [SEP]), else one after the other. `typeIds`: which text each token is of.
   * Throws INVALID_FILE where that form is broken.
   */
  encodePair(first: string, second: string, options: EncodeOptions = {}): { ids: Uint32Array; typeIds: Uint32Array } {
    const texts = [first, second].map((text) => this.encode(text, { ...options, addSpecialTokens: false }));
    const parts = readPairForm(this.file).filter((part) => "text" in part || options.addSpecialTokens !== false);
    const ids: number[] = [];
    const typeIds: number[] = [];
    for (const part of parts) {
      for (const id of "text" in part ? texts[part.text]! : part.ids) {
        ids.push(id);
        typeIds.push(part.typeId);
      }
    }
    return { ids: Uint32Array.from(ids), typeIds: Uint32Array.from(typeIds) };
  }

  /** Number of ids of a text, without making them. */
  count(text: string, options?: EncodeOptions): number {
    checkText(text);
    return this.native.count(text, encodeFlags(options));
  }

  /**
   * Text of ids. Malformed UTF-8 becomes U+FFFD; ids that the vocabulary lacks add nothing.
   * Takes any iterable of numbers.
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const array = ids instanceof Uint32Array ? ids : Uint32Array.from(ids);
    return this.native.decode(array, options.skipSpecialTokens === true);
  }

  /**
   * Decodes ids one by one: `push(id)` returns the text that has become certain (never a part of a character), `flush()`
   * the rest. The pieces add up to `decode` of all ids.
   *
   * `after`: ids whose text has been shown already, such as the prompt's; the pieces continue it.
   */
  decoder(options: DecodeOptions & { after?: Iterable<number> } = {}): TokenDecoder {
    const skipSpecial = options.skipSpecialTokens === true;
    const decoder = this.plan.decodesInSteps
      ? TokenDecoder.overWindow(
          (ids) => this.decode(ids, { skipSpecialTokens: skipSpecial }),
          // A run of byte tokens is text or not as a whole.
          (id) => /^<0x[0-9a-fA-F]{2}>$/u.test(this.idToToken(id) ?? ""),
        )
      : TokenDecoder.native(new binding.NativeDecoder(this.native, skipSpecial, false));
    if (options.after) for (const id of options.after) decoder.push(id);
    return decoder;
  }

  /** Whether the tokenizer brings a chat template of its own. */
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
   *
   * Throws INVALID_ARGUMENT for messages that the template refuses, INVALID_FILE for a template that is broken or
   * exceeds the limits on time, steps and sizes.
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): { text: string; ids: Uint32Array } {
    const { text, barriers } = this.render(messages, options);
    return { text, ids: this.encodeGuarded(text, barriers) };
  }

  /**
   * As applyChatTemplate, with a mask of the tokens that the assistant says: 1 for those of its answers and of the tokens
   * that end them, 0 for all that a model is given, the mark-up before an answer included.
   */
  applyChatTemplateWithMask(
    messages: readonly ChatMessage[],
    options: Omit<ChatTemplateOptions, "addGenerationPrompt"> = {},
  ): { text: string; ids: Uint32Array; assistantMask: Uint8Array } {
    const { text, barriers } = this.render(messages, options);
    const spans = assistantSpans(messages, text, (some, addGenerationPrompt) => {
      try {
        return this.render(some, { ...options, addGenerationPrompt }).text;
      } catch (error) {
        // What the template takes as a whole it may refuse in part.
        if (error instanceof HeddleError && error.code === "INVALID_ARGUMENT") return undefined;
        throw error;
      }
    });
    const flags = flagAllowSpecial | flagOffsets;
    const [ids, offsets] = this.native.encodeWithOffsets(text, flags, barriers);
    this.specialIds ??= new Set([...this.specialTokens.values(), ...this.eosTokenIds]);
    const special = this.specialIds;
    return { text, ids, assistantMask: tokenMask(text, ids, offsets, spans, (id) => special.has(id)) };
  }

  /**
   * The same tokenizer with another chat template as its default, which `files()` then writes.
   * @param options.template its text, or the name of one that the tokenizer has; else the one that it falls back to
   */
  withChatTemplate(options: { template?: string } = {}): Tokenizer {
    const template = chooseTemplate(this.config, (token) => this.tokenToId(token) !== undefined, options);
    const chatTemplates = { ...this.config.chatTemplates, default: template };
    return new Tokenizer(this.file, { ...this.config, chatTemplates });
  }

  private render(messages: readonly ChatMessage[], options: ChatTemplateOptions): RenderedChat {
    const template = chooseTemplate(this.config, (token) => this.tokenToId(token) !== undefined, options);
    const guarded = this.plan.spec.added.filter((token) => token.guarded);
    return renderChat(messages, template, guarded, this.config, options);
  }

  /**
   * Whether a conversation fits a context, and what to drop of it if not: the oldest turns, never the system messages at
   * the beginning nor the last turn.
   */
  fit(messages: readonly ChatMessage[], options: FitOptions): Fit {
    return fitMessages(messages, options, (some) => this.applyChatTemplate(some, options).ids.length);
  }

  /** The token as the vocabulary writes it (byte-level ones in GPT-2's printable alphabet), or undefined. */
  idToToken(id: number): string | undefined {
    if (!this.tokensById) {
      this.tokensById = new Array(this.vocabSize);
      const { tokens, ids } = this.file.model;
      for (let i = 0; i < tokens.length; i++) this.tokensById[ids[i]!] = tokens[i];
      for (const token of this.file.added) this.tokensById[token.id] = token.content;
    }
    return this.tokensById[id];
  }

  /** The id of a token as the vocabulary writes it, or undefined. */
  tokenToId(token: string): number | undefined {
    if (!this.idsByToken) {
      this.idsByToken = new Map();
      const { tokens, ids } = this.file.model;
      for (let i = 0; i < tokens.length; i++) this.idsByToken.set(tokens[i]!, ids[i]!);
      for (const added of this.file.added) this.idsByToken.set(added.content, added.id);
    }
    return this.idsByToken.get(token);
  }

  /** The bytes that a token stands for by itself: `<0x0A>` is one byte, "▁the" is " the". Empty for an unknown id. */
  tokenBytes(id: number): Uint8Array {
    return this.native.tokenBytes(id);
  }

  /** Tokens that `allowSpecial` and `skipSpecialTokens` speak of, and others added after training. */
  get addedTokens(): readonly AddedToken[] {
    return this.file.added;
  }

  /** Special tokens' text → id. */
  get specialTokens(): ReadonlyMap<string, number> {
    return new Map(this.file.added.filter((token) => token.special).map((token) => [token.content, token.id]));
  }

  /** The first of eosTokenIds: what ends a document in training. */
  get eosTokenId(): number | undefined {
    return this.eosTokenIds[0];
  }

  /** The texts of the files that `save` writes, by name. */
  files(): { "tokenizer.json": string; "tokenizer_config.json": string } {
    return {
      "tokenizer.json": tokenizerToJson(this.file),
      "tokenizer_config.json": configToJson(this.file, this.config),
    };
  }

  /** Writes tokenizer.json and tokenizer_config.json as Hugging Face's libraries read them. Makes the folder. */
  async save(folder: string): Promise<void> {
    await writeFolder(folder, this.file, this.config);
  }

  private encodeGuarded(text: string, barriers: Uint32Array): Uint32Array {
    const result = this.native.encode(text, flagAllowSpecial, barriers);
    return typeof result === "number" ? this.output.slice(0, result) : result;
  }
}
