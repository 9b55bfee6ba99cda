// What a file of weights is, by its first bytes.
import { HeddleError } from "../errors.ts";
import { ioError } from "./io.ts";
import { openFile } from "./open-file.ts";

/** Of each file: as long a text as tells what it is. */
const SHOWN_BYTES = 40;

/** Whether a path leads to a file that begins as GGUF files do. Errors: NOT_FOUND, IO (a folder), INVALID_FILE (a device). */
export async function isGguf(path: string): Promise<boolean> {
  return isGgufHead((await headOf(path)).bytes);
}

/**
 * What kind of weights a file has.
 * Errors: NOT_FOUND, IO; INVALID_FILE for a file of neither kind. Broken files of a kind are their readers' to tell.
 */
export async function kindOfWeights(path: string): Promise<"gguf" | "safetensors"> {
  const { bytes, size } = await headOf(path);
  if (isGgufHead(bytes)) return "gguf";
  // Safetensors begin with the length of a header, and that with a brace.
  if (bytes.length <= 8 || bytes[8] === 0x7b || bytes.readBigUInt64LE(0) <= BigInt(size - 8)) return "safetensors";
  throw new HeddleError("INVALID_FILE", `${path}: expected a GGUF or safetensors file, got ${shown(bytes)}`);
}

function isGgufHead(bytes: Buffer): boolean {
  return bytes.toString("latin1", 0, 4) === "GGUF";
}

function shown(bytes: Buffer): string {
  const text = bytes.toString("utf8").replace(/\ufffd$/, ""); // a character that the end cuts
  if (text.startsWith("version https://git-lfs"))
    return "a pointer of Git LFS, without the file that it stands for (git lfs pull)";
  const line = text.split(/[\r\n]/, 1)[0]!;
  return /^[^\p{Cc}\ufffd]+$/u.test(line) ? `a text that begins with ${JSON.stringify(line)}` : "neither";
}

async function headOf(path: string): Promise<{ bytes: Buffer; size: number }> {
  try {
    const handle = await openFile(path);
    try {
      const { size } = await handle.stat();
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(SHOWN_BYTES), 0, SHOWN_BYTES, 0);
      return { bytes: buffer.subarray(0, bytesRead), size };
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw ioError(error, path, "read");
  }
}
