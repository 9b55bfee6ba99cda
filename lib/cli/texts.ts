import { readRows, rowError, stringField, stringsField } from "../data/rows.ts";
import { HeddleError } from "../errors.ts";
import { promptOf } from "./prompt.ts";

/** Options of commands that read texts. */
export const textOptions = {
  file: { kind: "string", value: "F", about: "a .jsonl file of rows with a text (or tokens); prints one result a row" },
  truncation: {
    kind: "flag",
    about: "cut texts that are longer than the context, which are otherwise refused; an end token stays",
  },
} as const;

/** A text, or words. */
export type GivenText = string | readonly string[];

/** Rows that share a call of the model. */
const BATCH = 64;

/**
 * The texts that a command was given: one as its argument (or on stdin), or those of a file, some at a time.
 * @throws HeddleError INVALID_ARGUMENT, NOT_FOUND, INVALID_FILE `file:line: …`
 */
export async function* textBatches(
  positionals: readonly string[],
  file: string | undefined,
): AsyncGenerator<GivenText[], void, undefined> {
  if (file === undefined) {
    const text = await promptOf(positionals, undefined);
    if (typeof text !== "string") throw new HeddleError("INVALID_ARGUMENT", "arguments: expected a text, got ids");
    yield [text];
    return;
  }
  if (positionals.length > 0)
    throw new HeddleError("INVALID_ARGUMENT", "file: expected either a text or --file, got both");
  let batch: GivenText[] = [];
  for await (const row of readRows(file, { name: "file" })) {
    if (Object.hasOwn(row.value, "tokens")) batch.push(stringsField(row, "tokens"));
    else if (Object.hasOwn(row.value, "text")) batch.push(stringField(row, "text", { empty: false }));
    else throw rowError(row, "text", "a string", undefined);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
