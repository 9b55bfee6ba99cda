import { countedWere } from "../../core/amounts.ts";
import {
  firstPlaces,
  gotText,
  type LocatedRow,
  noRowsError,
  type RowSource,
  readRows,
  rowError,
} from "../../data/rows.ts";
import type { KeptRows } from "../examples/example-source.ts";
import type { AnsweredPrompt } from "./sequences.ts";

/** The ways to handle a sequence that is too long; see `ReadOptions.truncationMode`. */
export const truncationModes = ["error", "drop", "keep_end"] as const;
/** The name of a way to handle a sequence that is too long. */
export type TruncationMode = (typeof truncationModes)[number];

/** Options of `readFitting`. */
export interface ReadOptions<Item> {
  /** Name of the option that provides the rows. */
  name: string;
  /** Maximum number of tokens of a prompt with its answer. */
  limit: number;
  /** The kind of sequence that the limit applies to, for messages. */
  what?: string | undefined;
  /** Handling of longer sequences: an error, leaving the item out, or cutting the beginning of its prompts. */
  truncationMode: TruncationMode;
  /** Returns the items of a row. */
  read(row: LocatedRow): Item[];
  /** Returns the sequences of an item, whose prompts are cut by the same amount. */
  sequences(item: Item): readonly AnsweredPrompt[];
  /** Returns the item with its sequences replaced by truncated ones. */
  replaced(item: Item, sequences: readonly AnsweredPrompt[]): Item;
  signal?: AbortSignal | undefined;
  /** Receives warnings about rows that were left out or cut. */
  warn(message: string): void;
}

/**
 * Reads rows as training items, in order. The items of one row stay together. A row without items is not kept.
 * @throws HeddleError `file:line: …` for a row that is invalid or too long; INVALID_FILE (INVALID_ARGUMENT for rows in
 * memory) if no row is left
 */
export async function readFitting<Item>(data: RowSource, options: ReadOptions<Item>): Promise<KeptRows<Item[]>> {
  const { name, limit, what = "prompt and answer", truncationMode, signal, warn } = options;
  const out: Item[][] = [];
  const indices: number[] = [];
  let count = 0;
  const dropped: string[] = [];
  const cut: string[] = [];
  const equal: string[] = [];
  const dismissed: string[] = [];
  for await (const row of readRows(data, { name, signal })) {
    count++;
    const items: Item[] = [];
    const read = options.read(row);
    if (read.length === 0) (row.value.dismissed === true ? dismissed : equal).push(row.where);
    for (const item of read) {
      const sequences = options.sequences(item);
      const excess = Math.max(...sequences.map(({ ids }) => ids.length)) - limit;
      if (excess <= 0) items.push(item);
      else if (truncationMode === "error")
        throw rowError(
          row,
          "row",
          `at most ${limit} tokens of ${what} (maxSeqLength; truncationMode "drop" or "keep_end" avoids this)`,
          gotText(`${excess + limit} tokens`),
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
    if (items.length === 0) continue;
    out.push(items);
    indices.push(row.index);
  }
  if (dropped.length > 0)
    warn(`${name}: ${dropped.length} skipped, longer than ${limit} tokens (maxSeqLength): ${firstPlaces(dropped)}`);
  if (cut.length > 0)
    warn(
      `${name}: ${countedWere(cut.length, "prompt")} truncated to ${limit} tokens (${what}, maxSeqLength): ${firstPlaces(cut)}`,
    );
  if (out.length === 0)
    throw noRowsError(
      data,
      name,
      "at least one row",
      [
        ...(dropped.length > 0 ? [`only ones that are too long: ${firstPlaces(dropped)}`] : []),
        ...(equal.length > 0 ? [`only equal answers: ${firstPlaces(equal)}`] : []),
        ...(dismissed.length > 0 ? [`only dismissed prompts: ${firstPlaces(dismissed)}`] : []),
      ].join("; ") || "none",
    );
  return { rows: out, indices, count };
}

function withoutBeginning({ ids, promptLength }: AnsweredPrompt, excess: number): AnsweredPrompt {
  return { ids: ids.slice(excess), promptLength: promptLength - excess };
}
