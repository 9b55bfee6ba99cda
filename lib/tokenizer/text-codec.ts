// Text ↔ ids. Native code does most of the work. pipeline/pipeline.ts maps each component to its native form.
import { binding } from "../binding/index.ts";
import type { NativeDecoder, NativeTokenizer } from "../binding/tokenizer.ts";
import { checkAttached, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFlag } from "../core/option-values.ts";
import { atOnce, inSlices, type Slices } from "../core/slices.ts";
import { checkNames, type Names } from "../core/unknown-options.ts";
import { finish } from "../io/native-jobs.ts";
import {
  BATCH_NAMES,
  checkForbidden,
  checkText,
  ENCODE_NAMES,
  type EncodeOptions,
  Flag,
  forbiddenSearch,
  type NativeOptions,
  nativeOptions,
  plainFlags,
} from "./encode-options.ts";
import type { TokenizerFile } from "./files/tokenizer-file.ts";
import { idArray } from "./id-array.ts";
import { joinIds, makePlan, type Plan } from "./pipeline/pipeline.ts";
import { ShortIds } from "./short-ids.ts";
import { SettledTexts, TokenDecoder } from "./streaming-decoder.ts";
import { apart, encodeTexts, type TakenIds } from "./text-transfer.ts";
import { TokenNames, tokenIds } from "./token-names.ts";
import { OffsetTrimmer } from "./trim-offsets.ts";
import { oneOf } from "./truncation.ts";

/** Options of `decode`. */
export interface DecodeOptions {
  /** Whether to omit special tokens. Default false. */
  skipSpecialTokens?: boolean | undefined;
}

/** The result of `encodeWithOffsets`. */
export interface EncodingWithOffsets {
  /** Token ids. */
  ids: Uint32Array;
  /**
   * Two numbers per token: the begin and end of its part of the text, in UTF-16 units (JavaScript's string indices) or in UTF-8 bytes. A
   * token for part of a character spans the whole character. Tokens added around the text have 0, 0. With `trim_offsets` in
   * tokenizer.json, white space at a token's ends is left out.
   *
   * Hugging Face's library counts Unicode characters instead. There are two more differences, which make the parts cover the text without
   * overlaps. Inserted text, such as the ▁ before a text, has an empty range; the library assigns it the adjacent character. If a
   * normalizer merges characters or drops accents, the token spans all of them; the library assigns only the first.
   */
  offsets: Uint32Array;
}

const JOINED_NAMES = { ...BATCH_NAMES, output: true } as const;
const OFFSETS_NAMES = { ...ENCODE_NAMES, units: true } as const;
const OFFSETS_ASYNC_NAMES = { ...OFFSETS_NAMES, signal: true } as const;
const DECODE_NAMES = { skipSpecialTokens: true } as const;

function checkDecoding<T extends DecodeOptions>(options: T, names: Names<T>): void {
  checkNames(options, names);
  checkFlag("skipSpecialTokens", options.skipSpecialTokens);
}

/** Minimum number of UTF-16 units of a text that is encoded off-thread. Shorter texts take longer to transfer than to encode. */
export const LONG_TEXT = 16_384;

/** Maximum number of ids of a batch whose array is reused for the next batch: 16 MB. */
const keptBatchIds = 1 << 22;

/** The native tokenizer of a file, and the plan it was made from. */
export interface NativeCodec {
  plan: Plan;
  native: NativeTokenizer;
}

/** Builds the native tokenizer of a file without blocking the event loop. */
export async function buildCodec(file: TokenizerFile, signal: AbortSignal | undefined): Promise<NativeCodec> {
  const plan = makePlan(file);
  return { plan, native: await finish(binding.startTokenizer(plan.spec), signal) };
}

/** The part of Tokenizer that converts texts to ids and back. */
export class TextCodec {
  /** Highest id + 1, including added tokens. An embedding table needs at least this many rows. */
  readonly vocabSize: number;
  /** @internal */ protected readonly plan: Plan;
  /** @internal */ protected readonly native: NativeTokenizer;
  private readonly output: Uint32Array;
  private readonly names: TokenNames;
  private readonly trimmer: OffsetTrimmer;
  private readonly isBpe: boolean;
  private readonly shortIds = new ShortIds();
  private batchIds: Uint32Array | undefined;
  private settled: SettledTexts | undefined;
  private neighbors: readonly number[] | undefined;
  private guardedIds: ReadonlyMap<string, number> | undefined;

  /** @internal */
  constructor(file: TokenizerFile, codec?: NativeCodec) {
    this.plan = codec?.plan ?? makePlan(file);
    this.native = codec?.native ?? new binding.NativeTokenizer(this.plan.spec);
    // Free the data that the addon has copied.
    Object.assign(this.plan.spec, { vocabulary: undefined, tokens: "", merges: "", scores: undefined, normalizer: [] });
    this.output = this.native.output;
    this.vocabSize = this.native.size;
    this.names = new TokenNames(file, this.vocabSize);
    const added = new Set(this.plan.spec.added.map(({ id }) => id));
    this.trimmer = new OffsetTrimmer(file, { nameOf: (id) => this.names.name(id), isAdded: (id) => added.has(id) });
    this.isBpe = file.model.type === "BPE";
  }

  /**
   * Encodes a text. The time is linear in its length, even without spaces. Use encodeAsync for megabytes. Special tokens in the text stay
   * plain text unless `allowSpecial` is set. Short results share memory, like Node's small Buffers: their `.buffer` also contains other
   * ids and cannot be transferred. `slice()` returns an array with its own memory.
   */
  encode(text: string, options?: EncodeOptions): Uint32Array {
    checkText(text);
    const flags = plainFlags(options);
    if (flags === undefined) return this.encodeWith(text, options, 0)[0];
    const result = this.native.encode(text, flags);
    return typeof result === "number" ? this.shortIds.copy(this.output, result) : result;
  }

  /**
   * Like encode, but writes the ids into `output`. Returns the number of ids of the text. A shorter `output` gets the
   * first ids.
   */
  encodeInto(text: string, output: Uint32Array, options?: EncodeOptions): number {
    if (!(output instanceof Uint32Array)) throw invalidArgument("output", "a Uint32Array", output);
    if (output.length === 0) checkAttached("output", output); // a detached array has no elements
    checkText(text);
    const flags = plainFlags(options);
    const result = flags === undefined ? this.encodeWith(text, options, 0)[0] : this.native.encode(text, flags);
    const isShort = typeof result === "number";
    const count = isShort ? result : result.length;
    const ids = isShort ? this.output : result;
    const stop = Math.min(count, output.length);
    for (let i = 0; i < stop; i++) output[i] = ids[i]!;
    return count;
  }

  /** Like encode, but long texts are encoded off the event loop. Rejects with ABORTED if the signal fires. */
  async encodeAsync(
    text: string,
    options: EncodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint32Array> {
    checkText(text);
    checkNames(options, BATCH_NAMES);
    const { signal, ...rest } = options;
    throwIfAborted(signal, "encode");
    if (text.length < LONG_TEXT) return this.encode(text, rest);
    return (await this.encodeJoined([text], options, undefined)).ids;
  }

  /**
   * Encodes several texts on several threads, off the event loop. Returns the ids of each text. Rejects with ABORTED if the signal fires.
   */
  async encodeBatch(
    texts: readonly string[],
    options: EncodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint32Array[]> {
    checkNames(options, BATCH_NAMES);
    // Reuse the array of the previous batch. Take it out of the field, because concurrent batches must not share it.
    const spare = this.batchIds;
    this.batchIds = undefined;
    const { ids, counts } = await this.encodeJoined(texts, options, spare);
    if (counts.length === 1 && ids.length === counts[0]) return [ids]; // the whole array is returned, so it cannot be reused
    const lists = await inSlices(apart({ ids, counts }), "encode", options.signal);
    if (ids.length <= keptBatchIds) this.batchIds = ids;
    return lists;
  }

  /** @internal Like encodeBatch, but stops encoding a text after more than `most` ids, and returns only its first `most + 1` ids. */
  async encodeUpTo(
    texts: readonly string[],
    most: number,
    options: EncodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint32Array[]> {
    const joined = await this.encodeJoined(texts, options, undefined, most);
    const lists = await inSlices(apart(joined), "encode", options.signal);
    return lists.map((ids) => ids.subarray(0, most + 1));
  }

  /**
   * Encodes texts into one array. Returns the ids of all texts in order, and the number of ids of each text. This avoids an array per
   * text.
   * @param options.output memory for the ids. If it has room for all of them, the result is a view of its beginning. Otherwise, also if
   * the array was transferred to a worker, the result is a new array. The ids are written in several turns of the event loop. Rejects with
   * INVALID_ARGUMENT if `output` is detached meanwhile.
   */
  async encodeBatchJoined(
    texts: readonly string[],
    options: EncodeOptions & { signal?: AbortSignal | undefined; output?: Uint32Array | undefined } = {},
  ): Promise<{ ids: Uint32Array; counts: Uint32Array }> {
    checkNames(options, JOINED_NAMES);
    const { output, ...rest } = options;
    if (output !== undefined && !(output instanceof Uint32Array))
      throw invalidArgument("output", "a Uint32Array", output);
    const { ids, counts, total } = await this.encodeJoined(texts, rest, output);
    return { ids: ids.length === total ? ids : ids.subarray(0, total), counts };
  }

  private async encodeJoined(
    texts: readonly string[],
    options: EncodeOptions & { signal?: AbortSignal | undefined },
    memory: Uint32Array | undefined,
    most = Number.POSITIVE_INFINITY,
  ): Promise<TakenIds> {
    if (typeof texts === "string" || typeof texts?.[Symbol.iterator] !== "function")
      throw invalidArgument("texts", "an array of strings", texts);
    checkAttached("texts", texts);
    const own = [...texts];
    for (const text of own) checkText(text);
    throwIfAborted(options.signal, "encode");
    const converted = this.nativeOptions(options);
    const extras = Number.isFinite(most) ? { ...converted.extras, most } : converted.extras;
    const batch = new binding.NativeBatch(this.native, converted.flags, extras);
    const encoded = await encodeTexts(batch, own, { memory, signal: options.signal });
    if (converted.forbidden) await inSlices(this.forbiddenIn(encoded, converted), "encode", options.signal);
    return encoded;
  }

  private *forbiddenIn({ ids, counts }: TakenIds, converted: NativeOptions): Slices<void> {
    const around = this.specialCounts(converted.flags);
    let at = 0;
    for (const [index, count] of counts.entries()) {
      yield* forbiddenSearch(ids.subarray(at, at + count), converted, around, `texts[${index}]`);
      yield;
      at += count;
    }
  }

  /**
   * Encodes a text, and returns the range of the text that each id was made from. @param options.units unit of the offsets; default "utf16"
   */
  encodeWithOffsets(
    text: string,
    options: EncodeOptions & { units?: "utf16" | "bytes" | undefined } = {},
  ): EncodingWithOffsets {
    checkText(text);
    checkNames(options, OFFSETS_NAMES);
    oneOf("units", options.units, ["utf16", "bytes"]);
    const { units = "utf16" } = options;
    const [ids, offsets] = this.encodeWith(text, options, units === "bytes" ? Flag.byteOffsets : Flag.offsets);
    atOnce(this.trimmer.trim(text, { ids, offsets }, this.ownOf(ids, options), units));
    return { ids, offsets };
  }

  /** Like encodeWithOffsets, but long texts are encoded off the event loop. Rejects with ABORTED if the signal fires. */
  async encodeWithOffsetsAsync(
    text: string,
    options: EncodeOptions & { units?: "utf16" | "bytes" | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<EncodingWithOffsets> {
    checkText(text);
    checkNames(options, OFFSETS_ASYNC_NAMES);
    const { signal, ...rest } = options;
    throwIfAborted(signal, "encode");
    if (text.length < LONG_TEXT) return this.encodeWithOffsets(text, rest);
    oneOf("units", options.units, ["utf16", "bytes"]);
    const { units = "utf16" } = options;
    const converted = this.nativeOptions(rest);
    const flags = converted.flags | (units === "bytes" ? Flag.byteOffsets : Flag.offsets);
    const batch = new binding.NativeBatch(this.native, flags, converted.extras);
    const { ids, offsets } = await encodeTexts(batch, [text], { hasOffsets: true, signal });
    await inSlices(forbiddenSearch(ids, converted, this.specialCounts(converted.flags)), "encode", signal);
    const encoding = { ids, offsets: offsets! };
    await inSlices(this.trimmer.trim(text, encoding, this.ownOf(ids, options), units), "encode", signal);
    return encoding;
  }

  /** Returns the range of ids that belong to the text, without special tokens around it. */
  private ownOf(ids: Uint32Array, { addSpecialTokens }: EncodeOptions): { from: number; to: number } {
    const { before, after } = this.specialCounts(addSpecialTokens === false ? 0 : Flag.addSpecial);
    return { from: before, to: ids.length - after };
  }

  /** Returns the number of ids of a text without creating an array of them. */
  count(text: string, options?: EncodeOptions): number {
    checkText(text);
    const flags = plainFlags(options);
    return flags === undefined ? this.encodeWith(text, options, 0)[0].length : this.native.count(text, flags);
  }

  /**
   * Decodes ids, which may be any iterable of numbers. Malformed UTF-8 becomes U+FFFD. Ids that are not in the vocabulary add nothing.
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    if (options !== undefined) checkDecoding(options, DECODE_NAMES);
    const array = idArray(ids, "ids");
    return this.native.decode(array, options?.skipSpecialTokens === true);
  }

  /** Decodes several lists of ids on several threads, off the event loop. Rejects with ABORTED if the signal fires. */
  async decodeBatch(
    lists: readonly Iterable<number>[],
    options: DecodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<string[]> {
    if (!Array.isArray(lists)) throw invalidArgument("lists", "an array of lists of ids", lists);
    checkDecoding(options, { ...DECODE_NAMES, signal: true });
    throwIfAborted(options.signal, "decode");
    const arrays = lists.map((ids, i) => idArray(ids, `lists[${i}]`));
    const { ids, counts } = joinIds(arrays);
    return finish(this.native.decodeBatch(ids, counts, options.skipSpecialTokens === true), options.signal);
  }

  /**
   * Returns a streaming decoder. `push(id)` returns the text that has become final, never a part of a character, and `flush()` returns
   * the rest. Concatenated, the pieces equal `decode` of all ids.
   *
   * `after`: ids whose text was shown already, such as the prompt's. The pieces then continue that text: `decode(after)` and the pieces
   * together equal `decode` of all ids. If the first new ids complete a character whose first bytes are in `after`, the pieces begin with
   * that character.
   */
  decoder(options: DecodeOptions & { after?: Iterable<number> | undefined } = {}): TokenDecoder {
    checkDecoding(options, { ...DECODE_NAMES, after: true });
    const skipSpecial = options.skipSpecialTokens === true;
    const { native } = this;
    const make = (after: Uint32Array | NativeDecoder | undefined) =>
      new binding.NativeDecoder(native, skipSpecial, after);
    const after = options.after === undefined ? undefined : this.decisiveTail(options.after);
    return new TokenDecoder(make(after), this.settledTexts(), make);
  }

  /** Returns a tail of `ids`, usually one id, that determines how later ids decode. */
  private decisiveTail(ids: Iterable<number>): Uint32Array {
    checkAttached("after", ids);
    const isList = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
    if (!isList) return idArray(ids, "after");
    const list = ids as number[] | Uint32Array;
    // Search ever longer tails, so that a long list is not converted as a whole.
    for (let count = 32; count < list.length; count *= 8) {
      const tail = idArray(list.slice(-count), "after", list.length - count);
      const reset = this.native.lastReset(tail);
      if (reset < count) return tail.subarray(reset);
    }
    return idArray(list, "after");
  }

  /** Returns the token as it is written in the vocabulary (byte-level tokens in GPT-2's printable alphabet), or undefined. */
  idToToken(id: number): string | undefined {
    if (typeof id !== "number") throw invalidArgument("id", "a number", id);
    return this.names.name(id);
  }

  /** Returns the id of a token as it is written in the vocabulary, or undefined. */
  tokenToId(token: string): number | undefined {
    if (typeof token !== "string") throw invalidArgument("token", "a string", token);
    return this.names.id(token);
  }

  /** Returns the bytes of a single token: `<0x0A>` is one byte, "▁the" is " the". Empty for an unknown id. */
  tokenBytes(id: number): Uint8Array {
    return this.native.tokenBytes(id);
  }

  /**
   * @internal Returns the text that a token adds in the middle of a text: " the" for "▁the", although `decode` strips the space at the
   * beginning of a text. The token may be special. Partial characters become U+FFFD.
   */
  tokenText(id: number): string {
    if (!this.plan.decodesInSteps) return Buffer.from(this.native.tokenBytes(id)).toString();
    this.neighbors ??= this.findNeighbors();
    const neighbor = this.neighbors.find((one) => one !== id);
    const decoder = this.decoder(neighbor === undefined ? {} : { after: [neighbor] });
    return decoder.push(id) + decoder.flush();
  }

  /** Finds up to two ordinary tokens to use as left context, so that other tokens decode as inside a text. */
  private findNeighbors(): number[] {
    const found: number[] = [];
    const special = new Set(this.plan.spec.added.map(({ id }) => id));
    for (let id = 0; id < this.vocabSize && found.length < 2; id++)
      if (!special.has(id) && /^\p{L}+$/u.test(this.idToToken(id) ?? "") && this.decode([id]) !== "") found.push(id);
    return found;
  }

  /**
   * @internal Whether the bytes of a sequence are the concatenated bytes of its ids, because no decoder step depends on neighboring
   * tokens.
   */
  get joinsBytes(): boolean {
    return !this.plan.decodesInSteps;
  }

  /** Encodes text with barriers that no special token may span: see chat/injection-guard.ts. */
  protected encodeGuarded(text: string, barriers: Uint32Array): Uint32Array {
    const result = this.native.encode(text, Flag.allowSpecial, barriers);
    return typeof result === "number" ? this.output.slice(0, result) : result;
  }

  /**
   * Like encodeGuarded, but long texts are encoded off the event loop. Rejects with ABORTED if the signal fires.
   * @param most a long text that has more ids is cut to its first `most + 1` ids
   */
  protected async encodeGuardedAsync(
    text: string,
    barriers: Uint32Array,
    { signal, most }: { signal: AbortSignal | undefined; most?: number | undefined },
  ): Promise<Uint32Array> {
    throwIfAborted(signal, "encode");
    if (text.length < LONG_TEXT) return this.encodeGuarded(text, barriers);
    const batch = new binding.NativeBatch(this.native, Flag.allowSpecial, { barriers, most });
    const { ids } = await encodeTexts(batch, [text], { signal });
    return most === undefined ? ids : ids.subarray(0, most + 1);
  }

  /** Number of special tokens that the tokenizer appends to a text, such as EOS. */
  get closingCount(): number {
    return this.plan.spec.endIds.length;
  }

  private settledTexts(): SettledTexts {
    this.settled ??= new SettledTexts(this.vocabSize, (id) => this.native.settledText(id));
    return this.settled;
  }

  private nativeOptions(options: EncodeOptions | undefined): NativeOptions {
    const guarded = () => {
      this.guardedIds ??= tokenIds(this.plan.spec.added.filter((token) => token.guarded));
      return this.guardedIds;
    };
    return nativeOptions(options, guarded, this.isBpe);
  }

  private specialCounts(flags: number): { before: number; after: number } {
    if ((flags & Flag.addSpecial) === 0) return { before: 0, after: 0 };
    return { before: this.plan.spec.beginIds.length, after: this.plan.spec.endIds.length };
  }

  private encodeWith(text: string, options: EncodeOptions | undefined, flags: number): [Uint32Array, Uint32Array] {
    const converted = this.nativeOptions(options);
    const result = this.native.encodeWith(text, converted.flags | flags, converted.extras);
    checkForbidden(result[0], converted, this.specialCounts(converted.flags));
    return result;
  }
}
