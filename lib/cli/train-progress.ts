import type { EvalEvent, StepEvent, TrainEvent } from "../train/trainer.ts";

/** One live line on a terminal's stderr: step, share, loss, speed, time left. */
export class TrainProgress {
  private readonly stream: NodeJS.WriteStream;
  private readonly now: () => number;
  /** The first event: what came before it was loading and, of a resumed run, other runs' work. */
  private first: { step: number; at: number } | undefined;
  private shown = false;

  /** @param now milliseconds */
  constructor(stream: NodeJS.WriteStream = process.stderr, now: () => number = () => performance.now()) {
    this.stream = stream;
    this.now = now;
  }

  update(event: TrainEvent): void {
    if (!this.stream.isTTY) return;
    const { maxSteps } = event;
    const { first } = this;
    this.first ??= { step: event.step, at: this.now() };
    const share = event.step / maxSteps;
    const width = 24;
    const bar = "█".repeat(Math.round(share * width)).padEnd(width, "░");
    const rate = first && event.step > first.step ? (this.now() - first.at) / (event.step - first.step) : undefined;
    const left = rate === undefined ? "" : `  ${duration(((maxSteps - event.step) * rate) / 1000)} left`;
    const detail =
      "loss" in event
        ? [`loss ${event.loss.toFixed(4)}`, `${event.tokensPerSecond.toLocaleString("en")} tokens/s${left}`]
            .concat(event.skippedSteps > 0 ? `${event.skippedSteps} left out` : [], named(event.metrics))
            .join("  ")
        : evaluated(event);
    const line = `${bar} ${event.step}/${maxSteps}  ${detail}`;
    // A line that wraps would stay when the next one is written over it.
    this.stream.write(`\r\x1b[2K${"loss" in event ? line.slice(0, this.stream.columns - 1) : line}`);
    this.shown = true;
    if (!("loss" in event)) this.stream.write("\n");
  }

  end(): void {
    if (this.shown) this.stream.write("\n");
    this.shown = false;
  }
}

/** The figures of an evaluation on one line. */
export function evaluated({ evalLoss, tokens, metrics }: EvalEvent): string {
  const loss = evalLoss === undefined ? [] : [`held-out loss ${evalLoss.toFixed(4)} over ${tokens}`];
  return [...loss, ...named(metrics)].join(", ");
}

/** Metrics as `name value`. */
export function named(metrics: StepEvent["metrics"] = {}): string[] {
  return Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
}

function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
