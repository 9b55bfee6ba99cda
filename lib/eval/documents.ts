import { readFile } from "node:fs/promises";
import { HeddleError } from "../errors.ts";
import { ioError } from "../formats/io.ts";

/**
 * The documents of an evaluation file: a text file is one, a .jsonl file has one a row (a string, or an object with `text`).
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`
 */
export async function* documentsOf(path: string): AsyncGenerator<string, void, undefined> {
  let content: string;
  try {
    content = await readFile(path, "utf8");
  } catch (error) {
    throw ioError(error, path, "read");
  }
  if (!/\.(jsonl|ndjson)$/i.test(path)) {
    yield content;
    return;
  }
  for (const [i, line] of content.split("\n").entries()) {
    if (line.trim() === "") continue;
    const invalid = (got: string) =>
      new HeddleError("INVALID_FILE", `${path}:${i + 1}: expected a JSON string or an object with a text, got ${got}`);
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw invalid("text that is not JSON");
    }
    const text = typeof row === "string" ? row : (row as { text?: unknown } | null)?.text;
    if (typeof text !== "string") throw invalid("something else");
    yield text;
  }
}
