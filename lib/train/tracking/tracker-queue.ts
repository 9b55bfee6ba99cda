import { reasonOf } from "../../core/errors.ts";
import { withTimeLimit } from "../../core/time-limit.ts";
import type { Tracker } from "./tracker.ts";

/** Maximum number of calls that wait for a slow tracker. Further ones are dropped. */
const MAX_WAITING = 10_000;

/** Calls a tracker in order, without making the training wait. Reports its first error. */
export class TrackerQueue {
  private readonly tracker: Tracker;
  private readonly warn: (message: string) => void;
  private readonly name: string;
  private last: Promise<void> = Promise.resolve();
  private waiting = 0;
  private reported = false;
  private dropped = false;
  private isStopped = false;

  constructor(tracker: Tracker, name: string, warn: (message: string) => void) {
    this.tracker = tracker;
    this.name = tracker.name ?? name;
    this.warn = warn;
  }

  /** Appends a call. If a `needed` call fails, no others are made. */
  add(call: (tracker: Tracker) => void | Promise<void>, { needed = false }: { needed?: boolean } = {}): void {
    if (this.waiting < MAX_WAITING) {
      this.append(call, needed);
      return;
    }
    if (!this.dropped) this.warn(`tracker ${this.name}: it is slower than the run; some of its calls are left out`);
    this.dropped = true;
  }

  private append(call: (tracker: Tracker) => void | Promise<void>, needed = false): void {
    this.waiting += 1;
    this.last = this.last
      .then(() => (this.isStopped ? undefined : call(this.tracker)))
      .catch((error: unknown) => {
        if (needed) this.isStopped = true;
        this.report(reasonOf(error));
      })
      .finally(() => {
        this.waiting -= 1;
      });
  }

  /** Makes the last call, even if the queue is full. Waits until all calls are done, for at most `milliseconds`. */
  async end(call: (tracker: Tracker) => void | Promise<void>, milliseconds: number): Promise<void> {
    this.append(call);
    const inTime = this.last.then(() => true);
    if (await withTimeLimit(inTime, milliseconds, () => false)) return;
    this.isStopped = true;
    this.report(
      `expected all calls to finish within ${milliseconds / 1000} seconds after the run, got unfinished calls`,
    );
  }

  private report(problem: string): void {
    if (!this.reported) this.warn(`tracker ${this.name}: ${problem}; the run is not affected`);
    this.reported = true;
  }
}
