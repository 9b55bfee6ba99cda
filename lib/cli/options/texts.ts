import { HeddleError } from "../../core/errors.ts";
import { type LocatedRow, readRows, rowError, stringField, stringsField } from "../../data/rows.ts";
import { promptOf } from "./prompt.ts";

/** Options of commands that read texts. */
export const textOptions = {
  file: { kind: "string", value: "F", about: ".jsonl file of rows with text (or tokens); prints one result per row" },
  truncation: {
    kind: "flag",
    about:
      "truncate texts longer than the context (embed: the model's embedding.maxSeqLength) instead of rejecting them; the end token is kept",
  },
} as const;

/** A text, or a list of words. */
type GivenText = string | readonly string[];

/** Number of rows per call of the model. */
const BATCH = 64;

/** Texts for one call of the model. */
class TextBatch {
  readonly texts: GivenText[] = [];
  private readonly rows: LocatedRow[] = [];

  add(text: GivenText, row?: LocatedRow): void {
    this.texts.push(text);
    if (row) this.rows.push(row);
  }

  /** Returns the batch's texts, and rejects lists of words. @throws HeddleError INVALID_FILE `file:line: …` */
  whole(): string[] {
    return this.texts.map((text, i) => {
      if (typeof text === "string") return text;
      throw rowError(this.rows[i]!, "text", "a string for this classifier", undefined);
    });
  }

  /** Awaits the model's results for the texts from index `first` on. An error about `text[3]` is reported for the row of text `first + 3`. */
  async withRowErrors<T>(work: Promise<T>, first = 0): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const [, field, index = "0", rest] = error instanceof HeddleError ? (SAID.exec(error.message) ?? []) : [];
      const row = field && this.rows[first + Number(index)];
      if (!row) throw error;
      const { code } = error as HeddleError;
      throw new HeddleError(code, `${row.where}: ${Object.hasOwn(row.value, "tokens") ? "tokens" : field}: ${rest}`, {
        cause: error,
      });
    }
  }
}

/** Matches messages about a text of a call: `text: …`, or `text[3]: …` for several. */
const SAID = /^(text)(?:\[(\d+)\])?: (.*)$/s;

/**
 * Yields the texts of a command in batches: its argument (or stdin), or those of a file.
 * @throws HeddleError INVALID_ARGUMENT, NOT_FOUND, INVALID_FILE `file:line: …`
 */
export async function* textBatches(
  positionals: readonly string[],
  file: string | undefined,
): AsyncGenerator<TextBatch, void, undefined> {
  if (file === undefined) {
    const text = await promptOf(positionals, undefined);
    if (typeof text !== "string") throw new HeddleError("INVALID_ARGUMENT", "arguments: expected a text, got ids");
    const batch = new TextBatch();
    batch.add(text);
    yield batch;
    return;
  }
  if (positionals.length > 0)
    throw new HeddleError("INVALID_ARGUMENT", "file: expected either a text or --file, got both");
  let batch = new TextBatch();
  for await (const row of readRows(file, { name: "file" })) {
    if (Object.hasOwn(row.value, "tokens")) batch.add(stringsField(row, "tokens"), row);
    else if (Object.hasOwn(row.value, "text")) batch.add(stringField(row, "text", { empty: false }), row);
    else throw rowError(row, "text", "a string", undefined);
    if (batch.texts.length < BATCH) continue;
    yield batch;
    batch = new TextBatch();
  }
  if (batch.texts.length > 0) yield batch;
}
