import { readFile } from "node:fs/promises";
import { noRowsError, readRows, stringField } from "../data/rows.ts";
import { HeddleError } from "../errors.ts";
import { ioError } from "../formats/io.ts";

/**
 * The documents of an evaluation file: a text file is one, a .jsonl file has one a row (a string, or an object with `text`), a .parquet
 * file one a row too, in its column `text`.
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`
 */
export async function* documentsOf(path: string): AsyncGenerator<string, void, undefined> {
  if (/\.parquet$/i.test(path)) {
    let rows = 0;
    for await (const row of readRows(path)) {
      rows++;
      yield stringField(row, "text");
    }
    if (rows === 0) throw noRowsError(path, "file", "at least one row with a text");
    return;
  }
  let content: string;
  try {
    content = await readFile(path, "utf8");
  } catch (error) {
    throw ioError(error, path, "read");
  }
  if (!/\.(jsonl|ndjson)$/i.test(path)) {
    if (content === "") throw new HeddleError("INVALID_FILE", `${path}: expected text, got an empty file`);
    yield content;
    return;
  }
  let rows = 0;
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
    rows++;
    yield text;
  }
  if (rows === 0) throw noRowsError(path, "file", "at least one row with a text");
}
