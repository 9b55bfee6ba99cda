// Limits on schemas and patterns, which are untrusted.
import { HeddleError } from "../core/errors.ts";

/** Limits on schemas and patterns. Messages name the limit that was exceeded. */
export const limits = {
  /** Maximum units of work of one compilation, for all its schemas and patterns together. A unit takes about ten nanoseconds. */
  work: 40_000_000,
  /** Maximum nesting depth of the schema's JSON. */
  depth: 128,
  /** Maximum number of JSON values in the schema. */
  values: 50_000,
  /** Maximum total length of the schema's strings and names in UTF-16 units. */
  text: 2 << 20,
  /** Maximum length in bytes of a property's name if there are additional properties. */
  nameLength: 1024,
  /** Maximum number of alternatives of one schema after expanding allOf, $ref, and anyOf with other keywords. */
  alternatives: 256,
  /** Maximum number of rules of a grammar. */
  rules: 20_000,
  /** Maximum length of a chain of rules that call each other before they read a byte. */
  chain: 500,
  /** Maximum number of states of a schema's automaton, including those of its patterns. */
  nodes: 200_000,
  /** Maximum length of a pattern in UTF-16 units. */
  patternLength: 10_000,
  /** Maximum depth of nested groups of a pattern. */
  patternDepth: 100,
  /** Maximum number of states of one pattern before determinization. */
  patternNodes: 50_000,
  /** Maximum number of states of one pattern after determinization. */
  patternStates: 10_000,
} as const;

/** Returns the error for an exceeded limit. `what` names the limited quantity. */
export function tooLarge(where: string, most: number, what: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${where}: expected at most ${most} ${what}, got more`);
}

/** Returns the error for a part of a schema that is not supported. */
export function unsupported(where: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${where}: ${what} is not supported`);
}

/** Returns the error for a tool that the model's form of tool calls cannot express. */
export function unsupportedInCalls(where: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${where}: ${what} is not supported in this model's form of tool calls`);
}

/** Units of work after which a compilation should yield: a fraction of a millisecond. */
const PAUSE = 20_000;

/**
 * The work budget of one compilation. Every step spends its cost before it runs, so time and memory are bounded for any schema. One unit
 * is about ten nanoseconds, or two bytes of retained memory.
 */
export class Work {
  private left: number = limits.work;
  private sincePause = 0;

  /** Spends work. `where` names the part of the schema. @throws HeddleError INVALID_ARGUMENT if the budget is exceeded */
  spend(amount: number, where: string): void {
    this.left -= amount;
    this.sincePause += amount;
    if (this.left < 0) throw tooLarge(where, limits.work, "units of work to compile it");
  }

  /** Whether a generator should yield now. If so, it resets the count. */
  get isDue(): boolean {
    if (this.sincePause < PAUSE) return false;
    this.sincePause = 0;
    return true;
  }
}
