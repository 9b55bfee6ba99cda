import { isUtf8 } from "node:buffer";
import { stat } from "node:fs/promises";
import { HeddleError } from "../core/errors.ts";
import { ioError } from "../io/atomic-files.ts";
import { openFile } from "../io/open-file.ts";
import { needText } from "./documents/text-head.ts";

/** Maximum number of characters of a line. */
const MAX_LINE = 256 << 20;

/**
 * Iterates over the lines of a UTF-8 file. Only "\n" ends a line; other Unicode line separators stay in the text.
 * Invalid bytes become U+FFFD, or are an error with `strict`. A "\n" at the end of the file does not begin another line.
 * The time is linear in the size of the file. A pipe is read only if it is standard input or another open descriptor.
 * @param options.strict whether to throw INVALID_FILE `path:line: …` for bytes that are not UTF-8
 * @param options.keepMark whether a byte-order mark at the beginning is part of the text. Default false: the mark is
 * dropped
 * @throws HeddleError NOT_FOUND, IO; INVALID_FILE for a folder, a compressed file, too long a line, or (`strict`) invalid UTF-8
 */
export async function* linesOf(
  path: string,
  { keepMark = false, strict = false }: { keepMark?: boolean; strict?: boolean } = {},
): AsyncGenerator<string, void, undefined> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path, "read");
  }
  if (isFolder) throw new HeddleError("INVALID_FILE", `${path}: expected a file, got a folder`);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: keepMark });
  // Parts of an incomplete line. They are joined only at its end, so that a long line is not copied for every part.
  let parts: string[] = [];
  let length = 0;
  const add = (part: string) => {
    length += part.length;
    if (length > MAX_LINE)
      throw new HeddleError(
        "INVALID_FILE",
        `${path}: expected lines of at most ${MAX_LINE} characters, got a longer one`,
      );
    parts.push(part);
  };
  let number = 0;
  let before: Buffer[] = []; // the bytes of `parts`
  /** @param bytes returns the bytes of the last part. It is called only if a character may be invalid */
  const joined = (bytes: () => Buffer) => {
    const line = parts.length === 1 ? parts[0]! : parts.join("");
    number += 1;
    if (strict && line.includes("\ufffd") && !isUtf8(Buffer.concat([...before, bytes()])))
      throw new HeddleError("INVALID_FILE", `${path}:${number}: expected UTF-8, got invalid bytes`);
    parts = [];
    before = [];
    length = 0;
    return line;
  };
  try {
    const handle = await openFile(path, { pipes: true }); // the stream below closes the handle
    let begins = true;
    for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 20 })) {
      const bytes = chunk as Buffer;
      if (begins) needText(bytes, path);
      begins = false;
      const lines = decoder.decode(bytes, { stream: true }).split("\n");
      const open = lines.pop()!;
      const lineAt = lineReader(bytes);
      for (const [i, line] of lines.entries()) {
        add(line);
        yield joined(() => lineAt(i));
      }
      add(open);
      if (strict) before.push(lines.length > 0 ? bytes.subarray(bytes.lastIndexOf(NEWLINE) + 1) : bytes);
    }
  } catch (error) {
    throw ioError(error, path, "read");
  }
  add(decoder.decode());
  if (length > 0) yield joined(() => Buffer.alloc(0));
}

const NEWLINE = 0x0a;

/**
 * Returns a function from the index of a line to the line's bytes in `chunk`. It must be called with ascending indices,
 * because each search begins where the previous one ended. Searching from the beginning would take quadratic time.
 */
function lineReader(chunk: Buffer): (index: number) => Buffer {
  let line = 0;
  let start = 0;
  return (index) => {
    for (; line < index; line++) start = chunk.indexOf(NEWLINE, start) + 1;
    return chunk.subarray(start, chunk.indexOf(NEWLINE, start));
  };
}
