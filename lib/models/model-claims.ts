// Exclusive claims on a model's weights, for calls that change them.
import { HeddleError } from "../core/errors.ts";
import type { ModelView } from "./model-view.ts";

/** The user of claimed weights: a training run, or a merge of adapters. */
type ClaimKind = "training" | "merge";

/** The claimed weights of each model. */
const claimed = new WeakMap<ModelView, Map<string, ClaimKind>>();

const EXPECTED: Readonly<Record<ClaimKind, string>> = {
  training: "weights that no other run trains",
  merge: "weights that no concurrent merge uses",
};

/**
 * Claims weights for a training run, or for merging. Two adapters of a model may be trained at the same time.
 * @returns a function that releases the claim
 * @throws HeddleError INVALID_ARGUMENT if another run trains one of the weights, or a merge uses it
 */
export function claimWeights(model: ModelView, names: readonly string[], kind: ClaimKind): () => void {
  needUnclaimed(model, names);
  const taken = claimed.get(model) ?? new Map<string, ClaimKind>();
  claimed.set(model, taken);
  for (const name of names) taken.set(name, kind);
  return () => {
    for (const name of names) taken.delete(name);
  };
}

/** Checks that no run trains these weights and no merge uses them. @throws HeddleError INVALID_ARGUMENT */
export function needUnclaimed(model: ModelView, names: readonly string[]): void {
  const taken = claimed.get(model);
  const shared = names.find((name) => taken?.has(name));
  if (shared !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `model: expected ${EXPECTED[taken!.get(shared)!]}, got ${shared}`);
}
