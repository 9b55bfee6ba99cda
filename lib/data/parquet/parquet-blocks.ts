// Decompresses Snappy and LZ4 blocks in slices. The npm packages for these codecs decompress a whole page, of up to 128 MB, at once.
// Formats: https://github.com/google/snappy/blob/main/format_description.txt, https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
import type { Slices } from "../../core/slices.ts";
import { afterNumber, unsignedNumber } from "./thrift.ts";

/** Number of decompressed bytes between two points at which the work may pause. */
const SLICE_BYTES = 1 << 18;
/** Copies of at least this many bytes use the runtime's functions. A loop is faster for shorter ones. */
const LONG_COPY = 32;

/** Decompresses Snappy data into `output`, which must have the length of the result. @throws Error for invalid data */
export function* unpackSnappy(input: Uint8Array, output: Uint8Array): Slices<void> {
  const sink = new Sink(input, output);
  let at = afterNumber(input, 0);
  if (unsignedNumber(input, 0, at) !== output.length)
    throw new Error(`Snappy data whose length is not ${output.length} bytes`);
  while (at < input.length) {
    const tag = input[at++]!;
    // Kinds: 0 is a literal, 1 a copy with an 11-bit offset, 2 and 3 copies with an offset of 2 and 4 bytes.
    const kind = tag & 3;
    if (kind === 0) {
      const bytes = (tag >> 2) - 59; // number of bytes of a length that does not fit in the tag
      const length = 1 + (bytes > 0 ? sink.number(at, bytes) : tag >> 2);
      if (bytes > 0) at += bytes;
      if (length > SLICE_BYTES) yield* sink.longLiteral(at, length);
      else sink.literal(at, length);
      at += length;
    } else if (kind === 1) {
      sink.repeat(((tag >> 5) << 8) | sink.number(at++, 1), 4 + ((tag >> 2) & 7));
    } else {
      const bytes = kind === 2 ? 2 : 4;
      sink.repeat(sink.number(at, bytes), 1 + (tag >> 2));
      at += bytes;
    }
    if (sink.isDue()) yield;
  }
  sink.finish();
}

/** Decompresses a raw LZ4 block into `output`, which must have the length of the result. @throws Error for invalid data */
export function* unpackLz4(input: Uint8Array, output: Uint8Array): Slices<void> {
  const sink = new Sink(input, output);
  let at = 0;
  // A length of 15 continues in the following bytes, which are added to it. A byte of 255 means that another byte follows.
  const more = (length: number): number => {
    if (length !== 15) return length;
    let [all, byte] = [length, 255];
    while (byte === 255) all += byte = sink.number(at++, 1);
    return all;
  };
  while (at < input.length) {
    const token = input[at++]!;
    const literals = more(token >> 4);
    if (literals > SLICE_BYTES) yield* sink.longLiteral(at, literals);
    else sink.literal(at, literals);
    at += literals;
    if (at === input.length) break; // the last sequence has no copy
    const offset = sink.number(at, 2);
    at += 2;
    const length = 4 + more(token & 15); // the shortest copy has four bytes
    if (length > SLICE_BYTES) yield* sink.longRepeat(offset, length);
    else sink.repeat(offset, length);
    if (sink.isDue()) yield;
  }
  sink.finish();
}

/** Decompressed bytes. Checks all lengths and offsets. */
class Sink {
  private size = 0;
  private paused = 0;
  private readonly input: Uint8Array;
  private readonly output: Uint8Array;
  constructor(input: Uint8Array, output: Uint8Array) {
    this.input = input;
    this.output = output;
  }

  /** Returns a little-endian number of the input. */
  number(at: number, bytes: number): number {
    if (at + bytes > this.input.length) throw cut();
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + this.input[at + i]!;
    return value;
  }

  /** Whether at least SLICE_BYTES have been decompressed since the last call that returned true. */
  isDue(): boolean {
    if (this.size - this.paused < SLICE_BYTES) return false;
    this.paused = this.size;
    return true;
  }

  literal(at: number, length: number): void {
    if (at + length > this.input.length) throw cut();
    this.need(length);
    const { input, output, size } = this;
    if (length >= LONG_COPY) output.set(input.subarray(at, at + length), size);
    else for (let i = 0; i < length; i++) output[size + i] = input[at + i]!;
    this.size += length;
  }

  *longLiteral(at: number, length: number): Slices<void> {
    for (let done = 0; done < length; done += SLICE_BYTES) {
      this.literal(at + done, Math.min(SLICE_BYTES, length - done));
      yield;
    }
  }

  /**
   * Appends `length` bytes, copied from `offset` bytes before the end. If `offset` is smaller than `length`, the copied
   * bytes repeat.
   */
  repeat(offset: number, length: number): void {
    if (offset === 0 || offset > this.size)
      throw new Error(`a copy with offset ${offset} after ${this.size} unpacked bytes`);
    this.need(length);
    const { output, size } = this;
    if (length >= LONG_COPY && offset >= length) output.copyWithin(size, size - offset, size - offset + length);
    else for (let i = size; i < size + length; i++) output[i] = output[i - offset]!;
    this.size += length;
  }

  *longRepeat(offset: number, length: number): Slices<void> {
    for (let left = length; left > 0; left -= SLICE_BYTES) {
      this.repeat(offset, Math.min(left, SLICE_BYTES));
      yield;
    }
  }

  finish(): void {
    if (this.size !== this.output.length)
      throw new Error(`a page of ${this.size} unpacked bytes instead of ${this.output.length}`);
  }

  private need(length: number): void {
    if (length > this.output.length - this.size) throw new Error(`more than ${this.output.length} unpacked bytes`);
  }
}

function cut(): Error {
  return new Error("compressed data that is cut off");
}
