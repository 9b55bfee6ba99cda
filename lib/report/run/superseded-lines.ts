import { HeddleError } from "../../core/errors.ts";

const MAX_RESTARTS = 1_000_000;

/** The kinds of lines in a log. */
export type LineKind = "step" | "evaluation";

/**
 * Finds lines of a log that later lines supersede. A run that resumes from an older checkpoint repeats steps. If it appends to the log,
 * the log has two lines for such a step, and the later one is valid.
 */
export class SupersededLines {
  /**
   * Lines at which the run went back to an earlier step, by kind. They supersede all earlier lines with the same or a higher step. A restart
   * also replaces earlier restarts with such steps, so the steps in the array increase.
   */
  private readonly restarts: Record<LineKind, { line: number; step: number }[]> = { step: [], evaluation: [] };
  private readonly last: Record<LineKind, number> = { step: -1, evaluation: -1 };

  /** Records a line of the log. Call it for the lines in order. @throws HeddleError INVALID_FILE for too many restarts */
  note(line: number, kind: LineKind, step: number): void {
    // A step is logged before its evaluation. If the log has the evaluation already, the step is a repetition.
    if (step <= this.last[kind] || (kind === "step" && step <= this.last.evaluation)) {
      const places = this.restarts[kind];
      while (places.length > 0 && places.at(-1)!.step >= step) places.pop();
      if (places.push({ line, step }) > MAX_RESTARTS)
        throw new HeddleError("INVALID_FILE", `log: expected at most ${MAX_RESTARTS} restarts of a run, got more`);
      if (kind === "step") this.last.evaluation = Math.min(this.last.evaluation, step - 1);
    }
    this.last[kind] = step;
  }

  get any(): boolean {
    return this.restarts.step.length + this.restarts.evaluation.length > 0;
  }

  /** Returns a function that returns false for superseded lines. Call the function for the lines in order. */
  filter(): (line: number, kind: LineKind, step: number) => boolean {
    const next = { step: 0, evaluation: 0 };
    // Returns the lowest step to which a later restart goes back. The line is superseded if its step is not below that.
    const limit = (kind: LineKind, line: number) => {
      const places = this.restarts[kind];
      while (next[kind] < places.length && places[next[kind]]!.line <= line) next[kind] += 1;
      return places[next[kind]]?.step ?? Number.POSITIVE_INFINITY;
    };
    return (line, kind, step) => {
      if (step >= limit("step", line)) return false;
      return kind === "step" || step < limit("evaluation", line);
    };
  }
}
