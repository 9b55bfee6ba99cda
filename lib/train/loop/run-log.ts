import { appendFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { linesOf } from "../../data/lines.ts";
import { ioError } from "../../io/atomic-files.ts";
import type { TrainEvent } from "./trainer.ts";

/** Beside a run's checkpoints: its events, a line of JSON each. */
export const LOG_FILE = "log.jsonl";

/** How long lines wait for each other. Steps of small models come by the hundred a second. */
const MOST_WAIT_MS = 500;

/** What a line has beside its event. */
interface Logged {
  step: number;
  /** Wall-clock seconds of training until then, those of the runs that this one goes on from included. */
  seconds?: number;
}

/**
 * What a run reports, kept to be plotted: steps and evaluations in their order, as the events are (what is not finite is null), with the
 * seconds that training has taken until then. Lines are written before the checkpoint that follows them, so that a resumed run, which cuts
 * off what lies beyond its step, leaves no gap.
 */
export class RunLog {
  private readonly path: string;
  private waiting: string[] = [];
  private written: number | undefined;
  private began = 0;
  /** Bytes of whole lines in the file. */
  private size = 0;
  /** Of the runs that this one goes on from. */
  private secondsBefore = 0;

  constructor(folder: string) {
    this.path = join(folder, LOG_FILE);
  }

  /** Tells whether there is a run's log. @throws HeddleError INVALID_FILE where the file is something else, IO */
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

  /** Hands events on, and logs them. */
  async *follow<Result>(events: AsyncGenerator<TrainEvent, Result, void>): AsyncGenerator<TrainEvent, Result, void> {
    this.began = performance.now();
    try {
      let next = await events.next();
      for (; !next.done; next = await events.next()) {
        // A log that cannot be written ends the run as an error of its own does: with its last step saved.
        await this.add(next.value).catch((error: unknown) => events.throw(error));
        yield next.value;
      }
      await this.flush();
      return next.value;
    } finally {
      // Left early, the run that is followed has to hear of it. What ended it is told, and not what then happens to the log.
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

  /** Writes what waits; where that fails it waits on, and the file has no part of it. @throws HeddleError IO */
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

  /** Cuts off what a run that begins with an event will report again, and what a kill left of a line. */
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
      // The evaluation of a step comes after it, and alone where a run was stopped between them.
      const isKept =
        event && (event.step < first.step || (event.step === first.step && "loss" in event && !("loss" in first)));
      if (!isKept || end + bytes > size) break; // the last line may lack its end
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

/** An event of a log's line; undefined where it is none, as of a line that a kill has cut. */
export function eventOf(line: string): Logged | undefined {
  try {
    const event = JSON.parse(line) as Partial<Logged> | null;
    return Number.isSafeInteger(event?.step) ? (event as Logged) : undefined;
  } catch {
    return undefined;
  }
}
