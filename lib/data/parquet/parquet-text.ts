// Texts of Parquet files: hyparquet reads bytes that are no UTF-8 as U+FFFD, which would be trained on.
import { isUtf8 } from "node:buffer";
import type { ParquetParsers, SchemaElement } from "hyparquet";

/** What stands among a column's values for a text that is no UTF-8, until its row is known. */
export class BrokenText {
  /** As the key of a map, which has no place of its own. */
  toString(): string {
    throw new Error("a text that is no UTF-8");
  }
}

const TEXTS = ["UTF8", "STRING", "JSON", "ENUM"];

/** Parsers of the texts of a column. Bytes that the schema does not call a text are a text where they are UTF-8, and else stay bytes. */
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
