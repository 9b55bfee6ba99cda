// What two runs at a time would spoil for each other in one process; files and folders are claimed by formats/claim.ts.
import { HeddleError } from "../errors.ts";
import type { Model } from "../models/model.ts";

const trained = new WeakMap<Model, Set<string>>();

/**
 * Claims weights for one run; two adapters of a model may be trained side by side.
 * @returns gives them back
 * @throws HeddleError INVALID_ARGUMENT where another run trains one of them
 */
export function claimWeights(model: Model, names: readonly string[]): () => void {
  const taken = trained.get(model) ?? new Set();
  trained.set(model, taken);
  const shared = names.find((name) => taken.has(name));
  if (shared !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `model: expected weights that no other run trains, got ${shared}`);
  for (const name of names) taken.add(name);
  return () => {
    for (const name of names) taken.delete(name);
  };
}
