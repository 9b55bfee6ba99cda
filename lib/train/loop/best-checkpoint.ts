import { HeddleError } from "../../core/errors.ts";
import type { Tensor } from "../../graph/index.ts";
import type { CheckpointStore } from "./checkpoints.ts";
import type { Metrics } from "./stage.ts";
import type { EvalEvent } from "./trainer.ts";

/** Options for finding the best evaluation, loading its weights, and early stopping. Names follow transformers' TrainingArguments. */
export interface BestOptions {
  /** End with the weights of the best evaluation instead of those of the last step. */
  loadBestModelAtEnd?: boolean | undefined;
  /** The metric to compare: evalLoss, or a metric of the evaluation. Default: evalLoss. */
  metricForBestModel?: string | undefined;
  /** Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter?: boolean | undefined;
  /** Stop after this number of consecutive evaluations that are not better than the best one before them. */
  earlyStoppingPatience?: number | undefined;
  /**
   * An evaluation restarts the count of earlyStoppingPatience if it improves on the best one by more than this. Default
   * 0: any improvement.
   */
  earlyStoppingThreshold?: number | undefined;
}

/** The state of the comparison in a checkpoint. */
export interface BestState {
  /** The best evaluation so far. */
  held: EvalEvent;
  value: number;
  /** The metric that was compared. Absent in older checkpoints. */
  metric?: string;
  /** Whether greater values of the metric are better. Absent in older checkpoints. */
  greater?: boolean;
  /** Number of evaluations since the last one that was better by the threshold. */
  stale: number;
}

const DEFAULT_METRIC = "evalLoss";

/**
 * Compares evaluations, and restores the weights of the best one. With a store, these weights are in its checkpoint,
 * otherwise in memory.
 */
export class Best {
  private readonly options: BestOptions;
  private readonly metric: string;
  private readonly greater: boolean;
  private readonly weights: () => ReadonlyMap<string, Tensor>;
  private copies: Map<string, Float32Array> | undefined;
  private found: BestState | undefined;

  /** Creates the comparison. Returns undefined if the options need none: no best model to load, and no early stopping. */
  static of(options: BestOptions, weights: () => ReadonlyMap<string, Tensor>): Best | undefined {
    const { loadBestModelAtEnd = false, earlyStoppingPatience } = options;
    return loadBestModelAtEnd || earlyStoppingPatience !== undefined ? new Best(options, weights) : undefined;
  }

  private constructor(options: BestOptions, weights: () => ReadonlyMap<string, Tensor>) {
    this.options = options;
    this.weights = weights;
    this.metric = options.metricForBestModel ?? DEFAULT_METRIC;
    this.greater = options.greaterIsBetter ?? !/loss$/i.test(this.metric);
  }

  /** Whether the run ends with the best weights. */
  get loads(): boolean {
    return this.options.loadBestModelAtEnd ?? false;
  }

  /** Whether early stopping has run out of patience. */
  get exhausted(): boolean {
    return (this.found?.stale ?? 0) >= (this.options.earlyStoppingPatience ?? Number.POSITIVE_INFINITY);
  }

  /** State for a checkpoint. */
  get state(): BestState | undefined {
    return this.found && { ...this.found, metric: this.metric, greater: this.greater };
  }

  /**
   * Restores the best evaluation that a resumed run has to beat. It is dropped if it was chosen by another metric, because its value is
   * then not comparable.
   * @returns whether it was dropped
   */
  resume(state: BestState | undefined): boolean {
    const { metric = this.metric, greater = this.greater } = state ?? {};
    const differs = metric !== this.metric || greater !== this.greater;
    this.found = differs ? undefined : state;
    return differs;
  }

  /**
   * Adds an evaluation to the comparison.
   * @param how.nothing whether the loss of this evaluation counted no tokens, so that metrics may be missing
   * @returns whether this evaluation is the best one so far
   * @throws HeddleError INVALID_ARGUMENT if the evaluation lacks the metric. A value that is not finite is never the
   * best.
   */
  add(held: EvalEvent, { nothing = false }: { nothing?: boolean } = {}): boolean {
    const value = this.valueOf(held, nothing);
    const before = this.found;
    if (!Number.isFinite(value)) {
      if (before) this.found = { ...before, stale: before.stale + 1 };
      return false;
    }
    if (!before) {
      this.found = { held: finite(held), value, stale: 0 };
      return true;
    }
    const gain = this.greater ? value - before.value : before.value - value;
    const stale = gain > (this.options.earlyStoppingThreshold ?? 0) ? 0 : before.stale + 1;
    this.found = gain > 0 ? { held: finite(held), value, stale } : { ...before, stale };
    return gain > 0;
  }

  /** Returns the value of the metric. If it is missing, returns NaN if an earlier evaluation had it, or if no token was counted. */
  private valueOf({ evalLoss, metrics }: EvalEvent, nothing: boolean): number {
    const values: Metrics = { ...metrics, ...(evalLoss !== undefined && { evalLoss }) };
    const name = this.metric;
    if (Object.hasOwn(values, name)) return values[name]!;
    if (nothing || this.found) return Number.NaN;
    const known = Object.keys(values).join(", ");
    throw new HeddleError("INVALID_ARGUMENT", `metricForBestModel: expected one of ${known || "none"}, got ${name}`);
  }

  /** Keeps a copy of the current weights, for a run without a store. */
  async copy(): Promise<void> {
    const copies = new Map<string, Float32Array>();
    for (const [name, tensor] of this.weights()) copies.set(name, await tensor.toFloat32());
    this.copies = copies;
  }

  /** Sets the trained weights to those of the best evaluation. @returns that evaluation; undefined if none was finite */
  async restore(store: CheckpointStore | undefined): Promise<EvalEvent | undefined> {
    if (!this.found) return undefined;
    const { held } = this.found;
    if (store) await store.restoreWeights(held.step);
    else for (const [name, tensor] of this.weights()) await tensor.writeOwn(this.copies!.get(name)!);
    return held;
  }
}

/** Removes values that JSON cannot represent, so that a resumed run reports the same as an uninterrupted run. */
function finite({ evalLoss, metrics, ...at }: EvalEvent): EvalEvent {
  const own = metrics && Object.fromEntries(Object.entries(metrics).filter(([, v]) => Number.isFinite(v)));
  return { ...at, ...(Number.isFinite(evalLoss) && { evalLoss }), ...(own && { metrics: own }) };
}
