import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import {
  gotText,
  type LocatedRow,
  noRowsError,
  type RowSource,
  readRows,
  rowError,
  rowsError,
  stringField,
  stringsField,
} from "../../data/rows.ts";
import type { ClassifierConfig } from "../../formats/config/config.ts";
import { wordTokens } from "../../language-model/embed/classify.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { cutIds } from "../../tokenizer/prompt-ids.ts";

/** A row from a file: a text with its label, or words with their labels. */
export interface LabeledRow {
  row: LocatedRow;
  text?: string;
  words?: readonly string[];
  /** Label names: one for a text (several in multi-label tasks), or one per word. Empty for a regression. */
  labels: readonly string[];
  /** The number of a regression. */
  value?: number;
}

/** The tokens and targets of a row. */
export interface LabeledExample {
  ids: Uint32Array;
  /**
   * Index of the label. For words, one index per word, or −1 if truncation removed the word's token. A single 0 if
   * `values` holds the targets.
   */
  targets: Int32Array;
  /** Indices of the words' labeled tokens, −1 for truncated words. Empty for a text. */
  at: Int32Array;
  /** The targets of a multi-label task (0 or 1 for each label), or the number of a regression. */
  values?: Float32Array;
}

/** Reads rows {text, label} or {tokens, labels}. @throws HeddleError `file:line: …` */
export async function readLabeled(
  source: RowSource,
  options: { name: string; problemType: ClassifierConfig["problemType"]; signal?: AbortSignal | undefined },
): Promise<LabeledRow[]> {
  const out: LabeledRow[] = [];
  for await (const row of readRows(source, options)) out.push(labeled(row, options.problemType));
  if (out.length === 0) throw noRowsError(source, options.name, "at least one row");
  const first = out[0]!;
  for (const { row, words } of out)
    if ((words === undefined) !== (first.words === undefined))
      throw rowError(
        row,
        words ? "tokens" : "text",
        `a row of the same kind as ${first.row.where}`,
        gotText("the other kind"),
      );
  return out;
}

function labeled(row: LocatedRow, problemType: ClassifierConfig["problemType"]): LabeledRow {
  if (Object.hasOwn(row.value, "tokens")) {
    const words = stringsField(row, "tokens");
    const labels = row.value.labels;
    if (words.length === 0) throw rowError(row, "tokens", "at least one word", words);
    const blank = words.findIndex((w) => w.trim() === "");
    if (blank >= 0) throw rowError(row, `tokens[${blank}]`, "a word", words[blank]);
    if (!Array.isArray(labels) || labels.length !== words.length)
      throw rowError(row, "labels", `${words.length} labels, one per token`, labels);
    return { row, words, labels: labels.map((l, i) => labelName(row, `labels[${i}]`, l)) };
  }
  const text = stringField(row, "text", { empty: false });
  if (problemType === "regression") {
    const value = row.value.label;
    if (typeof value !== "number" || !Number.isFinite(value)) throw rowError(row, "label", "a number", value);
    return { row, text, labels: [], value };
  }
  if (problemType === "multi_label_classification") {
    const labels = row.value.labels ?? row.value.label;
    if (!Array.isArray(labels)) throw rowError(row, "labels", "an array of labels", labels);
    return { row, text, labels: labels.map((l, i) => labelName(row, `labels[${i}]`, l)) };
  }
  const { label } = row.value;
  if (label === undefined && Array.isArray(row.value.labels))
    throw rowError(row, "label", 'one, or problemType "multi_label_classification" for labels', undefined);
  if (typeof label === "number" && Number.isFinite(label) && !Number.isInteger(label))
    throw rowError(row, "label", 'a label, or problemType "regression" for numbers', label);
  return { row, text, labels: [labelName(row, "label", label)] };
}

/** Returns a label's name. Numbers and booleans are valid names of classes. */
function labelName(row: LocatedRow, field: string, label: unknown): string {
  if (typeof label === "string" && label !== "") return label;
  if (typeof label === "boolean" || Number.isSafeInteger(label)) return String(label);
  throw rowError(row, field, "a label (a string, an integer or a boolean)", label);
}

/** Returns the distinct labels, sorted: numbers by size, names by code unit. */
export function labelsOf(rows: readonly LabeledRow[]): string[] {
  const names = [...new Set(rows.flatMap(({ labels }) => labels))];
  const numbers = names.every((name) => /^-?\d+$/.test(name));
  return names.sort((a, b) => (numbers ? Number(a) - Number(b) : a < b ? -1 : 1));
}

/** Throws unless there are at least two distinct labels. */
export function needTwoLabels(rows: readonly LabeledRow[], labels: readonly string[]): void {
  const seen = new Set(rows.flatMap((r) => r.labels));
  if (seen.size >= 2 && labels.length >= 2) return;
  const named = (all: Iterable<string>) => [...all].map((l) => JSON.stringify(l)).join(", ") || "none";
  if (seen.size >= 2)
    throw new HeddleError("INVALID_ARGUMENT", `labels: expected at least two, got only ${named(labels)}`);
  throw rowsError(rows[0]!.row, "at least two labels among its rows", `only ${named(seen)}`);
}

/**
 * Encodes a row as ids and targets.
 * @param maxLength maximum number of tokens; a longer text is an error unless `truncation` keeps its beginning
 */
export function encodeLabeled(
  { row, text, words, labels, value }: LabeledRow,
  options: {
    tokenizer: Pick<Tokenizer, "encode" | "encodeWithOffsets" | "closingCount">;
    index: ReadonlyMap<string, number>;
    problemType: ClassifierConfig["problemType"];
    maxLength: number;
    truncation: boolean;
  },
): LabeledExample {
  const { tokenizer, index, problemType, maxLength, truncation } = options;
  const indices = labels.map((label) => {
    const found = index.get(label);
    if (found === undefined)
      throw rowError(row, words ? "labels" : "label", `one of ${firstOf([...index.keys()], 20)} (labels)`, label);
    return found;
  });
  // Parse special tokens, as `classify` does.
  const encoded = words
    ? wordTokens(tokenizer as Tokenizer, words)
    : { ids: tokenizer.encode(text!, { allowSpecial: true }), tokens: [] };
  const field = words ? "tokens" : "text";
  if (encoded.ids.length === 0) throw rowError(row, field, "at least one token", text);
  if (encoded.ids.length > maxLength && !truncation)
    throw rowError(
      row,
      field,
      `at most ${maxLength} tokens (maxSeqLength; truncation: true keeps the first ones)`,
      gotText(`${encoded.ids.length} tokens`),
    );
  const ids = cutIds(tokenizer, encoded.ids, maxLength);
  // cutIds keeps the closing special tokens, so it keeps fewer tokens of the text.
  const kept = encoded.ids.length > maxLength ? maxLength - tokenizer.closingCount : maxLength;
  const at = Int32Array.from(encoded.tokens, (t) => (t < kept ? t : -1));
  if (words) return { ids, at, targets: Int32Array.from(indices, (label, i) => (at[i]! < 0 ? -1 : label)) };
  if (problemType === "regression") return { ids, at, targets: Int32Array.of(0), values: Float32Array.of(value!) };
  if (problemType === "single_label_classification") return { ids, at, targets: Int32Array.from(indices) };
  const values = new Float32Array(index.size);
  for (const i of indices) values[i] = 1;
  return { ids, at, targets: Int32Array.of(0), values };
}
