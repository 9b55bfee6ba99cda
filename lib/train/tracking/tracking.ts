import type { EvalEvent, StepEvent, TrainEvent } from "../loop/trainer.ts";
import type { TrackedRun, Tracker, TrackerStatus } from "./tracker.ts";
import { TrackerQueue } from "./tracker-queue.ts";

/** Maximum number of milliseconds that a run waits for its trackers after its last step. */
const MAX_WAIT_MS = 10_000;

/** Passes a run's events to its trackers. */
export class Tracking {
  private readonly queues: readonly TrackerQueue[];
  private started = false;

  constructor(trackers: readonly Tracker[], warn: (message: string) => void) {
    this.queues = trackers.map((tracker, i) => new TrackerQueue(tracker, String(i + 1), warn));
  }

  /** Reports the start of the run to its trackers. Call it after all checks of the run. */
  start(run: TrackedRun): void {
    this.started = true;
    for (const queue of this.queues) queue.add((tracker) => tracker.start?.(run), { needed: true });
  }

  /** Passes events on, and logs them. */
  async *follow<Result>(
    events: AsyncGenerator<TrainEvent, Result, void>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TrainEvent, Result, void> {
    let status: TrackerStatus = "aborted"; // the status if the loop is left early
    try {
      let next = await events.next();
      for (; !next.done; next = await events.next()) {
        this.add(next.value);
        yield next.value;
      }
      status = "completed";
      return next.value;
    } catch (error) {
      if (!signal?.aborted) status = "failed";
      throw error;
    } finally {
      await events.return(undefined as Result);
      if (this.started)
        await Promise.all(this.queues.map((queue) => queue.end((tracker) => tracker.end?.(status), MAX_WAIT_MS)));
    }
  }

  private add(event: TrainEvent): void {
    const metrics = "loss" in event ? stepMetrics(event) : evaluationMetrics(event);
    const { step, completions } = event;
    for (const queue of this.queues) {
      queue.add((tracker) => tracker.log(metrics, step));
      if (completions && "loss" in event) queue.add((tracker) => tracker.samples?.(completions, step));
    }
  }
}

function stepMetrics({
  step: _,
  maxSteps: _m,
  metrics,
  completions: _c,
  ...numbers
}: StepEvent): Record<string, number> {
  return prefixed("train", { ...numbers, ...metrics });
}

function evaluationMetrics({ evalLoss, metrics }: EvalEvent): Record<string, number> {
  return prefixed("eval", { loss: evalLoss, ...metrics });
}

function prefixed(prefix: string, numbers: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const given = Object.entries(numbers).filter((entry): entry is [string, number] => typeof entry[1] === "number");
  return Object.fromEntries(given.map(([name, value]) => [`${prefix}/${name}`, value]));
}
