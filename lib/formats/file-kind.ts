// The kind of a weight file, by its first bytes.
import { HeddleError } from "../core/errors.ts";
import { ioError } from "../io/atomic-files.ts";
import { openFile } from "../io/open-file.ts";
import { startsLikeSafetensors } from "./safetensors/safetensors-head.ts";

/** Number of leading bytes to read. They determine the file's kind, and messages show them. */
const HEAD_BYTES = 40;

/**
 * Whether a file begins like a GGUF file.
 * @throws HeddleError NOT_FOUND, IO (a folder); INVALID_FILE (a device, or a name that ends in .gguf with other
 * content)
 */
export async function isGguf(path: string): Promise<boolean> {
  const bytes = await headOf(path);
  if (isGgufHead(bytes)) return true;
  if (path.endsWith(".gguf")) throw notOfKind(path, "a GGUF file", bytes);
  return false;
}

/**
 * Returns the kind of a weight file. It does not detect broken files. The reader of the format reports them.
 * @throws HeddleError NOT_FOUND, IO; INVALID_FILE for a file of neither kind
 */
export async function kindOfWeights(path: string): Promise<"gguf" | "safetensors"> {
  const bytes = await headOf(path);
  if (isGgufHead(bytes)) return "gguf";
  if (startsLikeSafetensors(bytes)) return "safetensors";
  if (path.endsWith(".gguf")) throw notOfKind(path, "a GGUF file", bytes);
  // Accept a truncated head, because the reader of safetensors reports what is missing.
  if (path.endsWith(".safetensors") && bytes.length > 0 && bytes.length <= 8) return "safetensors";
  throw notOfKind(path, path.endsWith(".safetensors") ? "a safetensors file" : "a GGUF or safetensors file", bytes);
}

function isGgufHead(bytes: Buffer): boolean {
  return bytes.toString("latin1", 0, 4) === "GGUF";
}

function notOfKind(path: string, kind: string, bytes: Buffer): HeddleError {
  return new HeddleError("INVALID_FILE", `${path}: not ${kind}: got ${shown(bytes)}`);
}

function shown(bytes: Buffer): string {
  if (bytes.length === 0) return "an empty file";
  const text = bytes.toString("utf8").replace(/\ufffd$/, ""); // a character may be cut at the end
  if (text.startsWith("version https://git-lfs")) return "a Git LFS pointer instead of the file (run git lfs pull)";
  const line = text.split(/[\r\n]/, 1)[0]!;
  if (/^[^\p{Cc}\ufffd]+$/u.test(line)) return `a text that begins with ${JSON.stringify(line)}`;
  return `bytes that begin with ${bytes
    .subarray(0, 8)
    .toString("hex")
    .replace(/..(?=.)/g, "$& ")}`;
}

async function headOf(path: string): Promise<Buffer> {
  try {
    const handle = await openFile(path);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw ioError(error, path, "read");
  }
}
