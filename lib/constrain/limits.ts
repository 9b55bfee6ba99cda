// Limits on schemas and patterns from strangers.
import { HeddleError } from "../core/errors.ts";

/** Limits on schemas and patterns; every message names the one it hit. */
export const limits = {
  /** Units of work of one compilation, for all its schemas and patterns together. A unit is about ten nanoseconds. */
  work: 40_000_000,
  /** Nesting depth of the schema's JSON. */
  depth: 128,
  /** Number of JSON values in the schema. */
  values: 50_000,
  /** UTF-16 units of its strings and names. */
  text: 2 << 20,
  /** Length of a name that additional properties may not have. */
  nameLength: 1024,
  /** Alternatives of one schema after expanding allOf, $ref, and anyOf with other keywords. */
  alternatives: 256,
  rules: 20_000,
  /** Rules that call each other before a byte is read. */
  chain: 500,
  /** States of a schema's automaton, including those of its patterns. */
  nodes: 200_000,
  patternLength: 10_000,
  patternDepth: 100,
  /** States of one pattern, before and after determinization. */
  patternNodes: 50_000,
  patternStates: 10_000,
} as const;

/** The error for an exceeded limit. `what` names the items that are too many. */
export function tooLarge(where: string, most: number, what: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${where}: expected at most ${most} ${what}, got more`);
}

export function unsupported(where: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${where}: ${what} is not supported`);
}

/** Work after which a compilation should yield: a fraction of a millisecond. */
const PAUSE = 20_000;

/**
 * The work that one compilation may still do. Every step spends its cost first, so time and memory are bounded however a schema combines steps.
 * One unit is about ten nanoseconds, or two bytes of retained memory.
 */
export class Work {
  private left: number = limits.work;
  private sincePause = 0;

  /** @throws HeddleError INVALID_ARGUMENT once all is spent, by the place that spent the last of it */
  spend(amount: number, where: string): void {
    this.left -= amount;
    this.sincePause += amount;
    if (this.left < 0) throw tooLarge(where, limits.work, "units of work to compile it");
  }

  /** Whether a generator should yield now. Asking starts the next stretch of work. */
  get isDue(): boolean {
    if (this.sincePause < PAUSE) return false;
    this.sincePause = 0;
    return true;
  }
}
