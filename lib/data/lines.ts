import { stat } from "node:fs/promises";
import { HeddleError } from "../errors.ts";
import { ioError } from "../formats/io.ts";
import { openFile } from "../formats/open-file.ts";

/** A line longer than this is refused. */
const MAX_LINE = 256 << 20;

/**
 * The lines of a UTF-8 file, which end at "\n" alone: other characters that some programs take for line ends stay in the
 * text. Broken bytes become U+FFFD. A "\n" at the end of the file begins no further line. The time it takes is linear in the file. Of what
 * is no file, standard input and other open descriptors alone are read.
 * @param options.keepMark a byte-order mark at the beginning is text; default false: it is dropped
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE
 */
export async function* linesOf(
  path: string,
  { keepMark = false }: { keepMark?: boolean } = {},
): AsyncGenerator<string, void, undefined> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path, "read");
  }
  if (isFolder) throw new HeddleError("INVALID_FILE", `${path}: expected a file, got a folder`);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: keepMark });
  // Parts of a line that goes on, joined once it ends: a long line is not read again with every part.
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
  const joined = () => {
    const line = parts.length === 1 ? parts[0]! : parts.join("");
    parts = [];
    length = 0;
    return line;
  };
  try {
    const handle = await openFile(path, { pipes: true }); // its stream closes it
    for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 20 })) {
      const lines = decoder.decode(chunk as Buffer, { stream: true }).split("\n");
      const open = lines.pop()!;
      for (const line of lines) {
        add(line);
        yield joined();
      }
      add(open);
    }
  } catch (error) {
    throw ioError(error, path, "read");
  }
  add(decoder.decode());
  if (length > 0) yield joined();
}
