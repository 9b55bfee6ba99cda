// Exclusive claims on a model's weights, for calls that change them.
import { HeddleError } from "../core/errors.ts";
import type { ModelView } from "./model-view.ts";

const claimed = new WeakMap<ModelView, Set<string>>();

/**
 * Claims weights for one run of training, or for merging; two adapters of a model may be trained side by side.
 * @returns gives them back
 * @throws HeddleError INVALID_ARGUMENT where another run trains one of them
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

/** @throws HeddleError INVALID_ARGUMENT where a run trains one of these weights */
export function needUnclaimed(model: ModelView, names: readonly string[]): void {
  const taken = claimed.get(model);
  const shared = names.find((name) => taken?.has(name));
  if (shared !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `model: expected weights that no other run trains, got ${shared}`);
}
