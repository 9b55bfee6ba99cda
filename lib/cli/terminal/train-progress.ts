import type { EvalEvent, StepEvent, TrainEvent } from "../../train/loop/trainer.ts";
import { timeLeft } from "./lifecycle-progress.ts";
import { canRewriteLines, LiveLine } from "./live-line.ts";

/** Shows progress in a live line on a terminal's stderr: step, share, loss, speed, remaining time. */
export class TrainProgress extends LiveLine {
  private readonly now: () => number;
  /**
   * The step and time of the first event, from which the rate is measured. Earlier time was spent on loading. Earlier steps belong to the run
   * that this one resumes.
   */
  private first: { step: number; at: number } | undefined;

  /** @param now returns the time in milliseconds */
  constructor(stream?: NodeJS.WriteStream, now: () => number = () => performance.now()) {
    super(stream);
    this.now = now;
  }

  update(event: TrainEvent, unit: LossUnit): void {
    if (!canRewriteLines(this.stream)) return;
    const { maxSteps } = event;
    const { first } = this;
    this.first ??= { step: event.step, at: this.now() };
    const share = event.step / maxSteps;
    const width = 24;
    const bar = "█".repeat(Math.round(share * width)).padEnd(width, "░");
    const rate = first && event.step > first.step ? (this.now() - first.at) / (event.step - first.step) : undefined;
    const left = rate === undefined ? [] : [`${timeLeft(((maxSteps - event.step) * rate) / 1000)} left`];
    const place = `${bar} ${event.step}/${maxSteps}`;
    if (!("loss" in event)) {
      this.print([`${place}  ${evaluated(event, unit)}`]);
      return;
    }
    const speed = `${event.tokensPerSecond.toLocaleString("en")} tokens/s`;
    const skipped = event.skippedSteps > 0 ? [`${event.skippedSteps} skipped`] : [];
    this.show([place, `loss ${event.loss.toFixed(4)}`, speed, ...left, ...skipped, ...named(event.metrics)]);
  }
}

/** How to print a stage's loss. */
export interface LossUnit {
  /** The text after the loss, such as " nats per token". */
  loss: string;
  /** The items over which the loss is averaged, such as "tokens". */
  counted: string;
}

/** Formats the results of an evaluation on one line. */
export function evaluated({ evalLoss, tokens, metrics }: EvalEvent, { loss: unit, counted }: LossUnit): string {
  // A count of one takes the singular: "1 token of answers".
  const over = `${tokens.toLocaleString("en")} ${tokens === 1 ? counted.replace(/s( |$)/, "$1") : counted}`;
  const loss = evalLoss === undefined ? [] : [`held-out loss ${evalLoss.toFixed(4)}${unit} over ${over}`];
  return [...loss, ...named(metrics)].join(", ");
}

/** Formats metrics as `name value`. */
export function named(metrics: StepEvent["metrics"] = {}): string[] {
  return Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
}
