// JSON schemas as they are read: copied, their keywords known and checked, their references resolved.
import { describe, invalidArgument } from "../errors.ts";
import { nearest } from "../formats/nearest.ts";
import { limits, tooLarge, unsupported } from "./limits.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
export type SchemaObject = { [key: string]: JsonValue };

/** Keywords that say something about documents and are understood. */
const KEYWORDS = [
  ...["$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const"],
  ...["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  ...["items", "prefixItems", "additionalItems", "minItems", "maxItems"],
  ...["minLength", "maxLength", "pattern", "format"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
] as const;
export type Keyword = (typeof KEYWORDS)[number];

/** Keywords that say nothing about which documents are valid. */
const ANNOTATIONS = new Set([
  ...["$schema", "$id", "id", "$comment", "$anchor", "$vocabulary", "$defs", "definitions"],
  ...["title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "strict"],
  ...["contentEncoding", "contentMediaType", "contentSchema", "discriminator", "externalDocs", "xml"],
]);

/** What would constrain, and is not understood, unless its value makes it say nothing. */
const HARMLESS = new Map<string, (value: JsonValue) => boolean>([
  ["uniqueItems", (value) => value === false],
  ["unevaluatedProperties", (value) => value === true],
  ["unevaluatedItems", (value) => value === true],
  ["nullable", (value) => value === false],
  ["patternProperties", isEmptyObject],
  ["dependentRequired", isEmptyObject],
  ["dependentSchemas", isEmptyObject],
  ["dependencies", isEmptyObject],
  ["propertyNames", (value) => value === true || isEmptyObject(value)],
  ["not", (value) => value === false],
  ["if", () => false],
  ["then", () => true],
  ["else", () => true],
  ["contains", () => false],
  ["minContains", () => true],
  ["maxContains", () => true],
  ["$dynamicRef", () => false],
  ["$recursiveRef", () => false],
  ["$dynamicAnchor", () => true],
  ["$recursiveAnchor", () => true],
]);

export function isObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmptyObject(value: JsonValue): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

/** A schema and all within it, as plain data of its own. */
export class SchemaDocument {
  readonly root: JsonValue;
  /** What messages call it. */
  readonly name: string;
  private readonly places = new WeakMap<object, string>();
  private values = 0;
  private length = 0;

  /** @throws HeddleError INVALID_ARGUMENT for what is no JSON, holds lone surrogates, or is nested or large beyond the limits */
  constructor(schema: unknown, name = "schema") {
    this.name = name;
    this.root = this.copy(schema, `${name}#`, 0);
  }

  private copy(value: unknown, where: string, depth: number): JsonValue {
    if (++this.values > limits.values) throw tooLarge(this.name, limits.values, "values");
    if (depth > limits.depth) throw tooLarge(this.name, limits.depth, "levels");
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "string") return this.text(value, where);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    if (Array.isArray(value)) {
      const out: JsonValue[] = [];
      // By index: a hole is no JSON.
      for (let i = 0; i < value.length; i++) out.push(this.copy(value[i], `${where}/${i}`, depth + 1));
      this.places.set(out, where);
      return out;
    }
    if (typeof value !== "object" || !isPlain(value)) throw invalidArgument(where, "JSON", value);
    const out: SchemaObject = Object.create(null);
    for (const [key, member] of Object.entries(value))
      if (member !== undefined)
        out[this.text(key, where)] = this.copy(member, `${where}/${escapePointer(key)}`, depth + 1);
    this.places.set(out, where);
    return out;
  }

  private text(value: string, where: string): string {
    this.length += value.length;
    if (this.length > limits.text) throw tooLarge(this.name, limits.text, "characters of text");
    // No UTF-8 is theirs, so no answer could hold them.
    if (!value.isWellFormed()) throw invalidArgument(where, "text without lone surrogates", value);
    return value;
  }

  /** What messages call an object or array of the schema: its JSON pointer. */
  where(value: object): string {
    return this.places.get(value) ?? this.name;
  }

  /** What a reference names. @throws HeddleError INVALID_ARGUMENT, or UNSUPPORTED for one that leaves the schema */
  resolve(reference: JsonValue, where: string): JsonValue {
    if (typeof reference !== "string") throw invalidArgument(where, "a reference such as #/$defs/name", reference);
    if (reference !== "#" && !reference.startsWith("#/"))
      throw unsupported(where, `a reference to elsewhere, ${describe(reference)},`);
    let value: JsonValue | undefined = this.root;
    for (const part of reference.split("/").slice(1)) {
      const key = unescapePointer(part);
      value =
        typeof value === "object" && value !== null && Object.hasOwn(value, key)
          ? (value as SchemaObject)[key]
          : undefined;
      if (value === undefined) throw invalidArgument(where, "a place in the schema", reference);
    }
    return value;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Another realm's object has another prototype, above which there is none either.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function escapePointer(key: string): string {
  const short = key.length > 64 ? `${key.slice(0, 61)}…` : key;
  return short.replaceAll("~", "~0").replaceAll("/", "~1");
}

function unescapePointer(part: string): string {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // A percent sign that stands for itself.
  }
  return text.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** The keywords of a schema that constrain. @throws HeddleError UNSUPPORTED naming what is not understood and where it stands */
export function keywordsOf(schema: SchemaObject, where: string): Map<Keyword, JsonValue> {
  const out = new Map<Keyword, JsonValue>();
  for (const [key, value] of Object.entries(schema)) {
    if ((KEYWORDS as readonly string[]).includes(key)) out.set(key as Keyword, value);
    else if (ANNOTATIONS.has(key) || key.startsWith("x-")) continue;
    else if (HARMLESS.has(key)) {
      // Within a closed object nothing is left to be unevaluated.
      if (key === "unevaluatedProperties" && value === false && schema.additionalProperties === undefined) continue;
      if (!HARMLESS.get(key)!(value)) throw unsupported(`${where}/${escapePointer(key)}`, "this keyword");
    } else {
      const near = nearest(key, [...KEYWORDS, ...ANNOTATIONS, ...HARMLESS.keys()]);
      throw unsupported(`${where}/${escapePointer(key)}`, `a keyword of this name${near ? ` (nearest: ${near})` : ""}`);
    }
  }
  return out;
}

const known = new WeakMap<object, string>();

/** A value's JSON with the keys of its objects in order: equal values have the same. */
export function canonical(value: JsonValue): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  let text = known.get(value);
  if (text !== undefined) return text;
  if (Array.isArray(value)) text = `[${value.map(canonical).join()}]`;
  else {
    const keys = Object.keys(value).sort();
    text = `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`).join()}}`;
  }
  known.set(value, text);
  return text;
}
