// Checks run lengths and sizes in a decompressed page, because the parser trusts them. Invalid lengths could make the
// parser write past the end of its arrays, or loop forever. Format:
// https://parquet.apache.org/docs/file-format/data-pages/encodings/
import type { PageHeader, ParquetType } from "hyparquet";
import { afterNumber, unsignedNumber } from "./thrift.ts";

/**
 * Maximum repetition and definition level of a column. Both count fields on its path in the schema: the first counts repeated fields, and the
 * second counts all fields that are not required.
 */
export interface Levels {
  repetition: number;
  definition: number;
}

/** Maximum number of padding values that a run may have beyond the remaining values. */
const SLACK = 512;
/** Maximum number of bits of a run's value. */
const MAX_RUN_BITS = 32;
/** Maximum number of differences in a block. */
const MAX_DELTA_BLOCK = 2 ** 20;

/** Offset and number of the values in a page. Nulls take no space and are not counted. */
export interface Values {
  at: number;
  count: number;
}

/**
 * Checks the levels and values of a decompressed data page.
 * @throws Error with the reason
 */
export function checkValues(page: Uint8Array, header: PageHeader, type: ParquetType, levels: Levels): Values {
  const isSecond = header.type === "DATA_PAGE_V2";
  const values = isSecond ? valuesOfSecond(page, header, levels) : valuesOfFirst(page, header, levels);
  const { at, count } = values;
  const { encoding } = (isSecond ? header.data_page_header_v2 : header.data_page_header)!;
  switch (encoding) {
    case "PLAIN_DICTIONARY":
    case "RLE_DICTIONARY":
    case "RLE": {
      // If `isBits` is true, hyparquet reads the values as booleans of one bit. Otherwise the page begins with a byte that holds the bit width.
      const isBits = isSecond ? encoding === "RLE" : type === "BOOLEAN";
      const bits = isBits ? 1 : (page[at] ?? 0);
      // The runs of booleans follow their size, a u32.
      if (isBits) checkRuns(page, at + 4, bits, count);
      else if (bits > 0 || isSecond) checkRuns(page, at + 1, bits, count);
      break;
    }
    case "DELTA_BINARY_PACKED":
    case "DELTA_LENGTH_BYTE_ARRAY":
      afterDeltas(page, at, count);
      break;
    case "DELTA_BYTE_ARRAY":
      afterDeltas(page, afterDeltas(page, at, count), count);
      break;
  }
  return values;
}

/** Checks the lengths of decimals that a plain page stores as byte arrays. @throws Error for more than `most` bytes */
export function checkTextLengths(page: Uint8Array, { at, count }: Values, most: number): void {
  let begin = at;
  for (let i = 0; i < count; i++) {
    const length = lengthAt(page, begin);
    if (length > most) throw new Error(`a decimal of ${length} bytes`);
    begin += 4 + length;
  }
}

/** Finds the values of a data page (v1). The levels come before them. Repetition and definition levels each begin with their size in bytes. */
function valuesOfFirst(page: Uint8Array, header: PageHeader, levels: Levels): Values {
  const { num_values: count } = header.data_page_header!;
  let at = 0;
  if (levels.repetition > 0) {
    checkRuns(page, at + 4, bitsOf(levels.repetition), count);
    at += 4 + lengthAt(page, at);
  }
  if (levels.definition === 0) return { at, count };
  const present = checkRuns(page, at + 4, bitsOf(levels.definition), count, levels.definition);
  return { at: at + 4 + lengthAt(page, at), count: present };
}

/** Finds the values of a data page v2, whose header has the sizes of the levels. */
function valuesOfSecond(page: Uint8Array, header: PageHeader, levels: Levels): Values {
  const second = header.data_page_header_v2!;
  const {
    num_values: count,
    repetition_levels_byte_length: repetition,
    definition_levels_byte_length: definition,
  } = second;
  if (levels.repetition > 0) checkRuns(page, 0, bitsOf(levels.repetition), count);
  if (levels.definition > 0) checkRuns(page, repetition, bitsOf(levels.definition), count);
  return { at: repetition + (levels.definition > 0 ? definition : 0), count: count - second.num_nulls };
}

function bitsOf(level: number): number {
  return 32 - Math.clz32(level);
}

function lengthAt(page: Uint8Array, at: number): number {
  if (at + 4 > page.length) throw cut();
  return new DataView(page.buffer, page.byteOffset, page.byteLength).getUint32(at, true);
}

/**
 * Checks runs of values, which are one repeated value or bit-packed values.
 * @param wanted the value to count
 * @returns the number of values equal to it
 */
function checkRuns(page: Uint8Array, start: number, bits: number, count: number, wanted = -1): number {
  if (bits > MAX_RUN_BITS) throw new Error(`values of ${bits} bits`);
  let at = start;
  let found = 0;
  for (let left = count; left > 0; ) {
    const begin = at;
    at = afterNumber(page, at);
    if (at > page.length) throw cut();
    const header = unsignedNumber(page, begin, at);
    const isPacked = (header & 1) === 1;
    const length = isPacked ? (header >>> 1) * 8 : header >>> 1;
    if (length > left + SLACK) throw new Error(`a run of ${length} values where ${left} are left`);
    const used = Math.min(left, length); // without padding
    if (isPacked) {
      if (wanted >= 0) found += countPacked(page, at, bits, used, wanted);
      at += Math.max(1, (length / 8) * bits); // the parser reads at least one byte
    } else {
      const bytes = (bits + 7) >> 3;
      if (wanted >= 0 && unpackedAt(page, at, bytes) === wanted) found += used;
      at += bytes;
    }
    left -= used;
  }
  return found;
}

function unpackedAt(page: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value |= (page[at + i] ?? 0) << (8 * i);
  return value;
}

/** Counts the bit-packed values that equal `wanted`. Values may have at most 8 bits, which is enough for levels. */
function countPacked(page: Uint8Array, at: number, bits: number, count: number, wanted: number): number {
  const mask = (1 << bits) - 1;
  let found = 0;
  for (let i = 0, bit = 0; i < count; i++, bit += bits) {
    const byte = at + (bit >> 3);
    const pair = (page[byte] ?? 0) | ((page[byte + 1] ?? 0) << 8);
    if (((pair >> (bit & 7)) & mask) === wanted) found++;
  }
  return found;
}

/** Checks delta-encoded numbers, which are stored in blocks of miniblocks, each with a bit width. @returns the offset after them */
function afterDeltas(page: Uint8Array, start: number, count: number): number {
  let at = start;
  const next = (): number => {
    const begin = at;
    at = afterNumber(page, at);
    if (at > page.length) throw cut();
    return unsignedNumber(page, begin, at);
  };
  const [block, parts] = [next(), next()];
  const size = block / parts;
  if (!(block > 0 && block <= MAX_DELTA_BLOCK && parts > 0 && Number.isInteger(size) && size % 32 === 0))
    throw new Error(`blocks of ${block} differences in ${parts} parts`);
  next(); // the number of values
  next(); // the first value
  for (let done = 1; done < count; ) {
    next(); // the smallest difference
    const widths = at;
    at += parts;
    if (at > page.length) throw cut();
    for (let part = 0; part < parts && done < count; part++, done += size) {
      const bits = page[widths + part]!;
      if (bits > 64) throw new Error(`differences of ${bits} bits`);
      at += (size * bits) / 8;
    }
  }
  return at;
}

/** Returns the error for a page with fewer bytes than its values need. */
export function cut(): Error {
  return new Error("a page that is cut off within its values");
}
