import { type LocatedRow, rowError, rowsError } from "../../data/rows.ts";
import { sequenceLengthFor, sequenceLengthOf, tokenizerOf } from "../loop/run-stage.ts";
import type { StageCall } from "../loop/start-stage.ts";
import type { PreferenceTrainable } from "./options.ts";
import { type PreferenceItems, readSplit, type SplitOptions } from "./prepare.ts";
import { RowEncoder } from "./rows.ts";
import { type AnsweredPrompt, joined } from "./sequences.ts";

/** A good or bad answer, and its prompt with an answer to another prompt. */
export interface RatedAnswer {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly other: AnsweredPrompt;
}

/** Reads training and held-out rows `{ prompt, completion, label }`, and computes the length of their sequences. */
export async function readRatedAnswers(
  base: PreferenceTrainable,
  options: SplitOptions & { maxSeqLength?: number | undefined; chatTemplate?: string | undefined },
  call: StageCall,
): Promise<PreferenceItems<RatedAnswer>> {
  const encoder = new RowEncoder(tokenizerOf(base, "kto"), options);
  const limit = sequenceLengthOf(base.model, options);
  const read = await readSplit<LabeledRow>(options, {
    ...call,
    limit,
    read: (row) => [labeledRow(row, encoder)],
    sequences: ({ answer }) => [answer],
    replaced: (item, [answer]) => ({ ...item, answer: answer! }),
  });
  needBothKinds(read.train);
  const [train, heldOut] = [mismatched(read.train, limit), mismatched(read.heldOut, limit)];
  const longest = [...train, ...heldOut].reduce((n, m) => Math.max(n, m.answer.ids.length, m.other.ids.length), 1);
  return { train, heldOut, sequenceLength: sequenceLengthFor(longest, limit) };
}

interface LabeledRow {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly row: LocatedRow;
}

function labeledRow(row: LocatedRow, encoder: RowEncoder): LabeledRow {
  const { completion, label } = row.value;
  if (typeof label !== "boolean") throw rowError(row, "label", "true or false", label);
  return { answer: encoder.answer(row, encoder.prompt(row), "completion", completion), desirable: label, row };
}

function needBothKinds(items: readonly LabeledRow[]): void {
  const good = items.filter((item) => item.desirable).length;
  if (good > 0 && good < items.length) return;
  throw rowsError(items[0]!.row, "rows with label true and with false", `${items.length} that are all ${good > 0}`);
}

/** Pairs each prompt with an answer to another prompt, truncated to fit. @internal */
export function mismatched<Item extends { readonly answer: AnsweredPrompt }>(items: readonly Item[], limit: number) {
  const places = otherPrompts(items.map(({ answer: { ids, promptLength } }) => ids.subarray(0, promptLength).join()));
  return items.map((item, i) => {
    const { ids, promptLength } = item.answer;
    const from = items[places[i]!]!.answer;
    const other = joined(ids.subarray(0, promptLength), from.ids.subarray(from.promptLength));
    return { ...item, other: { ...other, ids: other.ids.subarray(0, limit) } };
  });
}

/**
 * Returns for each row the index of a row with another prompt. Answers to one prompt are mostly consecutive, so the
 * previous row would often have the same prompt. The search therefore goes back by the length of the longest run of
 * equal prompts. If every prompt has a good and a bad answer, a good answer is then matched with a good answer. If the
 * row found has the same prompt, the nearest earlier row with a different prompt is taken. If all prompts are equal,
 * the previous row is taken.
 */
function otherPrompts(prompts: readonly string[]): number[] {
  const count = prompts.length;
  const first = prompts.findIndex((prompt) => prompt !== prompts[0]);
  if (first < 0) return prompts.map((_, i) => (i + count - 1) % count);
  // Treat the rows as a ring that starts at the beginning of a run. For each row, find the last row before its run.
  const before: number[] = new Array(count);
  let [longest, length] = [0, 0];
  for (let k = 0; k < count; k++) {
    const [i, last] = [(first + k) % count, (first + k + count - 1) % count];
    const isSameRun = k > 0 && prompts[i] === prompts[last];
    before[i] = isSameRun ? before[last]! : last;
    length = isSameRun ? length + 1 : 1;
    longest = Math.max(longest, length);
  }
  return prompts.map((prompt, i) => {
    const place = (i + count - longest) % count;
    return prompts[place] === prompt ? before[place]! : place;
  });
}
