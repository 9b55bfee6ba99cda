import type { Plan } from "./plan.ts";
import { type StageName, stageNames } from "./types.ts";

/** Minimum seconds and steps for an estimate. The first step is not counted, because it also compiles programs and allocates memory. */
const ENOUGH = { seconds: 2, steps: 3 };

/** The running stage. `at` is a time in milliseconds, and `share` the share of the stage's steps that were done then. */
interface Running {
  stage: StageName;
  /** The first reported step. Before it, the stage was loading, and earlier steps may belong to an earlier run. */
  first?: { at: number; share: number };
  /** The last reported step. */
  last?: { at: number; share: number };
  steps: number;
}

/**
 * Estimates the remaining time from completed steps. The rest of the running stage is estimated by its measured pace, and later stages by the
 * plan's seconds, scaled by this machine's speed. Tokenizer training is ignored, because it does not reflect the speed of steps.
 */
export class RemainingTime {
  private readonly plan: Plan;
  private readonly now: () => number;
  private readonly finished = new Set<StageName>();
  /** Planned seconds of the work that this run has finished. */
  private planned = 0;
  /** Actual seconds of the work that this run has finished. */
  private taken = 0;
  private running: Running | undefined;

  /** @param now returns the time in milliseconds */
  constructor(plan: Plan, now: () => number = () => performance.now()) {
    this.plan = plan;
    this.now = now;
  }

  /** Excludes a stage from the estimate, because an earlier run has finished it or this run leaves it out. */
  skip(stage: StageName): void {
    this.finished.add(stage);
  }

  start(stage: StageName): void {
    this.running = { stage, steps: 0 };
  }

  /** Records a step. @param share the share of the running stage's steps that are done, including this step */
  step(share: number): void {
    const { running } = this;
    if (!running) return;
    const point = { at: this.now(), share };
    running.first ??= point;
    running.last = point;
    running.steps += 1;
  }

  end(stage: StageName): void {
    const { first } = this.running ?? {};
    if (first && first.share < 1) {
      this.planned += this.plan.stages[stage].seconds * (1 - first.share);
      this.taken += (this.now() - first.at) / 1000;
    }
    this.finished.add(stage);
    this.running = undefined;
  }

  /** Returns the estimate, or undefined before there are enough steps. */
  secondsLeft(): number | undefined {
    const { stages } = this.plan;
    const whole = this.wholeStage();
    const { stage, last } = this.running ?? {};
    const ahead = stageNames.filter((name) => !this.finished.has(name) && name !== stage);
    const aheadSeconds = ahead.reduce((sum, name) => sum + stages[name].seconds, 0);
    const planned = this.planned + (whole === undefined ? 0 : stages[stage!].seconds * (last!.share - whole.from));
    if (planned === 0) return ahead.length === 0 && !stage ? 0 : undefined;
    const pace = (this.taken + (whole?.spent ?? 0)) / planned;
    const own = stage ? (whole?.seconds ?? stages[stage].seconds * pace) * (1 - (last?.share ?? 0)) : 0;
    return Math.max(0, Math.round(own + aheadSeconds * pace));
  }

  /**
   * Returns the estimated seconds of all steps of the running stage (`seconds`), or undefined before there are enough steps.
   * The estimate is based on the seconds since the first reported step (`spent`), when the share `from` of the steps was done.
   */
  private wholeStage(): { seconds: number; from: number; spent: number } | undefined {
    const { first, last, steps } = this.running ?? { steps: 0 };
    if (!first || !last || steps <= ENOUGH.steps) return undefined;
    const spent = (last.at - first.at) / 1000;
    if (spent < ENOUGH.seconds || last.share <= first.share) return undefined;
    return { seconds: spent / (last.share - first.share), from: first.share, spent };
  }
}
