import { describe, HeddleError } from "../../core/errors.ts";
import { ParquetTable, type RowGroup } from "../parquet/parquet.ts";
import type { DocumentFile, DocumentPart, DocumentShard } from "./document-file.ts";

/** The texts of one column of a Parquet file, one document per row. A shard is a row group. */
export class ParquetDocuments implements DocumentFile {
  readonly path: string;
  readonly size: number;
  readonly #table: ParquetTable;
  readonly #column: string;

  private constructor(table: ParquetTable, column: string) {
    this.path = table.path;
    this.size = table.size;
    this.#table = table;
    this.#column = column;
  }

  /** Opens a Parquet file. @throws HeddleError NOT_FOUND, IO, INVALID_FILE if the file has no such column */
  static async open(path: string, column: string): Promise<ParquetDocuments> {
    const table = await ParquetTable.open(path);
    if (!table.columns.includes(column))
      throw new HeddleError(
        "INVALID_FILE",
        `${path}: expected the text column ${JSON.stringify(column)}, got the columns ${table.columns.join(", ")}`,
      );
    return new ParquetDocuments(table, column);
  }

  parts(): DocumentPart[] {
    return this.#table.groups
      .map((group, i) => ({
        bytes: this.#table.bytesOf(i, this.#column),
        rows: group.rows,
        open: () => this.#open(group),
      }))
      .filter(({ rows }) => rows > 0);
  }

  async #open(group: RowGroup): Promise<DocumentShard> {
    const texts = await this.#table.column(group, this.#column);
    return {
      count: texts.length,
      isEncoded: false,
      position: (index) => group.firstRow + index,
      read: async (index, encode) => {
        const text = texts[index];
        if (typeof text !== "string")
          throw new HeddleError(
            "INVALID_FILE",
            `${this.path}: row ${group.firstRow + index + 1}: expected a text in the column ${JSON.stringify(this.#column)}, got ${describe(text)}`,
          );
        const tokens = await encode(text, { opens: true, closes: true });
        return { tokens, bytes: Buffer.byteLength(text), closes: true };
      },
    };
  }

  close(): void {}
}
