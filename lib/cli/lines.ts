import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { HeddleError } from "../errors.ts";
import { ioError } from "../formats/io.ts";

/** A line longer than this is refused. */
const MAX_LINE = 256 << 20;

/**
 * The lines of a UTF-8 file, which end at "\n" alone: other characters that some programs take for line ends stay in the
 * text. Broken bytes become U+FFFD. A "\n" at the end of the file begins no further line.
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE
 */
export async function* readLines(path: string): AsyncGenerator<string, void, undefined> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path, "read");
  }
  if (isFolder) throw new HeddleError("INVALID_FILE", `${path}: expected a file, got a folder`);
  // ignoreBOM keeps the mark as text, as every other character.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let open = "";
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      const lines = (open + decoder.decode(chunk as Buffer, { stream: true })).split("\n");
      open = lines.pop()!;
      if (open.length > MAX_LINE)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}: expected lines of at most ${MAX_LINE} characters, got a longer one`,
        );
      yield* lines;
    }
  } catch (error) {
    throw ioError(error, path, "read");
  }
  open += decoder.decode();
  if (open !== "") yield open;
}

/** The JSON strings of a file that holds one a line. @throws INVALID_FILE `file:line: …` */
export async function* readJsonStrings(path: string): AsyncGenerator<string, void, undefined> {
  let number = 0;
  for await (const line of readLines(path)) {
    number++;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw new HeddleError("INVALID_FILE", `${path}:${number}: expected a JSON string, got text that is not JSON`);
    }
    if (typeof value !== "string")
      throw new HeddleError("INVALID_FILE", `${path}:${number}: expected a JSON string, got another value`);
    yield value;
  }
}
