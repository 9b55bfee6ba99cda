import { type LocatedRow, noRowsError, type RowSource, readRows, rowError, said } from "../../data/rows.ts";
import { type SftExample, type SftRowOptions, type SftTokenizer, sftExample } from "./sft-rows.ts";

export interface SftData {
  examples: SftExample[];
  /** Rows that the chat template was applied to. */
  conversations: number;
}

export interface SftDataOptions extends SftRowOptions {
  /** Tokens of a row at most. */
  maxSeqLength: number;
  truncationMode: "keep_start" | "keep_end" | "drop" | "error";
  /** Of the option that gave the rows. */
  name: string;
  signal?: AbortSignal | undefined;
  /** Told of rows that are left out. */
  warn(message: string): void;
}

/** Places that a message names. */
const NAMED = 3;

/**
 * Rows as tokens, cut to maxSeqLength. Rows of which nothing is left to learn are left out, and told of.
 * @throws HeddleError `file:line: …` for a row that is none, or a file (with rows in memory INVALID_ARGUMENT) where no row is left
 */
export async function readSftExamples(
  source: RowSource,
  tokenizer: SftTokenizer,
  options: SftDataOptions,
): Promise<SftData> {
  const { maxSeqLength, truncationMode, name, warn } = options;
  const out: SftData = { examples: [], conversations: 0 };
  const dropped: string[] = [];
  const cut: string[] = [];
  for await (const row of readRows(source, options)) {
    const whole = sftExample(row, tokenizer, options);
    if (isConversation(row)) out.conversations++;
    const tooLong = whole.ids.length > maxSeqLength;
    if (tooLong && truncationMode === "error")
      throw rowError(row, "row", `at most maxSeqLength = ${maxSeqLength} tokens`, said(`${whole.ids.length} tokens`));
    const kept = tooLong ? truncated(whole, maxSeqLength, truncationMode) : whole;
    if (!kept?.mask.includes(1)) dropped.push(place(row, whole, maxSeqLength));
    else {
      if (tooLong) cut.push(row.where);
      out.examples.push(kept);
    }
  }
  if (out.examples.length === 0)
    throw noRowsError(
      source,
      name,
      "at least one row with a token to learn",
      dropped.length === 0 ? "no rows" : `none: ${first(dropped)}`,
    );
  if (dropped.length > 0)
    warn(`${name}: ${rowsWere(dropped.length)} left out because no token counts: ${first(dropped)}`);
  if (cut.length > 0)
    warn(`${name}: ${rowsWere(cut.length)} cut to ${maxSeqLength} tokens (maxSeqLength): ${first(cut)}`);
  return out;
}

function isConversation({ value }: LocatedRow): boolean {
  return Array.isArray(value.messages) || Array.isArray(value.prompt);
}

function truncated(
  { ids, mask }: SftExample,
  length: number,
  mode: SftDataOptions["truncationMode"],
): SftExample | undefined {
  if (mode === "drop") return undefined;
  const from = mode === "keep_start" ? 0 : ids.length - length;
  const kept = { ids: ids.slice(from, from + length), mask: mask.slice(from, from + length) };
  kept.mask[0] = 0; // what came before it is cut off
  return kept;
}

/** Why nothing of a row counts. */
function place({ where }: LocatedRow, { ids, mask }: SftExample, maxSeqLength: number): string {
  if (ids.length <= maxSeqLength) return `${where} (${ids.length} tokens, none to learn)`;
  return `${where} (${ids.length} tokens, of which the first to learn is number ${mask.indexOf(1) + 1}, with maxSeqLength ${maxSeqLength})`;
}

const rowsWere = (count: number) => (count === 1 ? "1 row was" : `${count} rows were`);

function first(places: readonly string[]): string {
  return places.length <= NAMED ? places.join("; ") : `${places.slice(0, NAMED).join("; ")}; …`;
}
