import type { LifecycleEvent } from "../../lifecycle/types.ts";
import { canRewriteLines, LiveLine } from "./live-line.ts";

/** Width of the bar in columns. */
const WIDTH = 20;
/** Number of steps per printed line if stderr is not a terminal. */
const EVERY = 20;

/** Shows the progress of `heddle lifecycle` on stderr: a live line on a terminal, or else a line every few steps. */
export class LifecycleProgress extends LiveLine {
  update(event: LifecycleEvent): void {
    const live = canRewriteLines(this.stream);
    if (event.type === "step" && !live && event.step % EVERY !== 0 && event.step !== event.maxSteps) return;
    const parts = partsOf(event);
    if (live && event.type !== "done") this.show(parts);
    else this.print([parts.join("  ")]);
  }
}

/** Returns the parts of a line, most important first. */
function partsOf(event: LifecycleEvent): string[] {
  const { stage } = event;
  const left = event.secondsLeft === undefined ? [] : [`${timeLeft(event.secondsLeft)} left`];
  const name = stage.padEnd(9);
  if (event.type === "stage") return [[name, ...left].join(" ").trimEnd()];
  if (event.type === "evaluation") return [`${name} ${["measuring on held-out data", ...left].join(", ")}`];
  if (event.type === "done") {
    const { before, after } = event.result.metrics;
    const changes = Object.entries(after).map(([metric, value]) => {
      const from = before[metric as keyof typeof before];
      return `${metric} ${from === undefined ? "" : `${from.toFixed(3)} → `}${value.toFixed(3)}`;
    });
    return [`${name} ${event.result.seconds.toFixed(0)} s: ${changes.join(", ")}`];
  }
  const { step, maxSteps, loss, tokensPerSecond } = event;
  const done = Math.round((WIDTH * step) / maxSteps);
  const bar = "█".repeat(done) + "░".repeat(WIDTH - done);
  return [`${name} ${bar} ${step}/${maxSteps}`, `loss ${loss.toFixed(3)}`, `${tokensPerSecond} tokens/s`, ...left];
}

/** Formats seconds as 12:05, or 1:02:05. */
export function timeLeft(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}
