import { HeddleError } from "../../core/errors.ts";
import type { Tensor } from "../../graph/index.ts";
import type { Metrics } from "../loop/stage.ts";
import type { EvalEvent } from "../loop/trainer.ts";
import type { CheckpointStore } from "./checkpoints.ts";

/** Options for finding the best evaluation, loading its weights, and early stopping. Names follow transformers' TrainingArguments. */
export interface BestOptions {
  /** End with the weights of the best evaluation instead of those of the last step. */
  loadBestModelAtEnd?: boolean | undefined;
  /** The metric to compare: evalLoss, or a metric of the evaluation. Default: evalLoss. */
  metricForBestModel?: string | undefined;
  /** Whether greater values of the metric are better. Default: false for names that end in "loss", otherwise true. */
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
  /** The best evaluation so far, and its value. Absent if no value was finite. */
  held?: EvalEvent;
  value?: number;
  /** The metric that was compared. Absent in older checkpoints. */
  metric?: string;
  /** Whether greater values of the metric are better. Absent in older checkpoints. */
  greater?: boolean;
  /** Number of evaluations since the last one that was better by the threshold. */
  stale: number;
}

/** An evaluation, and its value of the metric. */
interface Valued {
  held: EvalEvent;
  value: number;
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
  private found: Valued | undefined;
  private stale = 0;
  /** Whether an evaluation had the metric. */
  private isKnown = false;
  private hasWarned = false;
  private readonly warn: (message: string) => void;

  /** Creates the comparison. Returns undefined if the options need none: no best model to load, and no early stopping. */
  static of(
    options: BestOptions,
    weights: () => ReadonlyMap<string, Tensor>,
    warn: (message: string) => void,
  ): Best | undefined {
    const { loadBestModelAtEnd = false, earlyStoppingPatience } = options;
    return loadBestModelAtEnd || earlyStoppingPatience !== undefined ? new Best(options, weights, warn) : undefined;
  }

  private constructor(
    options: BestOptions,
    weights: () => ReadonlyMap<string, Tensor>,
    warn: (message: string) => void,
  ) {
    this.options = options;
    this.weights = weights;
    this.warn = warn;
    this.metric = options.metricForBestModel ?? DEFAULT_METRIC;
    this.greater = options.greaterIsBetter ?? !/loss$/i.test(this.metric);
  }

  /** Whether the run ends with the best weights. */
  get loads(): boolean {
    return this.options.loadBestModelAtEnd ?? false;
  }

  /** Whether early stopping has run out of patience. */
  get exhausted(): boolean {
    return this.stale >= (this.options.earlyStoppingPatience ?? Number.POSITIVE_INFINITY);
  }

  /** The best evaluation so far. Undefined if no value was finite. */
  get held(): EvalEvent | undefined {
    return this.found?.held;
  }

  /** State for a checkpoint. */
  get state(): BestState | undefined {
    if (!this.isKnown && this.stale === 0) return undefined;
    return { ...this.found, stale: this.stale, metric: this.metric, greater: this.greater };
  }

  /**
   * Restores the best evaluation that a resumed run has to beat. It is dropped if it was chosen by another metric, because its value is
   * then not comparable.
   * @returns whether it was dropped
   */
  resume(state: BestState | undefined): boolean {
    const { metric = this.metric, greater = this.greater } = state ?? {};
    const differs = metric !== this.metric || greater !== this.greater;
    if (differs || !state) return differs;
    const { held, value, stale } = state;
    this.found = held && value !== undefined ? { held, value } : undefined;
    this.stale = stale;
    this.isKnown = true;
    return false;
  }

  /**
   * Adds an evaluation to the comparison. A value that is not finite is not an improvement, and the first one gives a warning.
   * @param how.nothing whether the loss of this evaluation counted no tokens, so that metrics may be missing
   * @returns whether this evaluation is the best one so far
   * @throws HeddleError INVALID_ARGUMENT if the evaluation lacks the metric
   */
  add(held: EvalEvent, { nothing = false }: { nothing?: boolean } = {}): boolean {
    const value = this.valueOf(held, nothing);
    const before = this.found;
    if (value === undefined || !Number.isFinite(value)) {
      this.stale += 1;
      if (!this.hasWarned)
        this.warn(
          `metricForBestModel: expected a finite ${this.metric} at step ${held.step}, got ${value ?? "none"}; such an evaluation is no improvement`,
        );
      this.hasWarned = true;
      return false;
    }
    const gain = before ? (this.greater ? value - before.value : before.value - value) : Number.POSITIVE_INFINITY;
    this.stale = gain > (this.options.earlyStoppingThreshold ?? 0) ? 0 : this.stale + 1;
    if (gain > 0) this.found = { held: finite(held), value };
    return gain > 0;
  }

  /** Returns the value of the metric. It may be missing if an earlier evaluation had it, or if no token was counted. */
  private valueOf({ evalLoss, metrics }: EvalEvent, nothing: boolean): number | undefined {
    const values: Metrics = { ...metrics, ...(evalLoss !== undefined && { evalLoss }) };
    const name = this.metric;
    if (Object.hasOwn(values, name)) {
      this.isKnown = true;
      return values[name]!;
    }
    if (nothing || this.isKnown) return undefined;
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
