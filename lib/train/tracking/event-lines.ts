import { appendFile, stat, truncate } from "node:fs/promises";
import { HeddleError } from "../../core/errors.ts";
import { linesOf } from "../../data/lines.ts";
import { ioError } from "../../io/atomic-files.ts";
import { parseJsonRow } from "../../io/json.ts";
import type { TrainEvent } from "../loop/trainer.ts";

/** Minimum time between two writes by `add`. Small models take hundreds of steps a second. */
const MIN_INTERVAL_MS = 500;

/** The fields of a line that a resume reads. */
interface Logged {
  step: number;
  /** Wall-clock seconds of training so far, including earlier parts of a resumed run. */
  seconds?: number;
}

/** A file of JSON lines about a run's events. */
export class EventLines {
  readonly path: string;
  private waiting: string[] = [];
  /** Time of the last write, by performance.now(). */
  private written = 0;
  /** Number of bytes of whole lines in the file. */
  private size = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** Adds a line to the buffer, and writes the buffer unless the last write was a moment ago. @throws HeddleError IO */
  async add(line: object): Promise<void> {
    this.waiting.push(`${JSON.stringify(line)}\n`);
    if (performance.now() - this.written > MIN_INTERVAL_MS) await this.flush();
  }

  /**
   * Writes the buffered lines. If that fails, the lines stay buffered, and the file keeps no part of them.
   * @throws HeddleError IO
   */
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

  /**
   * Removes from the end of the file the events that this run will report again, and a line that a killed run left
   * incomplete.
   * @param isStep whether a line belongs to a step, and not to an evaluation
   * @returns the last event that stays
   */
  async rewind(first: TrainEvent, isStep: (line: object) => boolean): Promise<Logged | undefined> {
    this.written = performance.now();
    const size = await stat(this.path).then(
      (found) => found.size,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw ioError(error, this.path, "read");
        return 0;
      },
    );
    let end = 0;
    let last: Logged | undefined;
    for await (const { line, bytes } of this.lines()) {
      const event = eventOf(line);
      // The line of a step precedes the line of its evaluation. A run that was stopped between the two resumes with the
      // evaluation.
      const isKept =
        event && (event.step < first.step || (event.step === first.step && isStep(event) && !("loss" in first)));
      if (!isKept || end + bytes > size) break; // the last line may lack its line break
      end += bytes;
      last = event;
    }
    await truncate(this.path, end).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw ioError(error, this.path, "written");
    });
    this.size = end;
    return last;
  }

  /** The lines of the file, or none if it does not exist. */
  async *lines(): AsyncGenerator<{ line: string; bytes: number }, void, undefined> {
    try {
      for await (const line of linesOf(this.path, { keepMark: true }))
        yield { line, bytes: Buffer.byteLength(line) + 1 };
    } catch (error) {
      if (!(error instanceof HeddleError && error.code === "NOT_FOUND")) throw error;
    }
  }
}

/**
 * Parses a line of a log. Returns undefined if it is not an event, such as a truncated line, or a line with more values
 * than the parser accepts.
 */
export function eventOf(line: string): Logged | undefined {
  try {
    const event = parseJsonRow(line, "line") as Partial<Logged> | null;
    return Number.isSafeInteger(event?.step) ? (event as Logged) : undefined;
  } catch {
    return undefined;
  }
}
