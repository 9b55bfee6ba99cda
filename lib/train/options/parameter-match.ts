import { types } from "node:util";

/**
 * Selects parameters by name. A string matches a name that contains it as whole parts between dots: `layers.1` matches
 * `model.layers.1.mlp`, but not `model.layers.11`. A regular expression matches a name that contains a match. In JSON,
 * write it as a string between slashes (`"/layers\\.[0-3]\\./"`). A function gets each name, and returns whether it
 * matches.
 */
export type ParameterMatch = string | RegExp | ((name: string) => boolean);

/**
 * Returns a regular expression, or the one that a string holds between slashes. Returns undefined for other strings.
 * @throws SyntaxError
 */
export function parsePattern(match: string | RegExp): RegExp | undefined {
  if (typeof match !== "string") return match;
  const [, source, flags] = /^\/(.+)\/([a-z]*)$/s.exec(match) ?? [];
  return source === undefined ? undefined : new RegExp(source, flags);
}

/** Whether a value is a valid match. A string between slashes must hold a valid regular expression. */
export function isParameterMatch(value: unknown): value is ParameterMatch {
  if (typeof value !== "string") return typeof value === "function" || types.isRegExp(value);
  try {
    parsePattern(value);
    return value !== "";
  } catch {
    return false;
  }
}
