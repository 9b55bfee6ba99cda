// Decompression of pages.
import { promisify } from "node:util";
import { brotliDecompress, gunzip } from "node:zlib";
import type { CompressionCodec, Compressors } from "hyparquet";

type Unpack = (bytes: Uint8Array, length: number) => Uint8Array;

/** Codecs that zlib decompresses on its thread pool. */
const threaded: Partial<
  Record<CompressionCodec, (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>>
> = {
  GZIP: promisify(gunzip),
  BROTLI: promisify(brotliDecompress),
};

/**
 * Returns a function that decompresses a page of any codec; gzip and Brotli run off the event loop. It uses memory for `length` bytes,
 * and throws if the page has another length.
 */
export async function unpackers(): Promise<
  (bytes: Uint8Array, length: number, codec: CompressionCodec) => Promise<Uint8Array>
> {
  const [{ compressors, decompressZstd }, { decompressPage }] = await Promise.all([
    import("hyparquet-compressors"),
    import("hyparquet/src/datapage.js"),
  ]);
  const zstd: Unpack = (bytes, length) => {
    const { frames } = checkZstd(bytes, length);
    // A single frame is decompressed into place. Several frames allocate their declared lengths.
    return frames === 1 ? decompressZstd(bytes, new Uint8Array(length)) : decompressZstd(bytes);
  };
  const all = { ...(compressors as Compressors), ZSTD: zstd } as Compressors;
  return async (bytes, length, codec) => {
    const unpack = threaded[codec];
    if (!unpack || length === 0) return decompressPage(bytes, length, codec, all);
    const page = await unpack(bytes, { maxOutputLength: length });
    if (page.length !== length) throw new Error(`a page of ${page.length} unpacked bytes instead of ${length}`);
    return page;
  };
}

const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const ZSTD_BLOCK_BYTES = 2 ** 17;
/** Minimum average size of a block in bytes. Encoders that split blocks do not make smaller ones. */
const LEAST_BLOCK_BYTES = 256;
/** Number of blocks that is always allowed, even in a short page. */
const FEW_BLOCKS = 64;

/**
 * Walks the frames and blocks of Zstandard data (RFC 8878). Checks that they decompress to at most `length` bytes, which the decoder does
 * not check. A few bytes can expand to hundreds of thousands of bytes.
 */
function checkZstd(bytes: Uint8Array, length: number): { frames: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [at, frames, blocks, told, stored] = [0, 0, 0, 0, 0];
  let allTold = true;
  while (at < bytes.length) {
    const magic = view.getUint32(at, true);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + view.getUint32(at + 4, true);
      continue;
    }
    if (magic !== ZSTD_MAGIC) throw new Error("Zstandard data without its magic number");
    frames++;
    const flags = view.getUint8(at + 4);
    const isSingle = (flags & 0x20) !== 0;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
    at += 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][flags & 3]!;
    allTold &&= sizeBytes > 0;
    for (let i = 0; i < sizeBytes; i++) told += view.getUint8(at + i) * 256 ** i;
    if (sizeBytes === 2) told += 256;
    at += sizeBytes;
    for (let isLast = false; !isLast; blocks++) {
      const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      const [kind, size] = [(header >> 1) & 3, header >> 3];
      if (kind === 3 || size > ZSTD_BLOCK_BYTES) throw new Error(`a Zstandard block of kind ${kind}, ${size} bytes`);
      isLast = (header & 1) === 1;
      if (kind < 2) stored += size; // raw bytes, or one repeated byte
      at += 3 + (kind === 1 ? 1 : size);
    }
    if (flags & 4) at += 4;
  }
  if (told > length || stored > length || (frames > 1 && !allTold))
    throw new Error(`Zstandard data of more than ${length} bytes`);
  if (blocks > FEW_BLOCKS + length / LEAST_BLOCK_BYTES)
    throw new Error(`${blocks} Zstandard blocks for ${length} bytes`);
  return { frames };
}
