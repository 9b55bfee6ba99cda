import { isUtf8 } from "node:buffer";
import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { jsonFailure, parseJsonRow } from "../../io/json.ts";
import type { DocumentEnds } from "../encode.ts";
import { lineNumber, type ShardDocuments } from "./shards.ts";

const decoder = new TextDecoder("utf-8"); // drops a byte-order mark at the start, and replaces invalid bytes by U+FFFD

/** Returns the number of documents in a shard. */
export function documentCount(shard: ShardDocuments): number {
  return shard.ranges.length / 2;
}

/** Returns the byte offset of a document in its file. The file and this offset identify the document permanently. */
export function documentPosition(shard: ShardDocuments, index: number): number {
  return shard.origin + shard.ranges[2 * index]!;
}

/**
 * Returns the text of a document, with "\n" for every line break.
 *
 * @param textField the field of a JSONL row that holds the text
 * @throws HeddleError INVALID_FILE `file:line: …` for a row that is not UTF-8 or not a JSON object with that field. Invalid bytes of raw
 * text are replaced.
 */
export async function documentText(shard: ShardDocuments, index: number, textField: string): Promise<string> {
  const bytes = shard.bytes.subarray(shard.ranges[2 * index]!, shard.ranges[2 * index + 1]!);
  const raw = decoder.decode(bytes);
  if (shard.file.format === "text") return raw.includes("\r") ? raw.replaceAll("\r\n", "\n") : raw;
  const fail = async (got: string, expected = `a JSON object with the text field ${JSON.stringify(textField)}`) => {
    const line = await lineNumber(shard.file.path, documentPosition(shard, index));
    return new HeddleError("INVALID_FILE", `${shard.file.path}:${line}: expected ${expected}, got ${got}`);
  };
  if (raw.includes("\ufffd") && !isUtf8(bytes)) throw await fail("invalid bytes", "UTF-8");
  let row: unknown;
  try {
    row = parseJsonRow(raw, shard.file.path);
  } catch (error) {
    if (error instanceof HeddleError) throw await fail("too many values");
    throw await fail(`text that is not JSON (${jsonFailure(error)})`);
  }
  if (!isObject(row)) {
    throw await fail(row === null ? "null" : Array.isArray(row) ? "an array" : `a ${typeof row}`);
  }
  const text = Object.hasOwn(row, textField) ? row[textField] : undefined;
  if (typeof text !== "string") {
    const keys = firstOf(Object.keys(row), 8);
    throw await fail(
      text === undefined
        ? `an object with ${keys ? `the fields ${keys}` : "no fields"}`
        : `a ${typeof text} in that field`,
    );
  }
  return text;
}

/**
 * Returns whether a document begins (`opens`) and ends (`closes`) within this shard. A part of a longer document may do
 * only one of these, or neither.
 */
export function documentEnds(shard: ShardDocuments, index: number): DocumentEnds {
  const last = documentCount(shard) - 1;
  return {
    opens: !(index === 0 && shard.continues.first),
    closes: !(index === last && shard.continues.last),
  };
}
