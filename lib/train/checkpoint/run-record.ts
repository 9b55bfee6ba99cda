import { HeddleError } from "../../core/errors.ts";
import { adapterTensors } from "../../models/adapters/adapters.ts";
import { weightsFingerprint } from "../../models/fingerprint.ts";
import type { Model } from "../../models/model.ts";
import type { GroupRecord } from "../options/parameter-groups.ts";
import type { RecordedOptions } from "../options/run-options.ts";

/** Facts in a checkpoint that must be unchanged when a run resumes. */
export interface RunRecord {
  /** The parameter groups, including frozen ones, if there are any. */
  parameterGroups?: GroupRecord[] | undefined;
  /** The options that affect the losses. Absent in older checkpoints. */
  options?: RecordedOptions | undefined;
  /** Fingerprint of the untrained weights, if there are any. Absent in older checkpoints. */
  frozenWeights?: string | undefined;
}

/**
 * Fingerprint of the weights that a run reads but does not train: the base under an adapter, other adapters, a trunk
 * under a head, frozen groups. The run's checkpoints do not restore them, so a resumed run would otherwise accept any
 * other weights.
 * @returns undefined if all weights are trained
 */
export async function frozenFingerprint(model: Model, trained: readonly string[]): Promise<string | undefined> {
  const own = new Set(trained);
  const all = [...model.weightNames, ...model.adaptersOf().flatMap(adapterTensors)];
  const frozen = all.filter((name) => !own.has(name));
  return frozen.length > 0 ? `${frozen.length} tensors ${await weightsFingerprint(model, frozen)}` : undefined;
}

/**
 * Checks that the frozen weights are those of the resumed run.
 * @param began fingerprint from the checkpoint; undefined: an older checkpoint, or all weights were trained
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needSameFrozen(began: string | undefined, now: string | undefined): void {
  if (began === undefined || now === undefined || began === now) return;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `resume: the frozen weights, or their dtype, differ from those of the resumed run: expected ${began}, got ${now}`,
  );
}
