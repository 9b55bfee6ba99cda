// Text columns of Parquet files. hyparquet reads invalid UTF-8 as U+FFFD, which would become training data.
import { isUtf8 } from "node:buffer";
import type { ParquetParsers, SchemaElement } from "hyparquet";

/** A placeholder for a string with invalid UTF-8. The error is thrown later, when the row's number is known. */
export class BrokenText {
  /** Throws when the placeholder is used as a map's key. In this case the error cannot name the row. */
  toString(): string {
    throw new Error("a string that is not UTF-8");
  }
}

const TEXTS = ["UTF8", "STRING", "JSON", "ENUM"];

/**
 * Returns string parsers for a column. If the schema does not declare strings, valid UTF-8 becomes a string, and other values stay bytes.
 */
export function textParsers(
  { converted_type, logical_type }: SchemaElement,
  { stringFromBytes, jsonFromBytes }: ParquetParsers,
): Pick<ParquetParsers, "stringFromBytes" | "jsonFromBytes"> {
  const isText = TEXTS.includes(converted_type ?? "") || TEXTS.includes(logical_type?.type ?? "");
  const strict = (parse: (bytes: Uint8Array) => unknown) => (bytes: Uint8Array) => {
    if (!bytes || isUtf8(bytes)) return parse(bytes);
    return isText ? new BrokenText() : bytes;
  };
  return { stringFromBytes: strict(stringFromBytes), jsonFromBytes: strict(jsonFromBytes) };
}
