import { formatBytes } from "../../core/amounts.ts";
import type { PullProgress } from "../../hub/pull.ts";
import { timeLeft } from "./lifecycle-progress.ts";
import { oneLine } from "./output.ts";
import { WorkProgress } from "./work-progress.ts";

/** Milliseconds over which the speed is measured. */
const WINDOW = 5000;
/** Minimum number of milliseconds between two samples. */
const BETWEEN = 200;

/** Shows the progress of a pull in a live line: a bar, the bytes, the speed and the remaining time. */
export class PullBar {
  private readonly progress: WorkProgress;
  private readonly now: () => number;
  /** The number of loaded bytes at times within the window. */
  private samples: { at: number; loaded: number }[] = [];

  /** @param now returns the time in milliseconds */
  constructor(progress = new WorkProgress(), now: () => number = () => performance.now()) {
    this.progress = progress;
    this.now = now;
  }

  update({ loaded, total, file, isWaiting }: PullProgress): void {
    if (isWaiting) {
      this.progress.update("waiting for another pull of this model");
      return;
    }
    const at = this.now();
    if (at - (this.samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY) >= BETWEEN) this.samples.push({ at, loaded });
    while (this.samples.length > 2 && at - this.samples[0]!.at > WINDOW) this.samples.shift();
    const first = this.samples[0]!;
    // Show no speed in the first half second, in which the speed is mostly noise.
    const speed = at - first.at > 500 ? (1000 * (loaded - first.loaded)) / (at - first.at) : 0;
    const rate = speed > 0 ? [`${formatBytes(speed)}/s`, `${timeLeft((total - loaded) / speed)} left`] : [];
    const parts = [
      `${formatBytes(loaded)} of ${formatBytes(total)}`,
      ...rate,
      ...(file === undefined ? [] : [oneLine(file)]),
    ];
    this.progress.update(parts, loaded, total);
  }

  end(): void {
    this.progress.end();
  }
}
