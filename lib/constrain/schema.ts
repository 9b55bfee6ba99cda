// Reads JSON schemas: copies them, checks their keywords, and resolves references.
import { describe, type HeddleError, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { resolvePointer } from "../core/json-pointer.ts";
import { nearest } from "../core/nearest-name.ts";
import type { Slices } from "../core/slices.ts";
import type { JsonObject, JsonValue } from "../io/json.ts";
import { limits, tooLarge, unsupported, type Work } from "./limits.ts";

/** Keywords that constrain documents and are supported. */
const KEYWORDS = [
  ...["$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const"],
  ...["properties", "required", "additionalProperties", "unevaluatedProperties"],
  ...["minProperties", "maxProperties"],
  ...["items", "prefixItems", "additionalItems", "minItems", "maxItems"],
  ...["minLength", "maxLength", "pattern", "format"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
] as const;
/** A supported keyword of JSON Schema. */
export type Keyword = (typeof KEYWORDS)[number];
const IS_KEYWORD: ReadonlySet<string> = new Set(KEYWORDS);

/** Keywords that do not affect which documents are valid. */
const ANNOTATIONS = new Set([
  ...["$schema", "$id", "id", "$comment", "$anchor", "$vocabulary", "$defs", "definitions"],
  ...["title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "strict"],
  ...["contentEncoding", "contentMediaType", "contentSchema", "discriminator", "externalDocs", "xml"],
]);

/**
 * Unsupported keywords that would constrain documents, with a test for values that have no effect. Some have no effect
 * without another keyword that is refused, such as `then` without `if`.
 */
const HARMLESS = new Map<string, (value: JsonValue) => boolean>([
  ["uniqueItems", (value) => value === false],
  ["unevaluatedItems", (value) => value === true],
  ["nullable", (value) => value === false],
  ["patternProperties", isEmptyObject],
  ["dependentRequired", isEmptyObject],
  ["dependentSchemas", isEmptyObject],
  ["dependencies", isEmptyObject],
  ["propertyNames", (value) => value === true || isEmptyObject(value) || isStringType(value)],
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

/** Whether a schema for names of properties has no effect, because names are strings anyway. */
function isStringType(value: JsonValue): boolean {
  return isObject(value) && value.type === "string" && Object.keys(value).length === 1;
}

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
  private readonly places: Places;

  private constructor(root: JsonValue, name: string, size: number, places: Places) {
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
    const root = yield* reader.copy(schema, undefined, 0);
    return new SchemaDocument(root, name, reader.values + reader.length, reader.places);
  }

  /** Returns the JSON pointer of an object or array of the schema, for messages. */
  where(value: object): string {
    return this.places.has(value) ? pathOf(this.name, this.places, this.places.get(value)) : this.name;
  }

  /** Resolves a reference. @throws HeddleError INVALID_ARGUMENT for an invalid reference, UNSUPPORTED for an external one */
  resolve(reference: JsonValue, where: () => string): JsonValue {
    if (typeof reference !== "string") throw invalidArgument(where(), "a reference such as #/$defs/name", reference);
    if (reference !== "#" && !reference.startsWith("#/"))
      throw unsupported(where(), `a reference that is not a JSON pointer (#/…), ${describe(reference)},`);
    const value = resolvePointer(reference, this.root) as JsonValue | undefined;
    if (value === undefined) throw invalidArgument(where(), "a location in the schema", reference);
    return value;
  }
}

/** A member of a copied array or object. */
interface Place {
  above: object;
  key: string | number;
}

/** Where each copied array and object is; undefined for the root. Paths are made for messages only. */
type Places = Map<object, Place | undefined>;

function pathOf(name: string, places: Places, place: Place | undefined): string {
  const parts: string[] = [];
  for (let at = place; at; at = places.get(at.above))
    parts.push(typeof at.key === "string" ? escapePointer(at.key) : String(at.key));
  return [`${name}#`, ...parts.reverse()].join("/");
}

/** Units of work for copying a value. */
const COPY = 60;

class SchemaReader {
  readonly places: Places = new Map();
  values = 0;
  length = 0;
  private readonly name: string;
  private readonly work: Work;

  constructor(name: string, work: Work) {
    this.name = name;
    this.work = work;
  }

  *copy(value: unknown, place: Place | undefined, depth: number): Slices<JsonValue> {
    if (typeof value !== "object" || value === null) return this.scalar(value, place);
    this.count();
    if (depth > limits.depth) throw tooLarge(this.name, limits.depth, "levels");
    const isArray = Array.isArray(value);
    if (!isArray && !isPlain(value)) throw invalidArgument(this.pathOf(place), "JSON", value);
    const out: JsonValue[] | JsonObject = isArray ? [] : Object.create(null);
    this.places.set(out, place);
    // Iterate arrays by index, so that holes are refused.
    const keys = isArray ? value.keys() : this.keysOf(value);
    for (const key of keys) {
      const member = (value as Record<string | number, unknown>)[key];
      if (member === undefined && !isArray) continue;
      const name = typeof key === "string" ? this.text(key, place) : key;
      const at = { above: out, key: name };
      // Scalars need no generator.
      (out as Record<string | number, JsonValue>)[name] =
        typeof member === "object" && member !== null
          ? yield* this.copy(member, at, depth + 1)
          : this.scalar(member, at);
      if (this.work.isDue) yield;
    }
    return out;
  }

  /** Returns an object's names. Throws at once if there are more names than the limit on all values. */
  private keysOf(value: object): string[] {
    const keys = Object.keys(value);
    if (keys.length > limits.values) throw this.tooManyValues();
    return keys;
  }

  private scalar(value: unknown, place: Place | undefined): JsonValue {
    this.count();
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "string") return this.text(value, place);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw invalidArgument(this.pathOf(place), "JSON", value);
  }

  private pathOf(place: Place | undefined): string {
    return pathOf(this.name, this.places, place);
  }

  private count(): void {
    if (++this.values > limits.values) throw this.tooManyValues();
    this.work.spend(COPY, this.name);
  }

  private tooManyValues(): HeddleError {
    return tooLarge(this.name, limits.values, "values");
  }

  private text(value: string, place: Place | undefined): string {
    this.length += value.length;
    if (this.length > limits.text) throw tooLarge(this.name, limits.text, "characters of text");
    // UTF-8 cannot encode lone surrogates, so no answer could contain them.
    if (!value.isWellFormed()) throw invalidArgument(this.pathOf(place), "text without lone surrogates", value);
    return value;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Plain objects of other realms have a different prototype, which is also at the top of its chain.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns a key as a part of a JSON pointer. A long key is shortened, because pointers are for messages. */
export function escapePointer(key: string): string {
  const short = key.length > 64 ? `${key.slice(0, 61)}…` : key;
  return short.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Returns the constraining keywords of a schema. @throws HeddleError UNSUPPORTED with the keyword's location */
export function keywordsOf(schema: JsonObject, where: () => string): Map<Keyword, JsonValue> {
  const out = new Map<Keyword, JsonValue>();
  for (const [key, value] of Object.entries(schema)) {
    if (key === "unevaluatedProperties") {
      // additionalProperties in the same schema evaluates all other properties.
      if (value === true || schema.additionalProperties !== undefined) continue;
      if (value !== false) throw unsupported(`${where()}/${key}`, "this keyword with a schema");
    }
    if (IS_KEYWORD.has(key)) out.set(key as Keyword, value);
    else if (ANNOTATIONS.has(key) || key.startsWith("x-")) continue;
    else if (HARMLESS.has(key)) {
      if (!HARMLESS.get(key)!(value)) throw unsupported(`${where()}/${escapePointer(key)}`, "this keyword");
    } else {
      const near = nearest(key, [...KEYWORDS, ...ANNOTATIONS, ...HARMLESS.keys()]);
      throw unsupported(
        `${where()}/${escapePointer(key)}`,
        `a keyword of this name${near ? ` (nearest: ${near})` : ""}`,
      );
    }
  }
  return out;
}

type Scalar = null | boolean | number | string;

/** Assigns numbers to JSON values, the same number to equal values. It ignores the order of an object's keys. */
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
