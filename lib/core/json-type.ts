/** The types of JSON Schema. */
export const JSON_TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"] as const;
/** The name of a type of JSON Schema. */
export type JsonType = (typeof JSON_TYPES)[number];

/** Returns the narrowest type of a JSON value: 1 is an integer, though also a number. */
export function typeOfValue(value: unknown): JsonType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value as JsonType;
}
