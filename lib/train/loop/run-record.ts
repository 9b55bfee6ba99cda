import { HeddleError } from "../../core/errors.ts";
import { adapterTensors } from "../../models/adapters/adapters.ts";
import { weightsFingerprint } from "../../models/fingerprint.ts";
import type { Model } from "../../models/model.ts";
import type { RecordedOptions } from "../options/run-options.ts";
import type { GroupRecord } from "./parameter-groups.ts";

/** What of a run has to be as it began when it goes on: checkpoints keep it. */
export interface RunRecord {
  /** The parameter groups, where there are some, those that are frozen too. */
  parameterGroups?: GroupRecord[] | undefined;
  /** The options that losses follow from. Absent in older checkpoints. */
  options?: RecordedOptions | undefined;
  /** Of the weights that are not trained, where there are some. Absent in older checkpoints. */
  frozenWeights?: string | undefined;
}

/**
 * What tells the weights that a run reads and does not train apart from others: the base under an adapter, adapters beside it, a trunk under a
 * head, frozen groups. They lie in no checkpoint of the run, or are not read from there, so that it would go on over any others.
 * @returns undefined where all is trained
 */
export async function frozenFingerprint(model: Model, trained: readonly string[]): Promise<string | undefined> {
  const own = new Set(trained);
  const all = [...model.weightNames, ...model.adaptersOf().flatMap(adapterTensors)];
  const frozen = all.filter((name) => !own.has(name));
  return frozen.length > 0 ? `${frozen.length} tensors ${await weightsFingerprint(model, frozen)}` : undefined;
}

/** @param began of the checkpoint; undefined: it is of before this was kept, or all was trained @throws HeddleError INVALID_ARGUMENT */
export function needSameFrozen(began: string | undefined, now: string | undefined): void {
  if (began === undefined || now === undefined || began === now) return;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `resume: expected the base that the run began with, whose weights it does not train (${began}), got another, or the same in another type (${now})`,
  );
}
