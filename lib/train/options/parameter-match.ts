import { types } from "node:util";

/**
 * Which parameters are meant: a text stands for those in whose names it is one or several whole parts between dots (`layers.1` is none of
 * `model.layers.11`'s), a regular expression for those in whose names it finds something; in a text between slashes it may stand in JSON
 * (`"/layers\\.[0-3]\\./"`). Or a function that says so of each name.
 */
export type ParameterMatch = string | RegExp | ((name: string) => boolean);

/** The regular expression that a match is, or that a text between slashes holds. @throws SyntaxError */
export function parsePattern(match: string | RegExp): RegExp | undefined {
  if (typeof match !== "string") return match;
  const [, source, flags] = /^\/(.+)\/([a-z]*)$/s.exec(match) ?? [];
  return source === undefined ? undefined : new RegExp(source, flags);
}

/** Whether a value is a match; a text between slashes has to be a regular expression. */
export function isParameterMatch(value: unknown): value is ParameterMatch {
  if (typeof value !== "string") return typeof value === "function" || types.isRegExp(value);
  try {
    parsePattern(value);
    return value !== "";
  } catch {
    return false;
  }
}
