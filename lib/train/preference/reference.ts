import { createHash } from "node:crypto";
import { HeddleError } from "../../core/errors.ts";
import { type FloatDType, Tensor } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";
import type { BatchSource } from "../loop/trainer.ts";

/** Copies the named tensors of a model, so that training does not change them. */
export async function snapshot(model: Model, names: readonly string[]): Promise<Map<string, Tensor>> {
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

/** A short hash that distinguishes numbers to the last bit. */
export function fingerprint(numbers: Iterable<number>): string {
  const bytes = Buffer.from(Float64Array.from(numbers).buffer);
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

/** @throws HeddleError INVALID_ARGUMENT */
export function needSameReference(before: unknown, now: string, expected = "the reference", got = "another"): void {
  if (before === now) return;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `resume: expected ${expected} that the run began with (fingerprint ${before}), got ${got} (${now}); give the model that was given then, not the one that was trained since`,
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
      needSameReference(before, reference, "the reference and the data", "others");
      source.restore(inner);
    },
    evaluation: source.evaluation,
    prefetch: source.prefetch,
    dispose: () => source.dispose(),
  };
}
