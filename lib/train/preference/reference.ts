import { createHash } from "node:crypto";
import { HeddleError } from "../../core/errors.ts";
import { type FloatDType, Tensor } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";
import type { Trainable } from "../loop/run-stage.ts";
import type { StageCall } from "../loop/start-stage.ts";
import type { BatchSource } from "../loop/trainer.ts";
import { type PreferenceItems, prepareWeights } from "./prepare.ts";
import { AnswerScorer } from "./scorer.ts";
import type { AnsweredPrompt } from "./sequences.ts";

/** Copies the named tensors of a model. Training does not change the copies. */
export async function copyWeights(model: Model, names: readonly string[]): Promise<Map<string, Tensor>> {
  const out = new Map<string, Tensor>();
  try {
    for (const name of names) {
      const { dtype, shape, device } = model.weight(name);
      out.set(name, await Tensor.fromOwn(device, dtype as FloatDType, shape, await model.weight(name).read()));
    }
  } catch (error) {
    for (const tensor of out.values()) tensor.dispose();
    throw error;
  }
  return out;
}

/** Returns a short hash that distinguishes numbers to the last bit. */
export function fingerprint(numbers: Iterable<number>): string {
  const bytes = Buffer.from(Float64Array.from(numbers).buffer);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

/** Describes how to score items: which answers they have, and how to add the reference's log-probabilities of these answers. */
interface ReferenceScores<Item, Scored> {
  /** Number of sequences that the reference scores at once. */
  sequences: number;
  /** Returns the answers of an item. */
  answers(item: Item): AnsweredPrompt[];
  scored(item: Item, logprobs: readonly number[]): Scored;
  /** Returns the log-probabilities that identify the reference. */
  identify(item: Scored): number[];
}

/** Scores items once, before the first step. The reference is `refModel`, or the model before its training. */
export async function scoredByReference<Item, Scored>(
  base: Trainable,
  { train, heldOut, sequenceLength }: PreferenceItems<Item>,
  options: Parameters<typeof prepareWeights>[1] & {
    dtype: FloatDType;
    fp8?: boolean | undefined;
    refModel?: Trainable | undefined;
  },
  { signal, preparation }: StageCall,
  { sequences, answers, scored, identify }: ReferenceScores<Item, Scored>,
): Promise<PreferenceItems<Scored>> {
  await preparation.change(() => prepareWeights(base.model, options));
  const { refModel, dtype, fp8 } = options;
  const scorer = new AnswerScorer(refModel?.model ?? base.model, { sequences, sequenceLength, dtype, fp8 });
  const score = async (items: readonly Item[]): Promise<Scored[]> => {
    const lists = items.map(answers);
    const sums = await scorer.sums(lists.flat(), signal);
    let next = 0;
    return items.map((item, i) => {
      const first = next;
      next += lists[i]!.length;
      return scored(item, sums.slice(first, next));
    });
  };
  try {
    const known = await score(train);
    return {
      train: known,
      heldOut: await score(heldOut),
      sequenceLength,
      reference: fingerprint(known.flatMap(identify)),
    };
  } finally {
    scorer.dispose();
  }
}

/** Checks that a resumed run has the same reference. @throws HeddleError INVALID_ARGUMENT */
export function needSameReference(before: unknown, now: string, what = "the reference differs"): void {
  if (before === now) return;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `resume: ${what} from that of the resumed run: expected fingerprint ${before}, got ${now}; pass the original model, not the one trained since, and the dtype of that run`,
  );
}

/**
 * Adds the fingerprint of the reference to a source's position. A run resumed with another reference would otherwise silently learn from
 * inconsistent numbers.
 */
export function withReference<Batch>(source: BatchSource<Batch>, reference: string): BatchSource<Batch> {
  return {
    next: (signal) => source.next(signal),
    state: () => ({ reference, inner: source.state() }),
    restore(state) {
      const { reference: before, inner } = (state ?? {}) as { reference?: unknown; inner?: unknown };
      needSameReference(before, reference, "the reference or the data differ");
      source.restore(inner);
    },
    evaluation: source.evaluation,
    prefetch: source.prefetch,
    dispose: () => source.dispose(),
  };
}
