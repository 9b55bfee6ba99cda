import { HeddleError } from "../../core/errors.ts";

/** Which steps a run leaves out, and what it tells of them. */
export interface StepWatchOptions {
  /** Leave a step out when its loss, or its gradient, is not finite. */
  skipNonFinite: boolean;
  /** A loss so many standard deviations above the mean of the last ones is a spike. 0, and where not given: none is looked for. */
  lossSpikeThreshold?: number | undefined;
  /** Leave such a step out. */
  skipLossSpikes?: boolean | undefined;
  /** So many steps in a row that are left out end the run. Default 10. */
  maxConsecutiveSkips?: number | undefined;
}

/** What a checkpoint keeps of it: a resumed run leaves out the steps that one in a piece does. */
export interface StepWatchState {
  skippedSteps: number;
  lossSpikes: number;
  /** Steps left out in a row, up to now. */
  inARow: number;
  /** Of the last steps, that spikes are told by. */
  losses: number[];
}

/** Losses that a spike is told by: a hundred say how they scatter, twenty are enough to begin with. */
const WINDOW = 100;
const LEAST = 20;
/** The least standard deviation: of losses that hardly scatter at all every other one would be a spike. In nats, and as a share of the mean. */
const LEAST_NATS = 0.02;
const LEAST_SHARE = 0.05;

/** Looks at the loss of every step before it changes the weights. */
export class StepWatch {
  private readonly options: StepWatchOptions;
  private readonly warn: (message: string) => void;
  private skippedSteps = 0;
  private lossSpikes = 0;
  private inARow = 0;
  private losses: number[] = [];
  private readonly told = new Set<string>();

  constructor(options: StepWatchOptions, warn: (message: string) => void) {
    this.options = options;
    this.warn = warn;
  }

  /** For a step's event and the run's result: steps up to now that were left out, and that were spikes, where these are looked for. */
  get counts(): { skippedSteps: number; lossSpikes?: number } {
    const { skippedSteps, lossSpikes } = this;
    return { skippedSteps, ...(this.threshold > 0 && { lossSpikes }) };
  }

  /**
   * Before the update. @param whole the loss with what a replay adds
   * @returns whether the step is left out: its gradient is not to be used
   * @throws HeddleError NUMERICAL for a loss that is not finite, unless such steps are left out; where too many in a row were
   */
  leavesOut(step: number, loss: number, whole: number): boolean {
    if (!Number.isFinite(whole)) {
      this.leaveOutNonFinite(step, "loss", String(whole));
      return true;
    }
    const beside = this.spikeOf(loss);
    if (beside === undefined) return false;
    const { skipLossSpikes: skips } = this.options;
    if (skips) this.skip(step, `a loss of ${loss} beside ${beside}`);
    this.lossSpikes += 1;
    const how = skips ? "left out (skipLossSpikes)" : "skipLossSpikes would leave it out";
    this.tell("lossSpikes", `step ${step}: a loss of ${loss} is a spike beside ${beside}; ${how}`);
    return skips ?? false;
  }

  /** After an update that left the weights as they were, as its gradient was not finite. @throws HeddleError NUMERICAL as leavesOut */
  leaveOut(step: number, gradNorm: number, whole: number): void {
    this.leaveOutNonFinite(step, "gradient norm", `${gradNorm} (loss ${whole})`);
  }

  /** After an update. */
  taken(loss: number): void {
    this.inARow = 0;
    if (this.threshold > 0) this.losses = [...this.losses, loss].slice(-WINDOW);
  }

  /** For a checkpoint. */
  get state(): StepWatchState {
    const { skippedSteps, lossSpikes, inARow, losses } = this;
    return { skippedSteps, lossSpikes, inARow, losses };
  }

  restore({ skippedSteps, lossSpikes, inARow, losses }: StepWatchState): void {
    Object.assign(this, { skippedSteps, lossSpikes, inARow, losses });
  }

  private get threshold(): number {
    return this.options.lossSpikeThreshold ?? 0;
  }

  /** What a loss is a spike beside; undefined where it is none. */
  private spikeOf(loss: number): string | undefined {
    const { losses, threshold } = this;
    if (!(threshold > 0) || losses.length < LEAST) return undefined;
    const mean = losses.reduce((sum, one) => sum + one, 0) / losses.length;
    const scatter = Math.sqrt(losses.reduce((sum, one) => sum + (one - mean) ** 2, 0) / losses.length);
    const deviation = Math.max(scatter, LEAST_NATS, LEAST_SHARE * Math.abs(mean));
    if (loss <= mean + threshold * deviation) return undefined;
    return `the ${losses.length} before it, whose mean is ${mean.toPrecision(4)} and standard deviation ${scatter.toPrecision(2)}`;
  }

  private leaveOutNonFinite(step: number, what: string, got: string): void {
    if (!this.options.skipNonFinite)
      throw new HeddleError(
        "NUMERICAL",
        `step ${step}: expected a finite ${what}, got ${got}; a lower learningRate or maxGradNorm may help`,
      );
    this.skip(step, `a ${what} of ${got}`);
    this.tell("skippedSteps", `step ${step}: expected a finite ${what}, got ${got}; left out (skipNonFinite)`);
  }

  private skip(step: number, why: string): void {
    const { maxConsecutiveSkips: most = 10 } = this.options;
    const inARow = this.inARow + 1;
    if (inARow < most) {
      this.skippedSteps += 1;
      this.inARow = inARow;
      return;
    }
    // The step is not complete: the checkpoint that is saved now is of those before it.
    throw new HeddleError(
      "NUMERICAL",
      `step ${step}: expected fewer than ${most} steps in a row to be left out (maxConsecutiveSkips), got ${inARow}, the last for ${why}; a lower learningRate or maxGradNorm may help`,
    );
  }

  /** Once of each kind. */
  private tell(counted: "skippedSteps" | "lossSpikes", message: string): void {
    if (this.told.has(counted)) return;
    this.told.add(counted);
    this.warn(`${message}; further ones are counted in ${counted}`);
  }
}
