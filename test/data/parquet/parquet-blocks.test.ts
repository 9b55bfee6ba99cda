// Decompressing blocks in slices gives the same bytes as hyparquet-compressors, and rejects invalid data.
import fc from "fast-check";
import { decompressLz4Raw, decompressSnappy } from "hyparquet-compressors";
import { describe, expect, it } from "vitest";
import { atOnce } from "../../../lib/core/slices.ts";
import { unpackLz4, unpackSnappy } from "../../../lib/data/parquet/parquet-blocks.ts";
import { varint } from "./parquet-bytes.ts";

/** A literal, or a back-reference to earlier output. */
type Part = { bytes: Uint8Array } | { offset: number; length: number };

const parts = fc.array(
  fc.oneof(
    fc.record({ bytes: fc.uint8Array({ minLength: 1, maxLength: 100 }) }),
    fc.record({ bytes: fc.integer({ min: 200_000, max: 400_000 }).map((length) => new Uint8Array(length).fill(7)) }),
    fc.record({ offset: fc.integer({ min: 1, max: 60_000 }), length: fc.integer({ min: 4, max: 64 }) }),
  ),
  { minLength: 1, maxLength: 30 },
);

/** Limits the offset of each back-reference to the output before it. */
function settled(list: readonly Part[]): { list: Part[]; length: number } {
  let length = 0;
  const out = list.flatMap((part): Part[] => {
    if (!("bytes" in part) && length === 0) return [];
    const own = "bytes" in part ? part : { offset: Math.min(part.offset, length), length: part.length };
    length += "bytes" in own ? own.bytes.length : own.length;
    return [own];
  });
  return { list: out, length };
}

function snappy(list: readonly Part[], length: number): Buffer {
  const chunks: Uint8Array[] = [Buffer.from(varint(length))];
  for (const part of list) {
    if ("bytes" in part) {
      const less = part.bytes.length - 1;
      chunks.push(
        Buffer.from(less < 60 ? [less << 2] : [62 << 2, less & 255, (less >> 8) & 255, less >> 16]),
        part.bytes,
      );
    } else if (part.length < 12 && part.offset < 2048)
      chunks.push(Buffer.from([1 | ((part.length - 4) << 2) | ((part.offset >> 8) << 5), part.offset & 255]));
    else chunks.push(Buffer.from([2 | ((part.length - 1) << 2), part.offset & 255, part.offset >> 8]));
  }
  return Buffer.concat(chunks);
}

function lz4(list: readonly Part[]): Buffer {
  const rest = (length: number): number[] => {
    const bytes: number[] = [];
    for (let left = length - 15; left >= 0; left -= 255) bytes.push(Math.min(255, left));
    return bytes;
  };
  const chunks: Uint8Array[] = [];
  let literal = Buffer.alloc(0);
  const sequence = (offset: number, length: number) => {
    const token = (Math.min(15, literal.length) << 4) | (length > 0 ? Math.min(15, length - 4) : 0);
    chunks.push(Buffer.from([token, ...(literal.length < 15 ? [] : rest(literal.length))]), literal);
    if (length > 0) chunks.push(Buffer.from([offset & 255, offset >> 8, ...(length - 4 < 15 ? [] : rest(length - 4))]));
    literal = Buffer.alloc(0);
  };
  for (const part of list) {
    if ("bytes" in part) literal = Buffer.concat([literal, part.bytes]);
    else sequence(part.offset, part.length);
  }
  if (literal.length > 0) sequence(0, 0);
  return Buffer.concat(chunks);
}

const codecs = [
  ["Snappy", unpackSnappy, decompressSnappy, snappy],
  ["LZ4", unpackLz4, decompressLz4Raw, lz4],
] as const;

describe.each(codecs)("%s blocks", (_, unpack, whole, pack) => {
  const unpacked = (input: Uint8Array, length: number, before = 0) => {
    const output = new Uint8Array(length).fill(before);
    atOnce(unpack(input, output));
    return output;
  };

  it("decompress in slices to the same bytes as at once", () => {
    fc.assert(
      fc.property(parts, (given) => {
        const { list, length } = settled(given);
        if (length === 0) return;
        const input = pack(list, length);
        expect(Buffer.compare(unpacked(input, length), whole(input, length))).toBe(0);
        expect(() => unpacked(input, length + 1)).toThrow(/bytes/);
        expect(() => unpacked(input, length - 1)).toThrow(/bytes/);
      }),
      { numRuns: 40 },
    );
  });

  const short = fc.array(
    fc.oneof(
      fc.record({ bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
      fc.record({ offset: fc.integer({ min: 1, max: 300 }), length: fc.integer({ min: 4, max: 64 }) }),
    ),
    { minLength: 1, maxLength: 8 },
  );

  it("blocks with a damaged byte decompress to the stated length, with every byte written, or throw", () => {
    let decompressed = 0;
    fc.assert(
      fc.property(short, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, change) => {
        const { list, length } = settled(given);
        if (length === 0) return;
        const input = pack(list, length);
        input[at % input.length]! ^= change;
        let output: Uint8Array;
        try {
          output = unpacked(input, length);
        } catch (error) {
          expect((error as Error).message).toMatch(/bytes|cut off/);
          return;
        }
        decompressed++;
        expect(output).toEqual(unpacked(input, length, 255));
      }),
      { numRuns: 500 },
    );
    expect(decompressed).toBeGreaterThan(0);
  });

  it("blocks of random bytes decompress or throw an error that describes them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(5000), (input, length) => {
        try {
          unpacked(input, length);
        } catch (error) {
          expect((error as Error).message).toMatch(/bytes|cut off/);
        }
      }),
    );
  });

  it("pause between slices", () => {
    const bytes = new Uint8Array(1 << 22);
    const input = pack([{ bytes }, { offset: 1, length: 4 }], bytes.length + 4);
    expect([...unpack(input, new Uint8Array(bytes.length + 4))].length).toBeGreaterThan(10);
  });
});
