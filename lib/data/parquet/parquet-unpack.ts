// Decompression of pages.
import { promisify } from "node:util";
// Import the default export, because bundlers turn properties of a namespace into named imports, which must all exist.
import zlib from "node:zlib";
import type { CompressionCodec, Compressors } from "hyparquet";
import { inSlices, type Slices } from "../../core/slices.ts";
import { unpackLz4, unpackSnappy } from "./parquet-blocks.ts";

type Unpack = (bytes: Uint8Array, length: number) => Uint8Array;

/** Pages of at least this many decompressed bytes are decompressed in slices. For smaller pages, decompressing at once is faster. */
const LARGE_BYTES = 1 << 20;

/** Codecs that are decompressed in slices, into a page that has the length of the result. */
const sliced: Partial<Record<CompressionCodec, (bytes: Uint8Array, page: Uint8Array) => Slices<void>>> = {
  SNAPPY: unpackSnappy,
  LZ4_RAW: unpackLz4,
};

type Threaded = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>;

/** Codecs that node:zlib decompresses on libuv's thread pool. Node 22.15 and later know Zstandard. */
const threaded: Partial<Record<CompressionCodec, Threaded>> = {
  GZIP: promisify(zlib.gunzip),
  BROTLI: promisify(zlib.brotliDecompress),
  ...("zstdDecompress" in zlib && { ZSTD: promisify(zlib.zstdDecompress as typeof zlib.gunzip) as Threaded }),
};

/**
 * Decompresses `bytes` to `length` bytes, and returns `before` followed by them.
 * @throws Error if the result has another length
 */
type UnpackPage = (
  bytes: Uint8Array,
  length: number,
  codec: CompressionCodec,
  before?: Uint8Array,
) => Promise<Uint8Array>;

/**
 * Returns a function that decompresses a page of any codec. Gzip, Brotli and, if Node knows it, Zstandard run off the event loop. Large
 * pages of Snappy and LZ4_RAW are decompressed in slices.
 */
export async function unpackers(): Promise<UnpackPage> {
  const [{ compressors, decompressZstd }, { decompressPage }] = await Promise.all([
    import("hyparquet-compressors"),
    import("hyparquet/src/datapage.js"),
  ]);
  const zstd: Unpack = (bytes, length) => {
    const { frames } = checkZstd(bytes, length);
    // The decoder fills a given buffer with a single frame only. For several frames it allocates their declared lengths,
    // which checkZstd limits.
    return frames === 1 ? decompressZstd(bytes, new Uint8Array(length)) : decompressZstd(bytes);
  };
  const all = { ...(compressors as Compressors), ZSTD: zstd } as Compressors;
  return async (bytes, length, codec, before = new Uint8Array()) => {
    const inParts = sliced[codec];
    if (inParts && length >= LARGE_BYTES) {
      const page = new Uint8Array(before.length + length);
      page.set(before);
      await inSlices(inParts(bytes, page.subarray(before.length)), "reading Parquet");
      return page;
    }
    const unpack = threaded[codec];
    // Node's Zstandard may stop at the end of the first frame, so data of several frames goes to the JavaScript decoder.
    const hasSeveralFrames = codec === "ZSTD" && !checkZstd(bytes, length).isOneFrame;
    const page =
      !unpack || hasSeveralFrames || length === 0
        ? decompressPage(bytes, length, codec, all)
        : await unpack(bytes, { maxOutputLength: length });
    if (page.length !== length) throw new Error(`a page of ${page.length} unpacked bytes instead of ${length}`);
    return before.length === 0 ? page : Buffer.concat([before, page]);
  };
}

const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const ZSTD_BLOCK_BYTES = 2 ** 17;
/** Minimum average size of a block in bytes. Encoders that split blocks do not make smaller ones. */
const MIN_BLOCK_BYTES = 256;
/** Number of blocks that is always allowed, even in a short page. */
const FEW_BLOCKS = 64;

/**
 * Walks the frames and blocks of Zstandard data (RFC 8878). Checks their declared sizes, the sizes of raw and repeated-byte blocks, and
 * the number of blocks against `length`. The decoder does not check them, and a few bytes can expand to hundreds of thousands of bytes.
 */
function checkZstd(bytes: Uint8Array, length: number): { frames: number; isOneFrame: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [at, frames, skipped, blocks, declared, stored] = [0, 0, 0, 0, 0, 0];
  let allDeclared = true;
  while (at < bytes.length) {
    const magic = view.getUint32(at, true);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + view.getUint32(at + 4, true);
      skipped++;
      continue;
    }
    if (magic !== ZSTD_MAGIC) throw new Error("Zstandard data without its magic number");
    frames++;
    const flags = view.getUint8(at + 4);
    const isSingle = (flags & 0x20) !== 0; // single segment: no window descriptor
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
    at += 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][flags & 3]!;
    allDeclared &&= sizeBytes > 0;
    for (let i = 0; i < sizeBytes; i++) declared += view.getUint8(at + i) * 256 ** i;
    if (sizeBytes === 2) declared += 256; // the 2-byte form stores the size minus 256
    at += sizeBytes;
    for (let isLast = false; !isLast; blocks++) {
      const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      const [kind, size] = [(header >> 1) & 3, header >> 3];
      if (kind === 3 || size > ZSTD_BLOCK_BYTES)
        throw new Error(`an invalid Zstandard block (type ${kind}, ${size} bytes)`);
      isLast = (header & 1) === 1;
      if (kind < 2) stored += size; // raw bytes, or one repeated byte
      at += 3 + (kind === 1 ? 1 : size);
    }
    if (flags & 4) at += 4; // checksum
  }
  if (declared > length || stored > length || (frames > 1 && !allDeclared))
    throw new Error(`Zstandard data of more than ${length} bytes, or of unknown size`);
  if (blocks > FEW_BLOCKS + length / MIN_BLOCK_BYTES)
    throw new Error(`too many Zstandard blocks (${blocks} for ${length} bytes)`);
  return { frames, isOneFrame: frames === 1 && skipped === 0 };
}
