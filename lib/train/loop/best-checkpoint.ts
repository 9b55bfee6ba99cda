import { HeddleError } from "../../core/errors.ts";
import type { Tensor } from "../../graph/index.ts";
import type { CheckpointStore } from "./checkpoints.ts";
import type { Metrics } from "./stage.ts";
import type { EvalEvent } from "./trainer.ts";

/** Which evaluation is the best one, and what follows from it; names as in transformers' TrainingArguments. */
export interface BestOptions {
  /** End with the weights of the best evaluation instead of those of the last step. */
  loadBestModelAtEnd?: boolean | undefined;
  /** What is compared: evalLoss, or a metric of the evaluation. Default: evalLoss. */
  metricForBestModel?: string | undefined;
  /** Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter?: boolean | undefined;
  /** Stop after so many evaluations in a row that are not better than the best one before them. */
  earlyStoppingPatience?: number | undefined;
  /** How much better than the best one an evaluation must be to start that count anew. Default 0: better at all. */
  earlyStoppingThreshold?: number | undefined;
}

/** What a checkpoint keeps of the comparison. */
export interface BestState {
  /** The best evaluation so far. */
  held: EvalEvent;
  value: number;
  /** What was compared, and whether a greater one is better. Absent in older checkpoints. */
  metric?: string;
  greater?: boolean;
  /** Evaluations since the last one that was better by the threshold. */
  stale: number;
}

const DEFAULT_METRIC = "evalLoss";

/** Compares evaluations, and brings back the weights of the best one. With a store these lie in its checkpoint, otherwise in memory. */
export class Best {
  private readonly options: BestOptions;
  private readonly metric: string;
  private readonly greater: boolean;
  private readonly weights: () => ReadonlyMap<string, Tensor>;
  private copies: Map<string, Float32Array> | undefined;
  private found: BestState | undefined;

  /** Undefined where the options ask for neither. */
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

  /** Whether too many evaluations have passed without a better one. */
  get exhausted(): boolean {
    return (this.found?.stale ?? 0) >= (this.options.earlyStoppingPatience ?? Number.POSITIVE_INFINITY);
  }

  /** For a checkpoint. */
  get state(): BestState | undefined {
    return this.found && { ...this.found, metric: this.metric, greater: this.greater };
  }

  /**
   * What a resumed run has to beat.
   * @returns whether it was chosen by another metric than this run's: its value says nothing beside those that follow, and it is forgotten
   */
  resume(state: BestState | undefined): boolean {
    const { metric = this.metric, greater = this.greater } = state ?? {};
    const differs = metric !== this.metric || greater !== this.greater;
    this.found = differs ? undefined : state;
    return differs;
  }

  /**
   * @param how.nothing the held-out data counted nothing this time, and says nothing
   * @returns whether this evaluation is the best one so far
   * @throws HeddleError INVALID_ARGUMENT where it has no such metric; a value that is not finite is never the best
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

  /** NaN for an evaluation without the metric, where another has had it or this one counted nothing. */
  private valueOf({ evalLoss, metrics }: EvalEvent, nothing: boolean): number {
    const values: Metrics = { ...metrics, ...(evalLoss !== undefined && { evalLoss }) };
    const name = this.metric;
    if (Object.hasOwn(values, name)) return values[name]!;
    if (nothing || this.found) return Number.NaN;
    const known = Object.keys(values).join(", ");
    throw new HeddleError("INVALID_ARGUMENT", `metricForBestModel: expected one of ${known || "none"}, got ${name}`);
  }

  /** Keeps the weights as they are now: for a run without a store. */
  async copy(): Promise<void> {
    const copies = new Map<string, Float32Array>();
    for (const [name, tensor] of this.weights()) copies.set(name, await tensor.toFloat32());
    this.copies = copies;
  }

  /** Sets what is trained to the weights of the best evaluation. @returns that evaluation; undefined where none was finite */
  async restore(store: CheckpointStore | undefined): Promise<EvalEvent | undefined> {
    if (!this.found) return undefined;
    const { held } = this.found;
    if (store) await store.restoreWeights(held.step);
    else for (const [name, tensor] of this.weights()) await tensor.writeOwn(this.copies!.get(name)!);
    return held;
  }
}

/** Without figures that JSON cannot hold: a resumed run tells what one in a piece does. */
function finite({ evalLoss, metrics, ...at }: EvalEvent): EvalEvent {
  const own = metrics && Object.fromEntries(Object.entries(metrics).filter(([, v]) => Number.isFinite(v)));
  return { ...at, ...(Number.isFinite(evalLoss) && { evalLoss }), ...(own && { metrics: own }) };
}
