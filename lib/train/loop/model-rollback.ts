import type { Model, ModelMark } from "../../models/model.ts";

/** One change of a model at a time: what a change has made is then known to be its own. */
const underWay = new WeakMap<Model, Promise<unknown>>();

interface Change {
  before: ModelMark;
  after: ModelMark;
  /** Takes it back where others have changed the model since. */
  otherwise?: (() => void) | undefined;
}

/**
 * What a call does to its model before its first step: heads, adapters, merged or widened weights. A call that is refused takes it back, as
 * far as nobody else has changed the model since; one that begins lets go of how the model was, which takes memory until then.
 */
export class Preparation {
  private readonly model: Model;
  private readonly changes: Change[] = [];
  private readonly besides: (() => void)[] = [];

  constructor(model: Model) {
    this.model = model;
  }

  /** Makes a change. @param otherwise takes it back alone, where others have changed the model since */
  async change<T>(make: () => Promise<T> | T, otherwise?: () => void): Promise<T> {
    const { model } = this;
    const made = (underWay.get(model) ?? Promise.resolve()).then(async () => {
      model.assertLive();
      const before = model.mark();
      try {
        return await make();
      } finally {
        const after = model.mark();
        after.release(); // to be told by alone
        if (after.is(before)) before.release();
        else this.changes.push({ before, after, otherwise });
      }
    });
    underWay.set(
      model,
      made.catch(() => undefined),
    );
    return made;
  }

  /** What else is taken back, such as a field of what holds the model. */
  besidesModel(undo: () => void): void {
    this.besides.push(undo);
  }

  /** The call was refused. */
  undo(): void {
    for (const undo of this.besides.splice(0).reverse()) undo();
    for (const { before, after, otherwise } of this.changes.splice(0).reverse()) {
      if (this.model.goBack(before, after)) continue;
      before.release();
      try {
        otherwise?.();
      } catch {
        // The refusal is told, and not what came of the model since.
      }
    }
  }

  /** The first step is due: nothing is taken back any more. */
  forget(): void {
    this.besides.length = 0;
    for (const { before } of this.changes.splice(0)) before.release();
  }
}

/** Runs a call; where it is refused before its first step, its model is as it was. */
export async function* preparing<Event, Result>(
  base: { readonly model: Model },
  run: (preparation: Preparation) => AsyncGenerator<Event, Result, void>,
): AsyncGenerator<Event, Result, void> {
  const preparation = new Preparation(base?.model); // a base that is none is refused by whoever reads it
  try {
    return yield* run(preparation);
  } catch (error) {
    preparation.undo(); // nothing, once it has begun
    throw error;
  } finally {
    preparation.forget();
  }
}
