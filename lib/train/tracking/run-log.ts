import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import type { TrainEvent } from "../loop/trainer.ts";
import { EventLines, eventOf } from "./event-lines.ts";

/** The log file in the folder of a run's checkpoints: one event per line, as JSON. */
export const LOG_FILE = "log.jsonl";

/** The file of sampled completions in the same folder: one per line, with its step, as JSON. */
export const COMPLETIONS_FILE = "completions.jsonl";

/**
 * Logs a run's events for plotting: steps and evaluations in order, with the seconds of training so far. Non-finite values are null. Lines
 * are written before the checkpoint that follows them, so the log has no gaps. A resumed run truncates the log after its step, so no line
 * occurs twice. Sampled completions go into a second file.
 */
export class RunLog {
  private readonly events: EventLines;
  private readonly completions: EventLines;
  private rewound = false;
  private began = 0;
  /** Seconds of training in earlier parts of a resumed run. */
  private secondsBefore = 0;

  constructor(folder: string) {
    this.events = new EventLines(join(folder, LOG_FILE));
    this.completions = new EventLines(join(folder, COMPLETIONS_FILE));
  }

  /**
   * Whether the folder has a run's log. Checks both files, because a run truncates both.
   * @throws HeddleError INVALID_FILE if a file has other contents, IO
   */
  async isThere(): Promise<boolean> {
    await hasEvents(this.completions, "the completions of a run");
    return hasEvents(this.events, "the log of a run");
  }

  /** Passes events on, and logs them. */
  async *follow<Result>(events: AsyncGenerator<TrainEvent, Result, void>): AsyncGenerator<TrainEvent, Result, void> {
    this.began = performance.now();
    try {
      let next = await events.next();
      for (; !next.done; next = await events.next()) {
        // If the log cannot be written, the run ends as after any other error: it saves its last step first.
        await this.add(next.value).catch((error: unknown) => events.throw(error));
        yield next.value;
      }
      await this.flush();
      return next.value;
    } finally {
      // If the loop is left early, stop the followed run too. Report the error that ended it, not a later one of the log.
      await events.return(undefined as Result);
      await this.flush().catch(() => undefined);
    }
  }

  /** Writes the buffered lines. @throws HeddleError IO */
  async flush(): Promise<void> {
    await this.events.flush();
    await this.completions.flush();
  }

  private async add(event: TrainEvent): Promise<void> {
    if (!this.rewound) await this.rewind(event);
    const { completions = [], ...numbers } = event;
    const seconds = this.secondsBefore + (performance.now() - this.began) / 1000;
    await this.events.add({ ...numbers, seconds: Math.round(seconds * 1000) / 1000 });
    const at = { step: event.step, ...(!("loss" in event) && { evaluation: true }) };
    for (const completion of completions) await this.completions.add({ ...at, ...completion });
  }

  private async rewind(first: TrainEvent): Promise<void> {
    this.rewound = true;
    const last = await this.events.rewind(first, (line) => "loss" in line);
    const { seconds } = last ?? {};
    this.secondsBefore = typeof seconds === "number" && Number.isFinite(seconds) ? seconds : 0;
    await this.completions.rewind(first, (line) => !("evaluation" in line));
  }
}

/** Whether a file has lines of events. @throws HeddleError INVALID_FILE if it has other lines, IO */
async function hasEvents(file: EventLines, what: string): Promise<boolean> {
  for await (const { line } of file.lines()) {
    if (eventOf(line)) return true;
    throw new HeddleError(
      "INVALID_FILE",
      `${file.path}: expected ${what}, which a run keeps in its outputDir, got another file`,
    );
  }
  return false;
}
