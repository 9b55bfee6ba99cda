// Reads JSON schemas: copies them, checks their keywords, and resolves references.
import { describe, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { nearest } from "../core/nearest-name.ts";
import type { Slices } from "../core/slices.ts";
import { limits, tooLarge, unsupported, type Work } from "./limits.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
export type SchemaObject = { [key: string]: JsonValue };

/** Keywords that constrain documents and are supported. */
const KEYWORDS = [
  ...["$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const"],
  ...["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  ...["items", "prefixItems", "additionalItems", "minItems", "maxItems"],
  ...["minLength", "maxLength", "pattern", "format"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
] as const;
export type Keyword = (typeof KEYWORDS)[number];

/** Keywords that do not affect which documents are valid. */
const ANNOTATIONS = new Set([
  ...["$schema", "$id", "id", "$comment", "$anchor", "$vocabulary", "$defs", "definitions"],
  ...["title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "strict"],
  ...["contentEncoding", "contentMediaType", "contentSchema", "discriminator", "externalDocs", "xml"],
]);

/** Unsupported keywords that would constrain documents, with a test for values that have no effect. */
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

function isEmptyObject(value: JsonValue): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

/** A copy of a schema as plain data, with the locations of its parts. */
export class SchemaDocument {
  readonly root: JsonValue;
  /** Name of the schema in messages. */
  readonly name: string;
  /** Number of JSON values plus characters of strings, as a measure of its size. */
  readonly size: number;
  private readonly places: WeakMap<object, string>;

  private constructor(root: JsonValue, name: string, size: number, places: WeakMap<object, string>) {
    this.root = root;
    this.name = name;
    this.size = size;
    this.places = places;
  }

  /**
   * Copies a schema.
   * @throws HeddleError INVALID_ARGUMENT for values that are not JSON, for lone surrogates, and for schemas beyond the limits on depth and
   *   size
   */
  static *read(schema: unknown, work: Work, name = "schema"): Slices<SchemaDocument> {
    const reader = new SchemaReader(name, work);
    const root = yield* reader.copy(schema, `${name}#`, 0);
    return new SchemaDocument(root, name, reader.values + reader.length, reader.places);
  }

  /** Returns the JSON pointer of an object or array of the schema, for messages. */
  where(value: object): string {
    return this.places.get(value) ?? this.name;
  }

  /** Resolves a reference. @throws HeddleError INVALID_ARGUMENT for an invalid reference, UNSUPPORTED for an external one */
  resolve(reference: JsonValue, where: string): JsonValue {
    if (typeof reference !== "string") throw invalidArgument(where, "a reference such as #/$defs/name", reference);
    if (reference !== "#" && !reference.startsWith("#/"))
      throw unsupported(where, `a reference to another document, ${describe(reference)},`);
    let value: JsonValue | undefined = this.root;
    // A pointer of more parts than the schema can have levels is invalid, so do not split it further.
    for (const part of reference.split("/", limits.depth + 2).slice(1)) {
      const key = unescapePointer(part);
      value =
        typeof value === "object" && value !== null && Object.hasOwn(value, key)
          ? (value as SchemaObject)[key]
          : undefined;
      if (value === undefined) throw invalidArgument(where, "a location in the schema", reference);
    }
    return value;
  }
}

/** Units of work for copying a value. */
const COPY = 60;

class SchemaReader {
  readonly places = new WeakMap<object, string>();
  values = 0;
  length = 0;
  private readonly name: string;
  private readonly work: Work;

  constructor(name: string, work: Work) {
    this.name = name;
    this.work = work;
  }

  *copy(value: unknown, where: string, depth: number): Slices<JsonValue> {
    if (typeof value !== "object" || value === null) return this.scalar(value, where);
    this.count(where);
    if (depth > limits.depth) throw tooLarge(this.name, limits.depth, "levels");
    const isArray = Array.isArray(value);
    if (!isArray && !isPlain(value)) throw invalidArgument(where, "JSON", value);
    const out: JsonValue[] | SchemaObject = isArray ? [] : Object.create(null);
    this.places.set(out, where);
    // Iterate arrays by index, so that holes are refused.
    const keys = isArray ? value.keys() : Object.keys(value);
    for (const key of keys) {
      const member = (value as Record<string | number, unknown>)[key];
      if (member === undefined && !isArray) continue;
      const name = typeof key === "string" ? this.text(key, where) : key;
      const at = `${where}/${typeof name === "string" ? escapePointer(name) : name}`;
      // Scalars need no generator.
      (out as Record<string | number, JsonValue>)[name] =
        typeof member === "object" && member !== null
          ? yield* this.copy(member, at, depth + 1)
          : this.scalar(member, at);
      if (this.work.isDue) yield;
    }
    return out;
  }

  private scalar(value: unknown, where: string): JsonValue {
    this.count(where);
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "string") return this.text(value, where);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw invalidArgument(where, "JSON", value);
  }

  private count(where: string): void {
    if (++this.values > limits.values) throw tooLarge(this.name, limits.values, "values");
    this.work.spend(COPY, where);
  }

  private text(value: string, where: string): string {
    this.length += value.length;
    if (this.length > limits.text) throw tooLarge(this.name, limits.text, "characters of text");
    // UTF-8 cannot encode lone surrogates, so no answer could contain them.
    if (!value.isWellFormed()) throw invalidArgument(where, "text without lone surrogates", value);
    return value;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Plain objects of other realms have a different prototype, which is also at the top of its chain.
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
    // The part contains a literal percent sign, so it is not URL-encoded.
  }
  return text.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** Returns the constraining keywords of a schema. @throws HeddleError UNSUPPORTED with the keyword's location */
export function keywordsOf(schema: SchemaObject, where: string): Map<Keyword, JsonValue> {
  const out = new Map<Keyword, JsonValue>();
  for (const [key, value] of Object.entries(schema)) {
    if ((KEYWORDS as readonly string[]).includes(key)) out.set(key as Keyword, value);
    else if (ANNOTATIONS.has(key) || key.startsWith("x-")) continue;
    else if (HARMLESS.has(key)) {
      // Without additionalProperties no other properties are allowed, so none can be unevaluated.
      if (key === "unevaluatedProperties" && value === false && schema.additionalProperties === undefined) continue;
      if (!HARMLESS.get(key)!(value)) throw unsupported(`${where}/${escapePointer(key)}`, "this keyword");
    } else {
      const near = nearest(key, [...KEYWORDS, ...ANNOTATIONS, ...HARMLESS.keys()]);
      throw unsupported(`${where}/${escapePointer(key)}`, `a keyword of this name${near ? ` (nearest: ${near})` : ""}`);
    }
  }
  return out;
}

type Scalar = null | boolean | number | string;

/** Assigns numbers to JSON values, the same number to equal values. The order of an object's keys does not count. */
export class ValueNumbers {
  private readonly scalars = new Map<Scalar, number>();
  private readonly objects = new Map<object, number>();
  /** Numbers of arrays and objects by the numbers of their parts. Their serialized text would make keys as large as the values. */
  private readonly composites = new Map<string, number>();
  private count = 0;

  of(value: JsonValue): number {
    if (typeof value !== "object" || value === null) return this.numbered(this.scalars, value);
    let number = this.objects.get(value);
    if (number === undefined) {
      const parts = Array.isArray(value)
        ? value.map((item) => this.of(item))
        : Object.keys(value)
            .sort()
            .map((key) => `${this.of(key)}:${this.of(value[key]!)}`);
      number = this.numbered(this.composites, `${Array.isArray(value) ? "[" : "{"}${parts.join()}`);
      this.objects.set(value, number);
    }
    return number;
  }

  private numbered<Key>(of: Map<Key, number>, key: Key): number {
    let number = of.get(key);
    if (number === undefined) {
      number = this.count++;
      of.set(key, number);
    }
    return number;
  }
}
