// Text ↔ ids. Native code does the work; see plan.ts for who does the rest.
import { binding } from "../binding/index.ts";
import type { NativeDecoder, NativeTokenizer } from "../binding/tokenizer.ts";
import { checkAttached, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { atOnce, inSlices, type Slices } from "../core/slices.ts";
import { checkFlag, checkNames, type Names } from "../core/unknown-options.ts";
import { finish } from "../io/native-jobs.ts";
import {
  BATCH_NAMES,
  type Crossing,
  checkForbidden,
  checkText,
  crossingOf,
  ENCODE_NAMES,
  type EncodeOptions,
  Flag,
  forbiddenSearch,
  plainFlags,
} from "./encode-options.ts";
import type { TokenizerFile } from "./files/tokenizer-file.ts";
import { joinIds, makePlan, type Plan } from "./pipeline/pipeline.ts";
import { ShortIds } from "./short-ids.ts";
import { SettledTexts, TokenDecoder } from "./streaming-decoder.ts";
import { apart, encodeTexts, type TakenIds } from "./text-transfer.ts";
import { TokenNames, tokenIds } from "./token-names.ts";
import { OffsetTrimmer } from "./trim-offsets.ts";
import { oneOf } from "./truncation.ts";

/** Options of `decode`. */
export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  skipSpecialTokens?: boolean | undefined;
}

/** The result of `encodeWithOffsets`. */
export interface EncodingWithOffsets {
  ids: Uint32Array;
  /**
   * Two numbers per token: the begin and end of its part of the text, in UTF-16 units (JavaScript's string indices) or in UTF-8 bytes. A
   * token for part of a character spans the whole character. Tokens added around the text have 0, 0. With `trim_offsets` in tokenizer.json,
   * white space at a token's ends is left out.
   *
   * Hugging Face's library counts Unicode characters instead. There are two more differences, which make the parts cover the text without
   * overlaps. Inserted text, such as the ▁ before a text, has an empty part; the library assigns it the adjacent character. If a normalizer
   * merges characters or drops accents, the token spans all of them; the library assigns only the first.
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

function isId(value: unknown): value is number {
  return typeof value === "number" && value >>> 0 === value;
}

/** Converts ids for native code. @throws HeddleError INVALID_ARGUMENT unless it is an iterable of 32-bit unsigned integers */
function idArray(ids: Iterable<number>, name: string, firstIndex = 0): Uint32Array {
  checkAttached(name, ids);
  if (ids instanceof Uint32Array) return ids;
  if (typeof ids?.[Symbol.iterator] !== "function" || typeof ids === "string")
    throw invalidArgument(name, "an iterable of token ids", ids);
  const given: number[] = Array.from(ids);
  const array = new Uint32Array(given.length);
  for (const [i, id] of given.entries()) {
    if (!isId(id)) throw invalidArgument(`${name}[${firstIndex + i}]`, "a token id, a whole number from 0", id);
    array[i] = id;
  }
  return array;
}

/** From this many UTF-16 units on, encodeAsync leaves the event loop; below, the crossing costs more than the work. */
const asyncLength = 16_384;

/** Ids of a batch that are kept as memory for the next: 16 MB. */
const keptBatchIds = 1 << 22;

/** The tables of a file. */
export interface NativeCodec {
  plan: Plan;
  native: NativeTokenizer;
}

/** Makes them away from the event loop. */
export async function buildCodec(file: TokenizerFile, signal: AbortSignal | undefined): Promise<NativeCodec> {
  const plan = makePlan(file);
  return { plan, native: await finish(binding.startTokenizer(plan.spec), signal) };
}

/** The part of Tokenizer that converts texts to ids and back. */
export class TextCodec {
  /** Highest id + 1, added tokens included: what an embedding needs at least. */
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
  private neighbours: readonly number[] | undefined;
  private guardedIds: ReadonlyMap<string, number> | undefined;

  /** @internal */
  constructor(file: TokenizerFile, codec?: NativeCodec) {
    this.plan = codec?.plan ?? makePlan(file);
    this.native = codec?.native ?? new binding.NativeTokenizer(this.plan.spec);
    // The addon has its own copy now.
    Object.assign(this.plan.spec, { vocabulary: undefined, tokens: "", merges: "", scores: undefined, normalizer: [] });
    this.output = this.native.output;
    this.vocabSize = this.native.size;
    this.names = new TokenNames(file, this.vocabSize);
    const added = new Set(this.plan.spec.added.map(({ id }) => id));
    this.trimmer = new OffsetTrimmer(file, { nameOf: (id) => this.names.name(id), isAdded: (id) => added.has(id) });
    this.isBpe = file.model.type === "BPE";
  }

  /**
   * Encodes a text. Takes time linear in its length, even without spaces. For megabytes use encodeAsync. The text of special tokens stays plain
   * text unless `allowSpecial` is set. Short results share memory, like Node's small Buffers: their `.buffer` has other ids too and cannot be
   * transferred. `slice()` makes an array with separate memory.
   */
  encode(text: string, options?: EncodeOptions): Uint32Array {
    checkText(text);
    const flags = plainFlags(options);
    if (flags === undefined) return this.encodeWith(text, options, 0)[0];
    const result = this.native.encode(text, flags);
    return typeof result === "number" ? this.shortIds.copy(this.output, result) : result;
  }

  /**
   * As encode, into an array of the caller's. Returns how many ids the text has; where `output` has less room it holds the first
   * of them.
   */
  encodeInto(text: string, output: Uint32Array, options?: EncodeOptions): number {
    if (!(output instanceof Uint32Array)) throw invalidArgument("output", "a Uint32Array", output);
    checkAttached("output", output);
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

  /** As encode, away from the event loop for long texts. Rejects with ABORTED. */
  async encodeAsync(
    text: string,
    options: EncodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint32Array> {
    checkText(text);
    checkNames(options, BATCH_NAMES);
    const { signal, ...rest } = options;
    throwIfAborted(signal, "encode");
    if (text.length < asyncLength) return this.encode(text, rest);
    return (await this.encodeJoined([text], options, undefined)).ids;
  }

  /** Ids of each text, encoded on several threads away from the event loop. Rejects with ABORTED. */
  async encodeBatch(
    texts: readonly string[],
    options: EncodeOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint32Array[]> {
    checkNames(options, BATCH_NAMES);
    // A batch reuses the memory of the previous one. Only one of several concurrent batches can.
    const spare = this.batchIds;
    this.batchIds = undefined;
    const { ids, counts } = await this.encodeJoined(texts, options, spare);
    if (counts.length === 1 && ids.length === counts[0]) return [ids]; // the whole array is returned, so it cannot be reused
    const lists = await inSlices(apart({ ids, counts }), "encode", options.signal);
    if (ids.length <= keptBatchIds) this.batchIds = ids;
    return lists;
  }

  /**
   * Encodes texts into one array: the ids of all texts in order, and the count of each. Saves making an array per text.
   * @param options.output memory for the ids. If it has room for all, the result is a view of its beginning. It is filled in several turns of
   * the event loop, and detaching it meanwhile is refused with INVALID_ARGUMENT.
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
  ): Promise<TakenIds> {
    if (typeof texts === "string" || typeof texts?.[Symbol.iterator] !== "function")
      throw invalidArgument("texts", "an array of strings", texts);
    checkAttached("texts", texts);
    const own = [...texts];
    for (const text of own) checkText(text);
    throwIfAborted(options.signal, "encode");
    const crossing = this.crossing(options);
    const batch = new binding.NativeBatch(this.native, crossing.flags, crossing.extras);
    const encoded = await encodeTexts(batch, own, { memory, signal: options.signal });
    if (crossing.forbidden) await inSlices(this.forbiddenIn(encoded, crossing), "encode", options.signal);
    return encoded;
  }

  private *forbiddenIn({ ids, counts }: TakenIds, crossing: Crossing): Slices<void> {
    const around = this.around(crossing.flags);
    let at = 0;
    for (const [index, count] of counts.entries()) {
      yield* forbiddenSearch(ids.subarray(at, at + count), crossing, around, `texts[${index}]`);
      yield;
      at += count;
    }
  }

  /** Encodes a text with the range of text for each id. @param options.units unit of the offsets; default "utf16" */
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

  /** As encodeWithOffsets, away from the event loop for long texts. Rejects with ABORTED. */
  async encodeWithOffsetsAsync(
    text: string,
    options: EncodeOptions & { units?: "utf16" | "bytes" | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<EncodingWithOffsets> {
    checkText(text);
    checkNames(options, OFFSETS_ASYNC_NAMES);
    const { signal, ...rest } = options;
    throwIfAborted(signal, "encode");
    if (text.length < asyncLength) return this.encodeWithOffsets(text, rest);
    oneOf("units", options.units, ["utf16", "bytes"]);
    const { units = "utf16" } = options;
    const crossing = this.crossing(rest);
    const flags = crossing.flags | (units === "bytes" ? Flag.byteOffsets : Flag.offsets);
    const batch = new binding.NativeBatch(this.native, flags, crossing.extras);
    const { ids, offsets } = await encodeTexts(batch, [text], { hasOffsets: true, signal });
    await inSlices(forbiddenSearch(ids, crossing, this.around(crossing.flags)), "encode", signal);
    const encoding = { ids, offsets: offsets! };
    await inSlices(this.trimmer.trim(text, encoding, this.ownOf(ids, options), units), "encode", signal);
    return encoding;
  }

  /** The range of ids that belong to the text, without special tokens around it. */
  private ownOf(ids: Uint32Array, { addSpecialTokens }: EncodeOptions): { from: number; to: number } {
    const { before, after } = this.around(addSpecialTokens === false ? 0 : Flag.addSpecial);
    return { from: before, to: ids.length - after };
  }

  /** Number of ids of a text, without an array of them. */
  count(text: string, options?: EncodeOptions): number {
    checkText(text);
    const flags = plainFlags(options);
    return flags === undefined ? this.encodeWith(text, options, 0)[0].length : this.native.count(text, flags);
  }

  /**
   * Text of ids. Malformed UTF-8 becomes U+FFFD; ids that the vocabulary lacks add nothing.
   * Takes any iterable of numbers.
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    if (options !== undefined) checkDecoding(options, DECODE_NAMES);
    const array = idArray(ids, "ids");
    return this.native.decode(array, options?.skipSpecialTokens === true);
  }

  /** Text of each of several lists of ids, decoded on several threads away from the event loop. Rejects with ABORTED. */
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
   * Decodes ids one by one: `push(id)` returns the text that has become certain (never a part of a character), `flush()`
   * the rest. The pieces add up to `decode` of all ids.
   *
   * `after`: ids whose text has been shown already, such as the prompt's. The pieces then continue that text:
   * `decode(after)` and the pieces add up to `decode` of all ids. New ids may change the end of `decode(after)`, as
   * bytes do that complete a character. The pieces then begin with that character.
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

  /** The end of some ids that the text after them depends on. Most often that is the last of them. */
  private decisiveTail(ids: Iterable<number>): Uint32Array {
    checkAttached("after", ids);
    const isList = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
    if (!isList) return idArray(ids, "after");
    const list = ids as number[] | Uint32Array;
    for (let count = 32; count < list.length; count *= 8) {
      const tail = idArray(list.slice(-count), "after", list.length - count);
      const reset = this.native.lastReset(tail);
      if (reset < count) return tail.subarray(reset);
    }
    return idArray(list, "after");
  }

  /** The token as the vocabulary writes it (byte-level ones in GPT-2's printable alphabet), or undefined. */
  idToToken(id: number): string | undefined {
    if (typeof id !== "number") throw invalidArgument("id", "a number", id);
    return this.names.name(id);
  }

  /** The id of a token as the vocabulary writes it, or undefined. */
  tokenToId(token: string): number | undefined {
    if (typeof token !== "string") throw invalidArgument("token", "a string", token);
    return this.names.id(token);
  }

  /** The bytes of a single token: `<0x0A>` is one byte, "▁the" is " the". Empty for an unknown id. */
  tokenBytes(id: number): Uint8Array {
    return this.native.tokenBytes(id);
  }

  /**
   * @internal The text that a token adds inside a text, special tokens included: " the" of "▁the", which `decode` strips at the
   * beginning. Bytes that are not whole characters become U+FFFD.
   */
  tokenText(id: number): string {
    if (!this.plan.decodesInSteps) return Buffer.from(this.native.tokenBytes(id)).toString();
    this.neighbours ??= this.findNeighbours();
    const neighbour = this.neighbours.find((one) => one !== id);
    const decoder = this.decoder(neighbour === undefined ? {} : { after: [neighbour] });
    return decoder.push(id) + decoder.flush();
  }

  /** Finds up to two ordinary tokens as left context, after which other tokens decode as they do inside a text. */
  private findNeighbours(): number[] {
    const found: number[] = [];
    const special = new Set(this.plan.spec.added.map(({ id }) => id));
    for (let id = 0; id < this.vocabSize && found.length < 2; id++)
      if (!special.has(id) && /^\p{L}+$/u.test(this.idToToken(id) ?? "") && this.decode([id]) !== "") found.push(id);
    return found;
  }

  /** @internal Whether the bytes of ids are the concatenated bytes of each id: no decoder step depends on neighbouring tokens. */
  get joinsBytes(): boolean {
    return !this.plan.decodesInSteps;
  }

  /** Ids of text with barriers that no special token may span: see chat-guard.ts. */
  protected encodeGuarded(text: string, barriers: Uint32Array): Uint32Array {
    const result = this.native.encode(text, Flag.allowSpecial, barriers);
    return typeof result === "number" ? this.output.slice(0, result) : result;
  }

  /** The same, away from the event loop for long texts. Rejects with ABORTED. */
  protected async encodeGuardedAsync(
    text: string,
    barriers: Uint32Array,
    signal: AbortSignal | undefined,
  ): Promise<Uint32Array> {
    throwIfAborted(signal, "encode");
    if (text.length < asyncLength) return this.encodeGuarded(text, barriers);
    return (
      await encodeTexts(new binding.NativeBatch(this.native, Flag.allowSpecial, { barriers }), [text], { signal })
    ).ids;
  }

  /** Number of ids that the tokenizer appends to a text, such as EOS. */
  get closingCount(): number {
    return this.plan.spec.endIds.length;
  }

  private settledTexts(): SettledTexts {
    this.settled ??= new SettledTexts(this.vocabSize, (id) => this.native.settledText(id));
    return this.settled;
  }

  private crossing(options: EncodeOptions | undefined): Crossing {
    const guarded = () => {
      this.guardedIds ??= tokenIds(this.plan.spec.added.filter((token) => token.guarded));
      return this.guardedIds;
    };
    return crossingOf(options, guarded, this.isBpe);
  }

  private around(flags: number): { before: number; after: number } {
    if ((flags & Flag.addSpecial) === 0) return { before: 0, after: 0 };
    return { before: this.plan.spec.beginIds.length, after: this.plan.spec.endIds.length };
  }

  private encodeWith(text: string, options: EncodeOptions | undefined, flags: number): [Uint32Array, Uint32Array] {
    const crossing = this.crossing(options);
    const result = this.native.encodeWith(text, crossing.flags | flags, crossing.extras);
    checkForbidden(result[0], crossing, this.around(crossing.flags));
    return result;
  }
}
