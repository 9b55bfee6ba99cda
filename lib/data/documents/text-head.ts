import { open } from "node:fs/promises";
import { HeddleError } from "../../core/errors.ts";

/** First bytes of common binary formats. `kind` is the name of the format in messages, with the way to convert it. */
const HEADS: readonly (readonly [kind: string, ...bytes: number[]])[] = [
  ["a gzip file, which gunzip unpacks", 0x1f, 0x8b],
  ["a Zstandard file, which zstd -d unpacks", 0x28, 0xb5, 0x2f, 0xfd],
  ["an xz file, which unxz unpacks", 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  ["a bzip2 file, which bunzip2 unpacks", ...Buffer.from("BZh91AY&SY")],
  ["a zip file, which unzip unpacks", 0x50, 0x4b, 0x03, 0x04],
  ["a Parquet file, whose name has to end in .parquet", ...Buffer.from("PAR1"), 0x15],
  ["UTF-16", 0xff, 0xfe],
  ["UTF-16", 0xfe, 0xff],
];
/** Number of bytes to check. */
const HEAD_BYTES = 16;

/**
 * Rejects a file that begins like a binary format. Invalid bytes in a text become U+FFFD, so training would otherwise
 * accept a compressed corpus.
 * @param head the first bytes of a file
 * @throws HeddleError INVALID_FILE
 */
export function needText(head: Uint8Array, path: string): void {
  const found = HEADS.find(([, ...bytes]) => bytes.every((byte, i) => head[i] === byte));
  if (found) throw new HeddleError("INVALID_FILE", `${path}: expected a text in UTF-8, got ${found[0]}`);
}

/** Applies `needText` to a file. It reads only the first bytes. @throws HeddleError INVALID_FILE; errors of the file system */
export async function needTextFile(path: string): Promise<void> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    needText(buffer.subarray(0, bytesRead), path);
  } finally {
    await handle.close();
  }
}
