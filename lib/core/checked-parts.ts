import { checkObject, invalidArgument } from "./errors.ts";
import { unknownName } from "./nearest-name.ts";

/** The expected kind of a property: a type, an array, or one of a list of values. */
export type PartKind =
  | "array"
  | "string"
  | "function"
  | "object"
  | "boolean"
  | "number"
  | readonly (string | boolean | number)[];

/**
 * Checks the properties of an object that a user of the library wrote, such as a model family.
 * @param where the object's name in messages
 * @param kinds the expected kind of each known property
 * @param needed names of the required properties
 * @throws HeddleError INVALID_ARGUMENT for unknown names, wrong kinds and missing required properties
 */
export function checkParts(
  where: string,
  given: object,
  kinds: Readonly<Record<string, PartKind>>,
  needed: readonly string[] = [],
): void {
  checkObject(where, given);
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(kinds, key)) continue;
    throw unknownName(`${where}.${key}`, key, Object.keys(kinds));
  }
  for (const [name, kind] of Object.entries(kinds)) {
    const value: unknown = given[name as keyof typeof given];
    if (value === undefined && !needed.includes(name)) continue;
    if (kind === "object") checkObject(`${where}.${name}`, value);
    else if (kind === "array") {
      if (!Array.isArray(value)) throw invalidArgument(`${where}.${name}`, "an array", value);
    } else if (typeof kind === "string") {
      if (typeof value !== kind || value === "") throw invalidArgument(`${where}.${name}`, `a ${kind}`, value);
    } else if (!kind.includes(value as string))
      throw invalidArgument(`${where}.${name}`, `one of ${kind.join(", ")}`, value);
  }
}
