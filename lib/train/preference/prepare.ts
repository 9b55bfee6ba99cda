import { firstPlaces, type RowSource } from "../../data/rows.ts";
import type { Model } from "../../models/model.ts";
import { splitExamples } from "../examples/example-source.ts";
import { settleAdapters } from "../loop/base-adapters.ts";
import { sequenceLengthFor, sequenceLengthOf, tokenizerOf } from "../loop/run-stage.ts";
import { type ReadOptions, readFitting, type TruncationMode } from "./fit.ts";
import type { PreferenceTrainable } from "./options.ts";
import { isTie, pairsOf } from "./pair-rows.ts";
import type { PreferencePair } from "./pairs.ts";
import { RowEncoder } from "./rows.ts";

/** The rows to read, and how they are split. */
export interface SplitOptions {
  data: RowSource;
  evalData?: RowSource | undefined;
  evalFraction?: number | undefined;
  truncationMode: TruncationMode;
  /** Names of the options that provide the rows, for messages. */
  names?: { data: string; evalData: string } | undefined;
}

/** Items to learn from, and the number of rows that their longest sequence needs. */
export interface PreferenceItems<Item> {
  train: readonly Item[];
  heldOut: readonly Item[];
  sequenceLength: number;
  /** Fingerprint of the reference's log-probabilities. Default: the stage uses no reference. */
  reference?: string | undefined;
}

/** The `ReadOptions` that are the same for training and held-out rows. */
export type ReadItemOptions<Item> = Pick<
  ReadOptions<Item>,
  "read" | "sequences" | "replaced" | "limit" | "what" | "signal" | "warn"
>;

/** Reads training and held-out items: rows of evalData are held out, or a share of `data`'s rows. The items of a row stay together. */
export async function readSplit<Item>(
  { data, evalData, evalFraction = 0, truncationMode, names }: SplitOptions,
  reading: ReadItemOptions<Item>,
): Promise<{ train: Item[]; heldOut: Item[] }> {
  const read = await readFitting(data, { ...reading, name: names?.data ?? "data", truncationMode });
  if (evalData !== undefined) {
    const heldOut = await readFitting(evalData, { ...reading, name: names?.evalData ?? "evalData", truncationMode });
    return { train: read.rows.flat(), heldOut: heldOut.rows.flat() };
  }
  const split = splitExamples(read, evalFraction);
  return { train: split.train.flat(), heldOut: split.heldOut.flat() };
}

/**
 * Converts the model to its form during training: merged or active adapters, and f32 weights. Log-probabilities
 * computed before the first step then have the same bits as in training.
 */
export async function prepareWeights(
  model: Model,
  options: Parameters<typeof settleAdapters>[1],
  names = model.languageWeightNames,
) {
  await settleAdapters(model, options);
  if (!options.lora) await model.prepareForTraining(names);
}

/** Reads training and held-out pairs, and computes the number of rows that their longest sequence needs. */
export async function readPairs(
  base: PreferenceTrainable,
  stage: string,
  options: SplitOptions & { maxSeqLength?: number | undefined; chatTemplate?: string | undefined },
  call: { signal?: AbortSignal | undefined; warn(message: string): void },
): Promise<PreferenceItems<PreferencePair>> {
  const encoder = new RowEncoder(tokenizerOf(base, stage), options);
  const limit = sequenceLengthOf(base.model, options);
  const same: string[] = [];
  const { train, heldOut } = await readSplit<PreferencePair>(options, {
    ...call,
    limit,
    read(row) {
      const pairs = pairsOf(row, encoder);
      if (pairs.some(isTie)) same.push(row.where);
      return pairs.filter((pair) => !isTie(pair));
    },
    sequences: (pair) => [pair.chosen, pair.rejected],
    replaced: (pair, [chosen, rejected]) => ({ ...pair, chosen: chosen!, rejected: rejected! }),
  });
  if (same.length > 0)
    call.warn(
      `${same.length === 1 ? "1 row holds" : `${same.length} rows hold`} pairs of equal answers, which were skipped: ${firstPlaces(same)}`,
    );
  const longest = [...train, ...heldOut].reduce((n, p) => Math.max(n, p.chosen.ids.length, p.rejected.ids.length), 1);
  return { train, heldOut, sequenceLength: sequenceLengthFor(longest, limit) };
}
