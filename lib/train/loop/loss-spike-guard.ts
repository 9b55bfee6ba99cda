import { HeddleError } from "../../core/errors.ts";
import { mean } from "../../metrics/mean.ts";

/** Options for skipped steps and loss spikes. */
export interface LossSpikeGuardOptions {
  /** Skip a step if its loss or gradient is not finite. */
  skipNonFinite: boolean;
  /**
   * A loss is a spike if it exceeds the mean of recent losses by more than this number of standard deviations. Default:
   * 0, no detection.
   */
  lossSpikeThreshold?: number | undefined;
  /** Skip steps with a loss spike. */
  skipLossSpikes?: boolean | undefined;
  /** Number of consecutive skipped steps that ends the run. Default 10. */
  maxConsecutiveSkips?: number | undefined;
}

/** State in a checkpoint, so that a resumed run skips the same steps as an uninterrupted run. */
export interface LossSpikeGuardState {
  skippedSteps: number;
  lossSpikes: number;
  /** Current number of consecutive skipped steps. */
  inARow: number;
  /** Recent losses, for spike detection. */
  losses: number[];
}

/** Maximum number of recent losses for spike detection. */
const WINDOW = 100;
/** Minimum number of recent losses for spike detection. */
const LEAST = 20;
/** Minimum standard deviation in nats. Without a minimum, tiny changes would be spikes when losses hardly vary. */
const MIN_NATS = 0.02;
/** Minimum standard deviation as a share of the mean. */
const MIN_SHARE = 0.05;

/** Checks the loss of every step before the weights are updated. */
export class LossSpikeGuard {
  private readonly options: LossSpikeGuardOptions;
  private readonly warn: (message: string) => void;
  private skippedSteps = 0;
  private lossSpikes = 0;
  private inARow = 0;
  private losses: number[] = [];
  private readonly warned = new Set<string>();

  constructor(options: LossSpikeGuardOptions, warn: (message: string) => void) {
    this.options = options;
    this.warn = warn;
  }

  /** Counts for a step's event and the run's result: skipped steps, and loss spikes if detection is on. */
  get counts(): { skippedSteps: number; lossSpikes?: number } {
    const { skippedSteps, lossSpikes } = this;
    return { skippedSteps, ...(this.threshold > 0 && { lossSpikes }) };
  }

  /**
   * Decides before the update whether to skip a step.
   * @param whole the loss including the replay's
   * @returns whether to skip the step, so that its gradient is not used
   * @throws HeddleError NUMERICAL for a loss that is not finite, unless such steps are skipped; or after too many consecutive skipped
   *   steps
   */
  shouldSkip(step: number, loss: number, whole: number): boolean {
    if (!Number.isFinite(whole)) {
      this.skipIfAllowed(step, "loss", String(whole));
      return true;
    }
    const recent = this.spikeOf(loss);
    if (recent === undefined) return false;
    const { skipLossSpikes: skips } = this.options;
    if (skips) this.skip(step, `a loss of ${loss}, compared with ${recent}`);
    this.lossSpikes += 1;
    const how = skips ? "skipped (skipLossSpikes)" : "skipLossSpikes would skip it";
    this.warnOnce("lossSpikes", `step ${step}: a loss of ${loss} is a spike compared with ${recent}; ${how}`);
    return skips ?? false;
  }

  /** Records a step whose update was skipped, because its gradient was not finite. @throws HeddleError NUMERICAL as shouldSkip */
  recordSkip(step: number, gradNorm: number, whole: number): void {
    this.skipIfAllowed(step, "gradient norm", `${gradNorm} (loss ${whole})`);
  }

  /** Records a completed update. */
  recordUpdate(loss: number): void {
    this.inARow = 0;
    if (this.threshold > 0) this.losses = [...this.losses, loss].slice(-WINDOW);
  }

  /** State for a checkpoint. */
  get state(): LossSpikeGuardState {
    const { skippedSteps, lossSpikes, inARow, losses } = this;
    return { skippedSteps, lossSpikes, inARow, losses };
  }

  restore({ skippedSteps, lossSpikes, inARow, losses }: LossSpikeGuardState): void {
    Object.assign(this, { skippedSteps, lossSpikes, inARow, losses });
  }

  private get threshold(): number {
    return this.options.lossSpikeThreshold ?? 0;
  }

  /** Returns a description of the recent losses if the loss is a spike, otherwise undefined. */
  private spikeOf(loss: number): string | undefined {
    const { losses, threshold } = this;
    if (!(threshold > 0) || losses.length < LEAST) return undefined;
    const center = mean(losses);
    const scatter = Math.sqrt(mean(losses.map((one) => (one - center) ** 2)));
    const deviation = Math.max(scatter, MIN_NATS, MIN_SHARE * Math.abs(center));
    if (loss <= center + threshold * deviation) return undefined;
    return `the ${losses.length} losses before it (mean ${center.toPrecision(4)}, standard deviation ${scatter.toPrecision(2)})`;
  }

  private skipIfAllowed(step: number, what: string, got: string): void {
    if (!this.options.skipNonFinite)
      throw new HeddleError(
        "NUMERICAL",
        `step ${step}: expected a finite ${what}, got ${got}; a lower learningRate or maxGradNorm may help`,
      );
    this.skip(step, `a ${what} of ${got}`);
    this.warnOnce("skippedSteps", `step ${step}: expected a finite ${what}, got ${got}; skipped (skipNonFinite)`);
  }

  private skip(step: number, why: string): void {
    const { maxConsecutiveSkips: most = 10 } = this.options;
    const inARow = this.inARow + 1;
    if (inARow < most) {
      this.skippedSteps += 1;
      this.inARow = inARow;
      return;
    }
    // The step is not complete, so the checkpoint saved now contains only the steps before it.
    throw new HeddleError(
      "NUMERICAL",
      `step ${step}: expected fewer than ${most} skipped steps in a row (maxConsecutiveSkips), got ${inARow}, the last for ${why}; a lower learningRate or maxGradNorm may help`,
    );
  }

  /** Warns once for each kind. */
  private warnOnce(counted: "skippedSteps" | "lossSpikes", message: string): void {
    if (this.warned.has(counted)) return;
    this.warned.add(counted);
    this.warn(`${message}; further ones are counted in ${counted}`);
  }
}
