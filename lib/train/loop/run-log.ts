import { appendFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { linesOf } from "../../data/lines.ts";
import { ioError } from "../../io/atomic-files.ts";
import type { TrainEvent } from "./trainer.ts";

/** The log file in the folder of a run's checkpoints: one event per line, as JSON. */
export const LOG_FILE = "log.jsonl";

/** Maximum time that lines stay buffered. Small models take hundreds of steps a second. */
const MOST_WAIT_MS = 500;

/** Fields of a line in addition to its event. */
interface Logged {
  step: number;
  /** Wall-clock seconds of training so far, including earlier parts of a resumed run. */
  seconds?: number;
}

/**
 * Logs a run's events for plotting: steps and evaluations in order, with the seconds of training so far. Non-finite values are null. Lines
 * are written before the checkpoint that follows them. A resumed run truncates the log after its step, so the log has no gaps.
 */
export class RunLog {
  private readonly path: string;
  private waiting: string[] = [];
  private written: number | undefined;
  private began = 0;
  /** Number of bytes of whole lines in the file. */
  private size = 0;
  /** Seconds of training in earlier parts of a resumed run. */
  private secondsBefore = 0;

  constructor(folder: string) {
    this.path = join(folder, LOG_FILE);
  }

  /** Whether the folder has a run's log. @throws HeddleError INVALID_FILE if the file is something else, IO */
  async isThere(): Promise<boolean> {
    for await (const { line } of this.lines()) {
      if (eventOf(line)) return true;
      throw new HeddleError(
        "INVALID_FILE",
        `${this.path}: expected the log of a run, which a run keeps in its outputDir, got another file`,
      );
    }
    return false;
  }

  /** Passes events on, and logs them. */
  async *follow<Result>(events: AsyncGenerator<TrainEvent, Result, void>): AsyncGenerator<TrainEvent, Result, void> {
    this.began = performance.now();
    try {
      let next = await events.next();
      for (; !next.done; next = await events.next()) {
        // A log that cannot be written ends the run like an error of the run: after saving its last step.
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

  private async add(event: TrainEvent): Promise<void> {
    if (this.written === undefined) await this.rewind(event);
    const seconds = this.secondsBefore + (performance.now() - this.began) / 1000;
    this.waiting.push(`${JSON.stringify({ ...event, seconds: Math.round(seconds * 1000) / 1000 })}\n`);
    if (performance.now() - this.written! > MOST_WAIT_MS) await this.flush();
  }

  /** Writes the buffered lines. If that fails, they stay buffered, and the file gets no part of them. @throws HeddleError IO */
  async flush(): Promise<void> {
    const lines = this.waiting;
    this.waiting = [];
    this.written = performance.now();
    if (lines.length === 0) return;
    const bytes = Buffer.from(lines.join(""));
    try {
      await appendFile(this.path, bytes);
    } catch (error) {
      this.waiting = [...lines, ...this.waiting];
      await truncate(this.path, this.size).catch(() => undefined);
      throw ioError(error, this.path, "written");
    }
    this.size += bytes.length;
  }

  /** Truncates the log: events that this run will report again, and a line that a killed run left incomplete. */
  private async rewind(first: TrainEvent): Promise<void> {
    this.written = performance.now();
    const size = await stat(this.path).then(
      (found) => found.size,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw ioError(error, this.path, "read");
        return 0;
      },
    );
    let end = 0;
    for await (const { line, bytes } of this.lines()) {
      const event = eventOf(line);
      // A step's evaluation follows it. A run stopped between the two resumes with the evaluation alone.
      const isKept =
        event && (event.step < first.step || (event.step === first.step && "loss" in event && !("loss" in first)));
      if (!isKept || end + bytes > size) break; // the last line may lack its line break
      end += bytes;
      const { seconds } = event;
      this.secondsBefore = typeof seconds === "number" && Number.isFinite(seconds) ? seconds : 0;
    }
    await truncate(this.path, end).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw ioError(error, this.path, "written");
    });
    this.size = end;
  }

  private async *lines(): AsyncGenerator<{ line: string; bytes: number }, void, undefined> {
    try {
      for await (const line of linesOf(this.path, { keepMark: true }))
        yield { line, bytes: Buffer.byteLength(line) + 1 };
    } catch (error) {
      if (!(error instanceof HeddleError && error.code === "NOT_FOUND")) throw error;
    }
  }
}

/** Parses a line of a log. Returns undefined if it is not an event, such as a truncated line. */
export function eventOf(line: string): Logged | undefined {
  try {
    const event = JSON.parse(line) as Partial<Logged> | null;
    return Number.isSafeInteger(event?.step) ? (event as Logged) : undefined;
  } catch {
    return undefined;
  }
}
