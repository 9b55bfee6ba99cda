// Decodes the values of a page in slices. hyparquet decodes a page, which may have millions of values, at once.
import type { DataReader, DecodedArray, PageHeader, ParquetType } from "hyparquet";
import { pause } from "../../core/slices.ts";
import type { LeafColumn } from "./parquet-page.ts";
import { type Page, rowsOf } from "./parquet-rows.ts";
import { cut } from "./parquet-values.ts";
import { unsignedNumber } from "./thrift.ts";

/** Number of values that are decoded at a time. It is a multiple of eight, because booleans take one bit each. */
const SLICE_VALUES = 4096;
/** Number of bytes after which a slice of texts ends. */
const SLICE_BYTES = 1 << 20;

const encodingOf = ({ data_page_header, data_page_header_v2 }: PageHeader) =>
  (data_page_header_v2 ?? data_page_header)?.encoding ?? "PLAIN";

/** Decodes a data page and appends its rows to `out`. It yields to the event loop. */
export async function decodePage(
  page: Page,
  column: LeafColumn,
  { dictionary, out }: { dictionary: DecodedArray | undefined; out: unknown[] },
): Promise<void> {
  const rows = await rowsOf(page, column, out);
  for (const slice of (await slicesOf(page.header, column))(page, dictionary)) {
    rows.push(slice);
    await pause();
  }
  for (const _ of rows.finish()) await pause();
}

/** Decodes a dictionary page. */
export async function decodeDictionary(page: Page, column: LeafColumn): Promise<DecodedArray> {
  const out: unknown[] = [];
  for (const slice of (await slicesOf(page.header, column))(page)) {
    for (const value of slice) out.push(value);
    await pause();
  }
  return out;
}

type SlicesOfPage = (page: Page, dictionary?: DecodedArray) => Generator<DecodedArray, void, undefined>;

/** Returns a function that decodes the non-null values of a page with this header. */
async function slicesOf(header: PageHeader, { decoder }: LeafColumn): Promise<SlicesOfPage> {
  const [{ readPlain }, { convert }, { byteStreamSplit, readRleBitPackedHybrid }, { deltaBinaryUnpack }] =
    await Promise.all([
      import("hyparquet/src/plain.js"),
      import("hyparquet/src/convert.js"),
      import("hyparquet/src/encoding.js"),
      import("hyparquet/src/delta.js"),
    ]);
  const { type, element } = decoder;
  const encoding = encodingOf(header);

  function* plain({ reader, values }: Page): Generator<DecodedArray, void, undefined> {
    reader.offset = values.at;
    for (let left = values.count; left > 0; ) {
      const count = countOf(reader, type, Math.min(left, SLICE_VALUES));
      const read = readPlain(reader, type, count, element.type_length);
      checkEnd(reader);
      yield convert(read, decoder);
      left -= count;
    }
  }

  function* indexed({ reader, values }: Page, dictionary?: DecodedArray): Generator<DecodedArray, void, undefined> {
    if (!dictionary) throw new Error("a page of indices without a dictionary");
    const bits = values.count > 0 ? reader.view.getUint8(values.at) : 0;
    reader.offset = values.at + 1;
    const indices = new Int32Array(values.count);
    if (bits > 0) readRleBitPackedHybrid(reader, bits, indices, reader.view.byteLength - reader.offset);
    for (let at = 0; at < indices.length; at += SLICE_VALUES)
      yield Array.from(indices.subarray(at, at + SLICE_VALUES), (index) => {
        if (!(index >= 0 && index < dictionary.length))
          throw new Error(`the index ${index} in a dictionary of ${dictionary.length}`);
        return dictionary[index];
      });
  }

  function* booleans({ reader, values }: Page): Generator<DecodedArray, void, undefined> {
    reader.offset = values.at;
    const bits = new Uint8Array(values.count);
    if (bits.length > 0) readRleBitPackedHybrid(reader, 1, bits);
    for (let at = 0; at < bits.length; at += SLICE_VALUES)
      yield convert(
        Array.from(bits.subarray(at, at + SLICE_VALUES), (bit) => bit !== 0),
        decoder,
      );
  }

  /** Decodes all numbers at once, and yields them in slices. */
  function* split({ reader, values }: Page): Generator<DecodedArray, void, undefined> {
    reader.offset = values.at;
    const all = byteStreamSplit(reader, values.count, type, element.type_length);
    for (let at = 0; at < all.length; at += SLICE_VALUES) yield convert(all.slice(at, at + SLICE_VALUES), decoder);
  }

  function* deltas({ reader, values }: Page): Generator<DecodedArray, void, undefined> {
    reader.offset = values.at;
    if (values.count === 0) return;
    const make = (count: number) => (type === "INT32" ? new Int32Array(count) : new BigInt64Array(count));
    let last: number | bigint | undefined;
    for (const blocks of blocksOf(reader, values.count)) {
      // The decoder adds differences to a first value. For a slice after the first, that value is the last one of the previous slice.
      const numbers = make(blocks.count);
      deltaBinaryUnpack(blocks.from(last), blocks.count, numbers);
      yield convert(last === undefined ? numbers : numbers.subarray(1), decoder);
      last = numbers.at(-1);
    }
  }

  function* byteArrays({ reader, values: { at, count } }: Page): Generator<DecodedArray, void, undefined> {
    reader.offset = at;
    const lengths = () => {
      const all = new Int32Array(count);
      if (count > 0) deltaBinaryUnpack(reader, count, all);
      return all;
    };
    // DELTA_BYTE_ARRAY stores how many bytes each value shares with the previous value, and then the lengths of the rest.
    const prefixLengths = encoding === "DELTA_BYTE_ARRAY" ? lengths() : undefined;
    const suffixLengths = lengths();
    let before = new Uint8Array();
    let [slice, bytes]: [Uint8Array[], number] = [[], 0];
    for (let i = 0; i < count; i++) {
      const { buffer, byteOffset } = reader.view;
      let text = new Uint8Array(buffer as ArrayBuffer, byteOffset + reader.offset, suffixLengths[i]);
      reader.offset += text.length;
      checkEnd(reader);
      const prefix = prefixLengths?.[i] ?? 0;
      if (prefix > before.length) throw new Error(`a prefix of ${prefix} bytes, after a text of ${before.length}`);
      if (prefix > 0) {
        const whole = new Uint8Array(prefix + text.length);
        whole.set(before.subarray(0, prefix));
        whole.set(text, prefix);
        text = whole;
      }
      before = text;
      slice.push(text);
      bytes += text.length;
      if (slice.length < SLICE_VALUES && bytes < SLICE_BYTES && i < count - 1) continue;
      yield convert(slice, decoder);
      [slice, bytes] = [[], 0];
    }
  }

  switch (encoding) {
    case "PLAIN":
      return plain;
    case "PLAIN_DICTIONARY":
    case "RLE_DICTIONARY":
      return header.type === "DICTIONARY_PAGE" ? plain : indexed;
    case "RLE":
      if (type !== "BOOLEAN") throw new Error("numbers in the encoding RLE");
      return booleans;
    case "BYTE_STREAM_SPLIT":
      return split;
    case "DELTA_BINARY_PACKED":
      return deltas;
    case "DELTA_LENGTH_BYTE_ARRAY":
    case "DELTA_BYTE_ARRAY":
      return byteArrays;
    default:
      throw new Error(`values in the encoding ${encoding}`);
  }
}

/**
 * A group of consecutive blocks of differences. `from` returns a reader of a delta-encoded array of only these blocks.
 * `first` is the array's first value, or undefined for the first value in the page.
 */
interface Blocks {
  count: number;
  from(first: number | bigint | undefined): DataReader;
}

/** Cuts delta-encoded numbers into groups of about SLICE_VALUES. checkValues has checked the lengths. */
function* blocksOf({ view, offset }: DataReader, count: number): Generator<Blocks, void, undefined> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  let at = offset;
  const next = (): number => {
    const begin = at;
    while (bytes[at++]! >= 0x80);
    return unsignedNumber(bytes, begin, at);
  };
  const [size, parts] = [next(), next()];
  const head = bytes.subarray(offset, at);
  next(); // the number of values
  const first = at;
  next(); // the first value
  const firstValue = bytes.subarray(first, at);
  let done = 1;
  do {
    const begin = at;
    const before = done;
    while (done < count && done - before < SLICE_VALUES) {
      next(); // the smallest difference
      const widths = at;
      at += parts;
      for (let part = 0; part < parts && done < count; part++, done += size / parts)
        at += (size / parts / 8) * bytes[widths + part]!;
    }
    done = Math.min(done, count);
    const body = bytes.subarray(begin, at);
    yield {
      count: done - before + 1,
      from(value) {
        // The zero replaces the number of values, which hyparquet reads but does not use.
        const all = Buffer.concat([head, Buffer.of(0), value === undefined ? firstValue : zigzag(BigInt(value)), body]);
        return { view: new DataView(all.buffer, all.byteOffset, all.length), offset: 0 };
      },
    };
  } while (done < count);
}

/** Encodes a 64-bit number as a zigzag varint. */
function zigzag(value: bigint): Buffer {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; left >= 0x80n; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(left)]);
}

/** Checks that the values read so far are within the page. The parser does not check it, and other data may follow in the same buffer. */
function checkEnd({ view, offset }: DataReader): void {
  if (offset > view.byteLength) throw cut();
}

/** Returns how many of the next `most` values form a slice of about SLICE_BYTES. The number is at least one. */
function countOf({ view, offset }: DataReader, type: ParquetType | undefined, most: number): number {
  if (type !== "BYTE_ARRAY") return most;
  let [at, count] = [offset, 0];
  while (count < most && at - offset < SLICE_BYTES && at + 4 <= view.byteLength) {
    at += 4 + view.getUint32(at, true);
    count++;
  }
  return Math.max(1, count);
}
