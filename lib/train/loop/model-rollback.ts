import type { Model, ModelMark } from "../../models/model.ts";

/**
 * The last pending change of each model. Changes of a model run one after another, so that each recorded change belongs
 * to one call.
 */
const pendingChanges = new WeakMap<Model, Promise<unknown>>();

interface Change {
  before: ModelMark;
  after: ModelMark;
  /** Undoes only this change, for a model that other calls have changed since. */
  otherwise?: (() => void) | undefined;
}

/**
 * Records what a training call changes in its model before the first step (heads, adapters, merged or dequantized weights). Rolls the changes
 * back if the call is rejected, unless other calls have changed the model since. The saved state takes memory, and is freed when the first
 * step begins.
 */
export class Preparation {
  private readonly model: Model;
  private readonly changes: Change[] = [];
  private readonly besides: (() => void)[] = [];

  constructor(model: Model) {
    this.model = model;
  }

  /** Makes a change. @param otherwise undoes only this change, for a model that other calls have changed since */
  async change<T>(make: () => Promise<T> | T, otherwise?: () => void): Promise<T> {
    const { model } = this;
    const made = (pendingChanges.get(model) ?? Promise.resolve()).then(async () => {
      model.assertLive();
      const before = model.mark();
      try {
        return await make();
      } finally {
        const after = model.mark();
        after.release(); // the mark is only needed for comparison
        if (after.is(before)) before.release();
        else this.changes.push({ before, after, otherwise });
      }
    });
    pendingChanges.set(
      model,
      made.catch(() => undefined),
    );
    return made;
  }

  /** Registers an undo action for state outside the model, such as a field of the model's owner. */
  besidesModel(undo: () => void): void {
    this.besides.push(undo);
  }

  /** Rolls back all changes after the call was rejected. */
  undo(): void {
    for (const undo of this.besides.splice(0).reverse()) undo();
    for (const { before, after, otherwise } of this.changes.splice(0).reverse()) {
      if (this.model.goBack(before, after)) continue;
      before.release();
      try {
        otherwise?.();
      } catch {
        // Report the rejection, not this follow-up error.
      }
    }
  }

  /** Frees the saved state when the first step begins. Changes can no longer be undone. */
  forget(): void {
    this.besides.length = 0;
    for (const { before } of this.changes.splice(0)) before.release();
  }
}

/** Runs a call, and restores its model if the call is rejected before the first step. */
export async function* preparing<Event, Result>(
  base: { readonly model: Model },
  run: (preparation: Preparation) => AsyncGenerator<Event, Result, void>,
): AsyncGenerator<Event, Result, void> {
  const preparation = new Preparation(base?.model); // `run` rejects an invalid base
  try {
    return yield* run(preparation);
  } catch (error) {
    preparation.undo(); // no effect after the first step
    throw error;
  } finally {
    preparation.forget();
  }
}
