import { types } from "node:util";

/**
 * Selects parameters by name. A text matches names that contain it as one or several whole parts between dots: `layers.1` does not match
 * `model.layers.11`. A regular expression matches names in which it finds a match. In JSON, write it between slashes
 * (`"/layers\\.[0-3]\\./"`). A function is called with each name.
 */
export type ParameterMatch = string | RegExp | ((name: string) => boolean);

/** Returns the regular expression, also one written as a text between slashes. Undefined for other texts. @throws SyntaxError */
export function parsePattern(match: string | RegExp): RegExp | undefined {
  if (typeof match !== "string") return match;
  const [, source, flags] = /^\/(.+)\/([a-z]*)$/s.exec(match) ?? [];
  return source === undefined ? undefined : new RegExp(source, flags);
}

/** Whether a value is a valid match. A text between slashes must be a regular expression. */
export function isParameterMatch(value: unknown): value is ParameterMatch {
  if (typeof value !== "string") return typeof value === "function" || types.isRegExp(value);
  try {
    parsePattern(value);
    return value !== "";
  } catch {
    return false;
  }
}
