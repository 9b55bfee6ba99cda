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
import { type SftExample, type SftRowOptions, type SftTokenizer, sftExample } from "./sft-rows.ts";

/** The examples of a source of rows. */
export interface SftData {
  examples: SftExample[];
  /** Index of each example's row in the source. */
  indices: number[];
  /** Number of rows of the source. */
  count: number;
  /** Number of rows rendered by the chat template. */
  conversations: number;
}

interface SftDataOptions extends SftRowOptions {
  /** Maximum number of tokens of a row. */
  maxSeqLength: number;
  truncationMode: "keep_start" | "keep_end" | "drop" | "error";
  /** Name of the option that provides the rows. */
  name: string;
  signal?: AbortSignal | undefined;
  /** Receives warnings about rows that are skipped or truncated. */
  warn(message: string): void;
}

/**
 * Tokenizes rows, truncated to maxSeqLength. Rows without a token to train on, and rows that truncationMode drops, are
 * skipped with a warning.
 * @throws HeddleError `file:line: …` for an invalid row; INVALID_FILE (INVALID_ARGUMENT for rows in memory) if no row
 * is left
 */
export async function readSftExamples(
  source: RowSource,
  tokenizer: SftTokenizer,
  options: SftDataOptions,
): Promise<SftData> {
  const { maxSeqLength, truncationMode, name, warn } = options;
  const out: SftData = { examples: [], indices: [], count: 0, conversations: 0 };
  const dropped: string[] = [];
  const unlearned: string[] = [];
  const cut: string[] = [];
  for await (const row of readRows(source, options)) {
    out.count++;
    const whole = sftExample(row, tokenizer, options);
    if (isConversation(row)) out.conversations++;
    const tooLong = whole.ids.length > maxSeqLength;
    if (tooLong && truncationMode === "error")
      throw rowError(
        row,
        "row",
        `at most maxSeqLength = ${maxSeqLength} tokens`,
        gotText(`${whole.ids.length} tokens`),
      );
    if (tooLong && truncationMode === "drop") {
      dropped.push(`${row.where} (${whole.ids.length} tokens)`);
      continue;
    }
    const kept = tooLong ? truncated(whole, maxSeqLength, truncationMode) : whole;
    if (!kept.mask.includes(1)) unlearned.push(place(row, whole, options));
    else {
      if (tooLong) cut.push(row.where);
      out.examples.push(kept);
      out.indices.push(row.index);
    }
  }
  if (out.examples.length === 0)
    throw noRowsError(
      source,
      name,
      "at least one row with a token to train on",
      [
        ...(unlearned.length > 0 ? [`none: ${firstPlaces(unlearned)}`] : []),
        ...(dropped.length > 0 ? [`only rows longer than maxSeqLength ${maxSeqLength}: ${firstPlaces(dropped)}`] : []),
      ].join("; ") || "no rows",
    );
  if (dropped.length > 0)
    warn(
      `${name}: ${countedWere(dropped.length, "row")} skipped, longer than ${maxSeqLength} tokens (maxSeqLength): ${firstPlaces(dropped)}`,
    );
  if (unlearned.length > 0)
    warn(
      `${name}: ${countedWere(unlearned.length, "row")} skipped because no token is trained on: ${firstPlaces(unlearned)}`,
    );
  if (cut.length > 0)
    warn(
      `${name}: ${countedWere(cut.length, "row")} cut to ${maxSeqLength} tokens (maxSeqLength): ${firstPlaces(cut)}`,
    );
  return out;
}

function isConversation({ value }: LocatedRow): boolean {
  return Array.isArray(value.messages) || Array.isArray(value.prompt);
}

function truncated({ ids, mask }: SftExample, length: number, mode: SftDataOptions["truncationMode"]): SftExample {
  const from = mode === "keep_start" ? 0 : ids.length - length;
  const kept = { ids: ids.slice(from, from + length), mask: mask.slice(from, from + length) };
  kept.mask[0] = 0; // not learned, because the token before it was cut off
  return kept;
}

/** Describes a row without a token to train on, for messages. */
function place(
  { where }: LocatedRow,
  { ids, mask }: SftExample,
  { maxSeqLength, truncationMode }: SftDataOptions,
): string {
  if (!mask.includes(1)) return `${where} (${ids.length} tokens, none to train on)`;
  const [which, index] = truncationMode === "keep_end" ? ["last", mask.lastIndexOf(1)] : ["first", mask.indexOf(1)];
  return `${where} (${ids.length} tokens: the ${which} token to train on is number ${index + 1}, but only the ${which} ${maxSeqLength} tokens are kept)`;
}
