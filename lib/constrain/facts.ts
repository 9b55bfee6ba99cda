// Reads the facts of a schema from its keywords, and combines the facts of several schemas.
import { invalidArgument } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { isObject } from "../core/is-object.ts";
import { JSON_TYPES, type JsonType, typeOfValue } from "../core/json-type.ts";
import type { JsonValue } from "../io/json.ts";
import type { Bound } from "./numbers.ts";
import { escapePointer, type Keyword, ValueNumbers } from "./schema.ts";

/** A conjunction of schemas. An empty conjunction allows any value. */
export type All = readonly JsonValue[];

/** The constraints of one schema, without references and combining keywords. */
export interface Facts {
  /** Types that `type` allows; undefined for any. */
  types: ReadonlySet<JsonType> | undefined;
  /** Types to which the other keywords apply. */
  implied: ReadonlySet<JsonType>;
  /** Values that `enum` and `const` allow; undefined for any. */
  values: readonly JsonValue[] | undefined;
  minLength: number;
  maxLength: number;
  patterns: readonly { source: string; where: string }[];
  formats: readonly { name: string; where: string }[];
  low: Bound | undefined;
  high: Bound | undefined;
  multiples: readonly number[];
  properties: ReadonlyMap<string, All>;
  /**
   * Schemas of additional properties. Undefined without `additionalProperties`. Other properties are then allowed only
   * if `properties` is empty and `closed` is false.
   */
  additional: All | undefined;
  /** Whether `unevaluatedProperties` is false. */
  closed: boolean;
  required: readonly string[];
  minProperties: number;
  maxProperties: number;
  prefix: readonly All[];
  items: All | undefined;
  minItems: number;
  maxItems: number;
  /** The schema's location, for messages. */
  where: string;
}

const INFINITE = Number.POSITIVE_INFINITY;

/** The facts of a schema that accepts every value. */
export const noFacts: Facts = {
  types: undefined,
  implied: new Set(),
  values: undefined,
  minLength: 0,
  maxLength: INFINITE,
  patterns: [],
  formats: [],
  low: undefined,
  high: undefined,
  multiples: [],
  properties: new Map(),
  additional: undefined,
  closed: false,
  required: [],
  minProperties: 0,
  maxProperties: INFINITE,
  prefix: [],
  items: undefined,
  minItems: 0,
  maxItems: INFINITE,
  where: "schema#",
};

/** The type of values that a keyword constrains. */
const TYPE_OF_KEYWORD: Partial<Record<Keyword, JsonType>> = {
  properties: "object",
  required: "object",
  additionalProperties: "object",
  unevaluatedProperties: "object",
  minProperties: "object",
  maxProperties: "object",
  items: "array",
  prefixItems: "array",
  additionalItems: "array",
  minItems: "array",
  maxItems: "array",
  minLength: "string",
  maxLength: "string",
  pattern: "string",
  format: "string",
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
  multipleOf: "number",
};

/** Reads the facts of a schema from its keywords. @throws HeddleError INVALID_ARGUMENT for invalid values */
export function factsOf(keywords: ReadonlyMap<Keyword, JsonValue>, where: string, combiner: Combiner): Facts {
  const of = <T>(keyword: Keyword, read: (value: JsonValue, where: string) => T, otherwise: T): T => {
    const value = keywords.get(keyword);
    return value === undefined ? otherwise : read(value, `${where}/${keyword}`);
  };
  const types = of("type", typesOf, undefined);
  const implied = new Set<JsonType>();
  for (const keyword of keywords.keys()) {
    const type = TYPE_OF_KEYWORD[keyword];
    if (type) implied.add(type);
  }
  const values = of("enum", enumOf, undefined);
  const constant = keywords.get("const");
  // Before draft 2020-12, `items` could be the list of prefix items, and `additionalItems` the rest.
  const items = keywords.get("items");
  const listed = Array.isArray(items) ? items : undefined;
  const rest = listed ? keywords.get("additionalItems") : items;
  const numeric = !types || types.has("number") || types.has("integer");
  return {
    types,
    implied,
    values: constant === undefined ? values : values ? combiner.common(values, [constant]) : [constant],
    minLength: of("minLength", count, 0),
    maxLength: of("maxLength", count, INFINITE),
    patterns: of("pattern", (value, at) => [{ source: text(value, at), where: at }], []),
    // If strings are not allowed, `format` is only an annotation (such as int32 or double).
    formats:
      types && !types.has("string") ? [] : of("format", (value, at) => [{ name: text(value, at), where: at }], []),
    low: numeric
      ? tighter(bound(keywords, where, "minimum"), bound(keywords, where, "exclusiveMinimum"), 1)
      : undefined,
    high: numeric
      ? tighter(bound(keywords, where, "maximum"), bound(keywords, where, "exclusiveMaximum"), -1)
      : undefined,
    multiples: of("multipleOf", (value, at) => [positive(value, at)], []),
    properties: of("properties", propertiesOf, new Map()),
    additional: of("additionalProperties", (value, at) => [schemaAt(value, at)], undefined),
    closed: keywords.has("unevaluatedProperties"),
    required: of("required", requiredOf, []),
    minProperties: of("minProperties", count, 0),
    maxProperties: of("maxProperties", count, INFINITE),
    prefix: schemasOf(listed ?? keywords.get("prefixItems"), `${where}/${listed ? "items" : "prefixItems"}`).map(
      (s) => [s],
    ),
    items: rest === undefined ? undefined : [schemaAt(rest, `${where}/${listed ? "additionalItems" : "items"}`)],
    minItems: of("minItems", count, 0),
    maxItems: of("maxItems", count, INFINITE),
    where,
  };
}

/** Units of work for combining two schemas. */
const FACTS = 100;
/** Units of work for each property, item or value of combined schemas. */
const PART = 30;

/** Combines the facts of schemas. It drops duplicates, so that a schema combined with itself does not grow. */
export class Combiner {
  private readonly spend: (work: number) => void;
  private readonly numbers = new ValueNumbers();

  /** @param spend is called with the cost of each step before the step */
  constructor(spend: (work: number) => void) {
    this.spend = spend;
  }

  /** Returns the facts of a conjunction of two schemas. */
  both(a: Facts, b: Facts): Facts {
    if (a === noFacts || a === b) return b;
    if (b === noFacts) return a;
    this.spend(FACTS);
    return {
      types: a.types && b.types ? commonTypes(a.types, b.types) : (a.types ?? b.types),
      implied: new Set([...a.implied, ...b.implied]),
      values: a.values && b.values ? this.common(a.values, b.values) : (a.values ?? b.values),
      minLength: Math.max(a.minLength, b.minLength),
      maxLength: Math.min(a.maxLength, b.maxLength),
      patterns: this.joined(a.patterns, b.patterns, ({ source }) => source),
      formats: this.joined(a.formats, b.formats, ({ name }) => name),
      low: tighter(a.low, b.low, 1),
      high: tighter(a.high, b.high, -1),
      multiples: this.joined(a.multiples, b.multiples),
      properties: this.properties(a, b),
      additional: this.rest(a.additional, b.additional),
      closed: a.closed || b.closed,
      required: this.joined(a.required, b.required),
      minProperties: Math.max(a.minProperties, b.minProperties),
      maxProperties: Math.min(a.maxProperties, b.maxProperties),
      prefix: this.prefix(a, b),
      items: this.rest(a.items, b.items),
      minItems: Math.max(a.minItems, b.minItems),
      maxItems: Math.min(a.maxItems, b.maxItems),
      where: a.where,
    };
  }

  /** Returns the values that are in both lists. */
  common(a: readonly JsonValue[], b: readonly JsonValue[]): JsonValue[] {
    this.spend(PART * (a.length + b.length));
    const known = new Set(b.map((value) => this.numbers.of(value)));
    return a.filter((value) => known.has(this.numbers.of(value)));
  }

  private joined<T>(a: readonly T[], b: readonly T[], keyOf?: (of: T) => unknown): readonly T[] {
    if (b.length === 0 || a === b) return a;
    if (a.length === 0) return b;
    this.spend(PART * (a.length + b.length));
    if (!keyOf) return [...new Set([...a, ...b])];
    const known = new Set(a.map(keyOf));
    return [...a, ...b.filter((one) => !known.has(keyOf(one)))];
  }

  private rest(a: All | undefined, b: All | undefined): All | undefined {
    return a && b ? this.joined(a, b) : (a ?? b);
  }

  private properties(a: Facts, b: Facts): ReadonlyMap<string, All> {
    if (b.properties.size === 0 && !b.additional) return a.properties;
    if (a.properties.size === 0 && !a.additional) return b.properties;
    this.spend(PART * (a.properties.size + b.properties.size));
    const of = ({ properties, additional }: Facts, name: string): All => properties.get(name) ?? additional ?? [];
    const out = new Map<string, All>();
    for (const { properties } of [a, b])
      for (const name of properties.keys()) if (!out.has(name)) out.set(name, this.joined(of(a, name), of(b, name)));
    return out;
  }

  private prefix(a: Facts, b: Facts): readonly All[] {
    if (b.prefix.length === 0 && !b.items) return a.prefix;
    if (a.prefix.length === 0 && !a.items) return b.prefix;
    this.spend(PART * (a.prefix.length + b.prefix.length));
    const of = ({ prefix, items }: Facts, i: number): All => prefix[i] ?? items ?? [];
    const length = Math.max(a.prefix.length, b.prefix.length);
    return Array.from({ length }, (_, i) => this.joined(of(a, i), of(b, i)));
  }
}

/** Returns the types that a value may have. Without `type`, these are the types to which the keywords apply, or all types. */
export function typesAllowed({ types, implied, values }: Facts): ReadonlySet<JsonType> {
  if (types) return types;
  return implied.size > 0 && !values ? implied : new Set(JSON_TYPES);
}

/** Whether a value has one of the types. Integers are numbers too. */
export function hasType(types: ReadonlySet<JsonType>, value: JsonValue): boolean {
  const type = typeOfValue(value);
  return types.has(type) || (type === "integer" && types.has("number"));
}

/** Returns the schemas of a property that `properties` or `required` names. */
export function propertyOf({ properties, additional, closed }: Facts, name: string): All {
  return properties.get(name) ?? additional ?? (closed ? [false] : []);
}

function commonTypes(a: ReadonlySet<JsonType>, b: ReadonlySet<JsonType>): ReadonlySet<JsonType> {
  const has = (of: ReadonlySet<JsonType>, type: JsonType) => of.has(type) || (type === "integer" && of.has("number"));
  return new Set(JSON_TYPES.filter((type) => has(a, type) && has(b, type)));
}

/** Returns the stricter of two bounds. `inwards` is 1 for lower bounds, and −1 for upper bounds. */
function tighter(a: Bound | undefined, b: Bound | undefined, inwards: 1 | -1): Bound | undefined {
  if (!a || !b) return a ?? b;
  if (a.value === b.value) return a.exclusive ? a : b;
  return a.value * inwards > b.value * inwards ? a : b;
}

type BoundKeyword = "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum";

function bound(keywords: ReadonlyMap<Keyword, JsonValue>, where: string, keyword: BoundKeyword): Bound | undefined {
  const value = keywords.get(keyword);
  if (value === undefined) return undefined;
  if (typeof value !== "number") throw invalidArgument(`${where}/${keyword}`, "a number", value);
  return { value, exclusive: keyword.startsWith("exclusive") };
}

function count(value: JsonValue, where: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
    throw invalidArgument(where, "an integer of at least 0", value);
  return value;
}

function positive(value: JsonValue, where: string): number {
  if (typeof value !== "number" || value <= 0) throw invalidArgument(where, "a number above 0", value);
  return value;
}

function text(value: JsonValue, where: string): string {
  if (typeof value !== "string") throw invalidArgument(where, "a string", value);
  return value;
}

function typesOf(value: JsonValue, where: string): ReadonlySet<JsonType> {
  const names = Array.isArray(value) ? value : [value];
  for (const name of names)
    if (!(JSON_TYPES as readonly JsonValue[]).includes(name)) throw invalidArgument(where, JSON_TYPES.join(", "), name);
  return new Set(names as JsonType[]);
}

function enumOf(value: JsonValue, where: string): JsonValue[] {
  if (!Array.isArray(value)) throw invalidArgument(where, "an array", value);
  return value;
}

function schemaAt(value: JsonValue, where: string): JsonValue {
  if (typeof value !== "boolean" && !isObject(value)) throw invalidArgument(where, "a schema", value);
  return value;
}

/** Reads an array of schemas. */
export function schemasOf(value: JsonValue | undefined, where: string): JsonValue[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalidArgument(where, "an array of schemas", value);
  return value.map((schema, i) => schemaAt(schema, `${where}/${i}`));
}

function propertiesOf(value: JsonValue, where: string): ReadonlyMap<string, All> {
  if (!isObject(value)) throw invalidArgument(where, "an object of schemas", value);
  return new Map(
    Object.entries(value).map(([name, schema]) => [name, [schemaAt(schema, `${where}/${escapePointer(name)}`)]]),
  );
}

function requiredOf(value: JsonValue, where: string): string[] {
  if (!isStrings(value)) throw invalidArgument(where, "an array of names", value);
  return [...new Set(value)];
}
