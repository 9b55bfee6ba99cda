import type { Plan } from "./plan.ts";
import { type StageName, stageNames } from "./types.ts";

/** Estimates the time left: the plan's seconds of what is to come, times how this machine compares with the plan so far. */
export class Clock {
  private readonly plan: Plan;
  private readonly finished = new Set<StageName>();
  /** Of the work of this run: what the plan says it takes, and what it took. */
  private planned = 0;
  private taken = 0;
  private current: { stage: StageName; since: number; from: number | undefined } | undefined;

  constructor(plan: Plan) {
    this.plan = plan;
  }

  /** A stage that an earlier run has done. */
  skip(stage: StageName): void {
    this.finished.add(stage);
  }

  start(stage: StageName): void {
    this.current = { stage, since: performance.now(), from: undefined };
  }

  end(stage: StageName): void {
    this.planned += this.plan.stages[stage].seconds * (1 - (this.current?.from ?? 0));
    this.taken += this.spent();
    this.finished.add(stage);
    this.current = undefined;
  }

  /** @param done share of the running stage; what is done when first asked was done by an earlier run */
  secondsLeft(done = 0): number {
    const { stages } = this.plan;
    let left = 0;
    let planned = this.planned;
    for (const stage of stageNames) if (!this.finished.has(stage)) left += stages[stage].seconds;
    if (this.current) {
      this.current.from ??= done;
      left -= stages[this.current.stage].seconds * done;
      planned += stages[this.current.stage].seconds * (done - this.current.from);
    }
    // A few seconds say nothing yet of the machine.
    const pace = planned > 5 ? (this.taken + this.spent()) / planned : 1;
    return Math.max(0, Math.round(left * pace));
  }

  private spent(): number {
    return this.current ? (performance.now() - this.current.since) / 1000 : 0;
  }
}
