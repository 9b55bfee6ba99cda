import type { LocatedRow } from "../../data/rows.ts";
import { type ReadItemOptions, readSplit, type SplitOptions } from "../preference/prepare.ts";
import type { EncodedPrompt, RowEncoder } from "../preference/rows.ts";

/** A prompt to answer, and the row's other fields, which are passed to the reward functions. */
export interface PolicyPrompt extends EncodedPrompt {
  readonly columns: Readonly<Record<string, unknown>>;
  /** Location of the prompt's row, for messages. */
  readonly where: string;
}

/** Reads the prompts of rows `{ prompt, … }`: a text, or an array of messages. */
export async function readPrompts(
  options: SplitOptions,
  encoder: RowEncoder,
  reading: Pick<ReadItemOptions<PolicyPrompt>, "limit" | "signal" | "warn">,
): Promise<{ train: PolicyPrompt[]; heldOut: PolicyPrompt[] }> {
  return readSplit<PolicyPrompt>(options, {
    ...reading,
    what: "a prompt, in addition to maxCompletionLength",
    read: (row) => [promptOf(row, encoder)],
    sequences: ({ ids }) => [{ ids: Int32Array.from(ids), promptLength: ids.length }],
    replaced: (prompt, [cut]) => ({ ...prompt, ids: [...cut!.ids] }),
  });
}

function promptOf(row: LocatedRow, encoder: RowEncoder): PolicyPrompt {
  const { prompt: _, ...columns } = row.value;
  return { ...encoder.prompt(row), columns, where: row.where };
}
