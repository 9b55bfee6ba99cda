// Exclusive claims on a model's weights, for calls that change them.
import { HeddleError } from "../core/errors.ts";
import type { ModelView } from "./model-view.ts";

const claimed = new WeakMap<ModelView, Set<string>>();

/**
 * Claims weights for a training run, or for merging. Two adapters of a model may be trained at the same time.
 * @returns a function that releases the claim
 * @throws HeddleError INVALID_ARGUMENT if another run trains one of the weights
 */
export function claimWeights(model: ModelView, names: readonly string[]): () => void {
  needUnclaimed(model, names);
  const taken = claimed.get(model) ?? new Set();
  claimed.set(model, taken);
  for (const name of names) taken.add(name);
  return () => {
    for (const name of names) taken.delete(name);
  };
}

/** Checks that no run trains one of these weights. @throws HeddleError INVALID_ARGUMENT */
export function needUnclaimed(model: ModelView, names: readonly string[]): void {
  const taken = claimed.get(model);
  const shared = names.find((name) => taken?.has(name));
  if (shared !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `model: expected weights that no other run trains, got ${shared}`);
}
