import { constants } from "node:buffer";
import { stat } from "node:fs/promises";
import { HeddleError } from "../core/errors.ts";
import { separatorRule } from "../data/corpus.ts";
import { documentCount, documentEnds, documentText } from "../data/documents/documents.ts";
import { planShards, readShard } from "../data/documents/shards.ts";
import { needText, needTextFile } from "../data/documents/text-head.ts";
import { textRowsOf } from "../data/json-lines.ts";
import { noRowsError, readRows, stringField } from "../data/rows.ts";
import { ioError } from "../io/atomic-files.ts";
import { kindOf, readWhole } from "../io/open-file.ts";

/** Size of the parts in which a large file is read. A part ends at the end of a document, except within a very long document. */
const PART_BYTES = 2 ** 24;
/** Maximum size of a file that is read at once. */
const MAX_BYTES = 2 ** 31 - 1;

/**
 * Yields the documents of an evaluation file. A text file is one document, or is split by `documentSeparator`. A .jsonl file has one per row
 * (a string, or an object with `text`), and a .parquet file one per row in its column `text`.
 * @param options.documentSeparator for text files, as in pre-training (`blank-line`, `line`, or a text). Default: `file`.
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`
 */
export async function* documentsOf(
  path: string,
  options: { documentSeparator?: string | undefined } = {},
): AsyncGenerator<string, void, undefined> {
  const { documentSeparator = "file" } = options;
  const isText = !/\.(parquet|jsonl|ndjson)$/i.test(path);
  if (!isText && options.documentSeparator !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `documentSeparator: expected a text file, got ${path}`);
  if (isText && documentSeparator !== "file") return yield* separated(path, documentSeparator);
  if (/\.parquet$/i.test(path)) {
    let rows = 0;
    for await (const row of readRows(path)) {
      rows++;
      yield stringField(row, "text");
    }
    if (rows === 0) throw noRowsError(path, "file", "at least one row with a text");
    return;
  }
  if (!/\.(jsonl|ndjson)$/i.test(path)) {
    const content = await wholeText(path);
    if (content === "") throw new HeddleError("INVALID_FILE", `${path}: expected text, got an empty file`);
    yield content;
    return;
  }
  let rows = 0;
  for await (const text of textRowsOf(path)) {
    rows++;
    yield text;
  }
  if (rows === 0) throw noRowsError(path, "file", "at least one row with a text");
}

/** Returns the text of a file without its byte-order mark. @throws HeddleError INVALID_FILE if the file is not text, NOT_FOUND, IO */
async function wholeText(path: string): Promise<string> {
  try {
    const bytes = await readWhole(path, MAX_BYTES, { pipes: true });
    needText(bytes, path);
    return bytes.toString("utf8").replace(/^\ufeff/, "");
  } catch (error) {
    throw ioError(error, path, "read");
  }
}

/** Yields the documents of a text file, split as in pre-training. */
async function* separated(path: string, separator: string): AsyncGenerator<string, void, undefined> {
  const found = await stat(path).catch((error: unknown) => {
    throw ioError(error, path, "read");
  });
  // Parts of the file are read by their offsets, which a pipe does not support.
  if (!found.isFile())
    throw new HeddleError("INVALID_FILE", `${path}: expected a regular file to split, got ${kindOf(found)}`);
  await needTextFile(path).catch((error: unknown) => {
    throw ioError(error, path, "read");
  });
  const { size } = found;
  const files = [{ path, size, format: "text", rule: separatorRule(separator) } as const];
  let documents = 0;
  let begun = "";
  for (const part of planShards(files, PART_BYTES)) {
    const found = await readShard(files, part);
    for (let i = 0; i < documentCount(found); i++) {
      const text = await documentText(found, i, "text");
      if (begun.length + text.length > constants.MAX_STRING_LENGTH)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}: document ${documents + 1}: expected at most ${constants.MAX_STRING_LENGTH} characters, got more`,
        );
      begun += text;
      if (!documentEnds(found, i).closes) continue; // the document continues in the next part
      documents += 1;
      yield begun;
      begun = "";
    }
  }
  if (documents === 0) throw new HeddleError("INVALID_FILE", `${path}: expected text, got an empty file`);
}
