import {
  gotText,
  type LocatedRow,
  noRowsError,
  optionalField,
  type RowSource,
  readRows,
  rowError,
  stringField,
  stringsField,
} from "../../data/rows.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { cutIds } from "../../tokenizer/prompt-ids.ts";
import type { PairExample } from "../losses/embed-loss.ts";
import type { ColumnPrompt, ColumnPrompts } from "./embed-prompts.ts";

interface Reading {
  name: string;
  tokenizer: Pick<Tokenizer, "encode" | "closingCount">;
  /** Maximum number of tokens of a text; a longer text is an error unless `truncation` keeps its beginning. */
  maxLength: number;
  truncation: boolean;
  /** Whether texts are lowercased first. */
  lowercase: boolean;
  /** Prompts put before the texts. */
  prompts: ColumnPrompts;
  signal?: AbortSignal | undefined;
}

/** Two texts and their human similarity score. */
export interface ScoredPair {
  first: Uint32Array;
  second: Uint32Array;
  score: number;
}

/**
 * Reads rows {anchor, positive, negative?}. `negative` is a text or an array of texts, all different from the positive.
 * @throws HeddleError `file:line: …`
 */
export async function readPairs(source: RowSource, options: Reading): Promise<PairExample[]> {
  const out: PairExample[] = [];
  const { anchor, document } = options.prompts;
  for await (const row of readRows(source, options)) {
    const negatives = optionalField(row, "negative", (r, field) =>
      Array.isArray(r.value[field]) ? stringsField(r, field) : [stringField(r, field)],
    );
    const positive = stringField(row, "positive", { empty: false });
    if (negatives?.includes(positive))
      throw rowError(row, "negative", "another text than the row's positive", positive);
    out.push({
      anchor: textIds(row, "anchor", anchor, options),
      positive: ids(row, "positive", { text: positive, prompt: document }, options),
      negatives: (negatives ?? []).map((text) => ids(row, "negative", { text, prompt: document }, options)),
    });
  }
  if (out.length === 0) throw noRowsError(source, options.name, "at least one row");
  return out;
}

/** Reads rows {sentence1, sentence2, score}. @throws HeddleError `file:line: …` */
export async function readScoredPairs(source: RowSource, options: Reading): Promise<ScoredPair[]> {
  const out: ScoredPair[] = [];
  const { sentence } = options.prompts;
  for await (const row of readRows(source, options)) {
    const { score } = row.value;
    if (typeof score !== "number" || !Number.isFinite(score)) throw rowError(row, "score", "a number", score);
    const [first, second] = [
      textIds(row, "sentence1", sentence, options),
      textIds(row, "sentence2", sentence, options),
    ];
    out.push({ first, second, score });
  }
  return out;
}

function textIds(row: LocatedRow, field: string, prompt: ColumnPrompt, options: Reading): Uint32Array {
  return ids(row, field, { text: stringField(row, field, { empty: false }), prompt }, options);
}

function ids(
  row: LocatedRow,
  field: string,
  { text, prompt }: { text: string; prompt: ColumnPrompt },
  reading: Reading,
): Uint32Array {
  const { tokenizer, maxLength, truncation, lowercase } = reading;
  if (text.trim() === "") throw rowError(row, field, "a text", text);
  const whole = prompt.text + text;
  // Parse special tokens, as `embed` does.
  const encoded = tokenizer.encode(lowercase ? whole.toLowerCase() : whole, { allowSpecial: true });
  if (encoded.length === 0) throw rowError(row, field, "at least one token", text);
  if (encoded.length > maxLength && !truncation)
    throw rowError(
      row,
      field,
      `at most ${maxLength} tokens (maxSeqLength; truncation: true keeps the first ones)`,
      gotText(`${encoded.length} tokens`),
    );
  const kept = cutIds(tokenizer, encoded, maxLength);
  const unpooled = prompt.unpooled(kept);
  if (unpooled === kept.length)
    throw rowError(row, field, `more tokens than the prompt's ${unpooled}`, gotText(`${kept.length} tokens`));
  return kept;
}
