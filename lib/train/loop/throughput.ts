import { type MeanSums, MetricMeans } from "./metric-mean.ts";
import { type Metrics, type Stage, someOf } from "./stage.ts";
import type { Accumulated } from "./step.ts";

/** Sums since the last report, for JSON, exact to the last bit. */
export interface MeterState {
  losses: number;
  steps: number;
  skipped: number;
  means: MeanSums;
}

/** Mean loss, metrics and speed since the last report. */
export class Meter {
  private losses = 0;
  private means = new MetricMeans();
  private steps = 0;
  private skipped = 0;
  private tokens = 0;
  private since = performance.now();

  private readonly stage: Stage<never>;

  constructor(stage: Stage<never>) {
    this.stage = stage;
  }

  /** Adds a step. A step skipped for a non-finite loss contributes only its tokens. */
  add({ loss, tokens, metrics, metricCounts }: Accumulated): void {
    this.steps += 1;
    this.tokens += tokens;
    if (!Number.isFinite(loss)) {
      this.skipped += 1;
      return;
    }
    this.losses += loss;
    this.means.add(metrics, 1, metricCounts);
  }

  /** Returns the means since the last report, and begins the next report. */
  take(): { loss: number; tokensPerSecond: number; metrics?: Metrics } {
    const seconds = (performance.now() - this.since) / 1000;
    const result = {
      loss: this.losses / (this.steps - this.skipped),
      tokensPerSecond: Math.round(this.tokens / Math.max(seconds, 1e-9)),
      ...someOf(this.means.of(this.stage)),
    };
    this.losses = this.steps = this.skipped = this.tokens = 0;
    this.means = new MetricMeans();
    this.since = performance.now();
    return result;
  }

  /** Excludes time that was not training. Has an effect only directly after a report. */
  restart(): void {
    if (this.steps === 0) this.since = performance.now();
  }

  /** Sums for a checkpoint between two reports; undefined without a step since the last report. */
  get state(): MeterState | undefined {
    const { losses, steps, skipped, means } = this;
    return steps === 0 ? undefined : { losses, steps, skipped, means: means.sums };
  }

  /** Restores the sums of a checkpoint. Time and tokens are not restored, because they belong to another process. */
  restore({ losses, steps, skipped, means }: MeterState): void {
    Object.assign(this, { losses, steps, skipped });
    this.means = MetricMeans.from(means);
  }
}
