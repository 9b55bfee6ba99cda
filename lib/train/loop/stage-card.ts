import { filesIn, type RowSource } from "../../data/rows.ts";
import { MAX_DATA, type ModelCard, type ModelCardInput } from "../../formats/model-card.ts";
import { filesOf } from "../examples/corpus-source.ts";
import type { TrainingOptions } from "../options/parse-options.ts";
import type { EvalEvent, TrainerState } from "./trainer.ts";

/** The stage's entries in the model card. */
export interface StageCard {
  /** Names of the stage's data, usually of files. */
  data: readonly string[];
  /** Suitable and unsuitable uses of the trained model. */
  notes: string;
  /** Names in the card for the held-out data and for the loss on it, such as `loss (nats per token)`. */
  evaluation: { name: string; metric: string };
}

/**
 * Builds the model card after a stage: the parent's card, extended by this stage's data and options.
 * @param measured names of metrics that come from the caller's `evaluate`, not from the stage
 */
export function cardOf(
  parent: ModelCard | undefined,
  stage: string,
  about: StageCard,
  options: TrainingOptions,
  state: Pick<TrainerState, "tokensSeen">,
  held: Pick<EvalEvent, "evalLoss" | "metrics"> | undefined,
  measured: ReadonlySet<string>,
): ModelCardInput {
  const given = (options.card ?? {}) as Partial<ModelCardInput>;
  const replayed = options.replay ? dataNames(filesOf(options.replay.data)) : [];
  const metrics = Object.entries(held?.metrics ?? {}).map(([metric, value]) => ({ metric, value }));
  const name = options.name ?? given.name ?? parent?.name;
  const before = parent && (parent.stages ?? [{ stage: parent.stage, name: parent.name, tokens: parent.tokensSeen }]);
  return {
    ...given,
    name,
    stage,
    stages: [...(before ?? []), { stage, name, tokens: state.tokensSeen }],
    parent: parent ? (parent.name ?? parent.stage) : null,
    data: listed([...(parent?.data ?? []), ...(given.data ?? [...about.data, ...replayed].map((name) => ({ name })))]),
    tokensSeen: (parent?.tokensSeen ?? 0) + state.tokensSeen,
    trainingCutoffDate: options.trainingCutoffDate ?? given.trainingCutoffDate ?? parent?.trainingCutoffDate ?? null,
    license: options.license ?? given.license ?? parent?.license,
    notes: given.notes ?? about.notes,
    evaluations: [
      ...(given.evaluations ?? []),
      ...[
        ...(held?.evalLoss === undefined ? [] : [{ metric: about.evaluation.metric, value: held.evalLoss }]),
        ...metrics,
      ]
        // A card is JSON. Leave out values that are not finite, rather than lose a finished model.
        .filter(({ value }) => Number.isFinite(value))
        .map((entry) => ({ name: measured.has(entry.metric) ? "evaluate" : about.evaluation.name, ...entry })),
    ],
  };
}

/** Lists data once, even if several stages read or replay it. If there are more files than a card lists, keeps the first ones. */
function listed<T extends { name: string }>(list: readonly T[]): (T | { name: string })[] {
  const all = [...new Map(list.map((entry) => [JSON.stringify(entry), entry])).values()];
  if (all.length <= MAX_DATA) return all;
  const shown = all.slice(0, MAX_DATA - 1);
  return [...shown, { name: `and ${all.length - shown.length} more` }];
}

/** Names of files in a card: the last part of their paths. */
export function dataNames(data: string | readonly string[] | undefined): string[] {
  const files = data === undefined ? [] : typeof data === "string" ? [data] : data;
  return files.map((name) => name.replace(/^.*[\\/]/, ""));
}

/** Names of the files of rows in a card. */
export function namesOf(data: RowSource): string[] {
  return dataNames(filesIn(data));
}
