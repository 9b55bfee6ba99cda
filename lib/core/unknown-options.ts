// Checks option names, because unknown options would be silently ignored.
import { checkObject, HeddleError, invalidArgument } from "./errors.ts";
import { nearest } from "./nearest-name.ts";

/** The option names of type `T`. TypeScript ensures that the table is complete. */
export type Names<T> = Readonly<Record<keyof T & string, true>>;

/** Maps option names of other libraries to those of this package, for error messages. */
const MEANT: Readonly<Record<string, string>> = {
  addSpecial: "addSpecialTokens",
  allowedSpecial: "allowSpecial",
  disallowedSpecial: "forbidSpecial",
  skipSpecial: "skipSpecialTokens",
  chatTemplate: "template",
  enableThinking: "variables",
  returnOffsetsMapping: "units",
  maxLength: "truncation",
};

/** Requires an options object whose names are all in `names`. @throws HeddleError INVALID_ARGUMENT */
export function checkNames<T>(options: T, names: Names<T>): void {
  checkObject("options", options);
  for (const name in options) if ((names as Record<string, boolean>)[name] !== true) throw unknownName(name, names);
}

function unknownName(name: string, names: Readonly<Record<string, true>>): HeddleError {
  const known = Object.keys(names);
  const camel = name.replace(/_+([a-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
  const meant = [camel, MEANT[camel]].find((n) => n !== undefined && known.includes(n)) ?? nearest(camel, known);
  const expected = meant ? `a known option (nearest: ${meant})` : `one of ${known.join(", ")}`;
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got an unknown name`);
}

/** Requires a boolean or undefined. @throws HeddleError INVALID_ARGUMENT */
export function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw invalidArgument(name, "true or false", value);
}
