import { type LocatedRow, noRowsError, type RowSource, readRows, rowError, said } from "../../data/rows.ts";
import type { AnsweredPrompt } from "./sequences.ts";

export const truncationModes = ["error", "drop", "keep_end"] as const;
export type TruncationMode = (typeof truncationModes)[number];

export interface ReadOptions<Item> {
  /** Of the option that gave the rows. */
  name: string;
  /** Tokens of a prompt with its answer at most. */
  limit: number;
  /** What the limit is about, for messages. */
  what?: string | undefined;
  /** Of what is longer: an error, to leave the row out, or to cut off the beginning of its prompt. */
  truncationMode: TruncationMode;
  /** What becomes of a row. */
  read(row: LocatedRow): Item[];
  /** The sequences of an item, whose prompts are cut alike. */
  sequences(item: Item): readonly AnsweredPrompt[];
  /** The item with other sequences. */
  replaced(item: Item, sequences: readonly AnsweredPrompt[]): Item;
  signal?: AbortSignal | undefined;
  /** Told of rows that were left out or cut. */
  warn(message: string): void;
}

/** Places that a message names. */
const NAMED = 3;

/**
 * Rows as what is trained on, in their order; the items of one row stay together.
 * @throws HeddleError `file:line: …` for a row that is none or too long, INVALID_ARGUMENT where no row is left
 */
export async function readFitting<Item>(data: RowSource, options: ReadOptions<Item>): Promise<Item[][]> {
  const { name, limit, what = "prompt and answer", truncationMode, signal, warn } = options;
  const out: Item[][] = [];
  const dropped: string[] = [];
  const cut: string[] = [];
  const empty: string[] = [];
  for await (const row of readRows(data, { name, signal })) {
    const items: Item[] = [];
    const read = options.read(row);
    if (read.length === 0) empty.push(row.where);
    for (const item of read) {
      const sequences = options.sequences(item);
      const excess = Math.max(...sequences.map(({ ids }) => ids.length)) - limit;
      if (excess <= 0) items.push(item);
      else if (truncationMode === "error")
        throw rowError(
          row,
          "row",
          `at most ${limit} tokens of ${what} (maxSeqLength; truncationMode "drop" or "keep_end" goes on)`,
          said(`${excess + limit} tokens`),
        );
      else if (truncationMode === "keep_end" && sequences.every((s) => s.promptLength > excess)) {
        items.push(
          options.replaced(
            item,
            sequences.map((s) => withoutBeginning(s, excess)),
          ),
        );
        cut.push(row.where);
      } else dropped.push(`${row.where} (${excess + limit} tokens)`);
    }
    if (items.length > 0) out.push(items);
  }
  if (dropped.length > 0)
    warn(`${name}: ${dropped.length} left out, longer than ${limit} tokens (maxSeqLength): ${firstOf(dropped)}`);
  if (cut.length > 0)
    warn(
      `${name}: ${cut.length === 1 ? "1 prompt was" : `${cut.length} prompts were`} cut, to ${limit} tokens of ${what} (maxSeqLength): ${firstOf(cut)}`,
    );
  if (out.length === 0)
    throw noRowsError(
      data,
      name,
      "at least one row",
      [
        ...(dropped.length > 0 ? [`only ones that are too long: ${firstOf(dropped)}`] : []),
        ...(empty.length > 0 ? [`only equal answers: ${firstOf(empty)}`] : []),
      ].join("; ") || "none",
    );
  return out;
}

function withoutBeginning({ ids, promptLength }: AnsweredPrompt, excess: number): AnsweredPrompt {
  return { ids: ids.slice(excess), promptLength: promptLength - excess };
}

/** The first of some places, for messages. */
export function firstOf(places: readonly string[]): string {
  return places.length <= NAMED ? places.join("; ") : `${places.slice(0, NAMED).join("; ")}; …`;
}
