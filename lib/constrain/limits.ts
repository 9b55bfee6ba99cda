// What a schema or a pattern from a stranger may cost.
import { HeddleError } from "../errors.ts";

/** Limits on schemas and patterns; every message names the one it hit. */
export const limits = {
  /** Objects and arrays within each other, of the schema as JSON. */
  depth: 128,
  /** Objects, arrays, strings, numbers … of which the schema consists. */
  values: 50_000,
  /** UTF-16 units of its strings and names. */
  text: 2 << 20,
  /** Of a name that other properties may not have. */
  nameLength: 1024,
  /** Schemas that allOf, anyOf beside other keywords and $ref make of one. */
  alternatives: 256,
  /** Work of putting them together, in keywords, properties and values. */
  mergeSteps: 1_000_000,
  rules: 20_000,
  /** Rules that call each other before a byte is read. */
  chain: 500,
  /** States of the automaton behind a schema, those of its strings' patterns included. */
  nodes: 200_000,
  patternLength: 10_000,
  patternDepth: 100,
  /** Of one pattern, before it is made deterministic and after. */
  patternNodes: 50_000,
  patternStates: 10_000,
  /** Work of making one pattern deterministic. */
  patternSteps: 2_000_000,
} as const;

/** A cap was hit: `what` says of what there are too many, and where. */
export function tooLarge(where: string, most: number, what: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${where}: expected at most ${most} ${what}, got more`);
}

export function unsupported(where: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${where}: ${what} is not supported`);
}
