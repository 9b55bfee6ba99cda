// A reference validator of the supported keywords, written from the specification.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Schema = boolean | { [keyword: string]: unknown };

const FORMATS: Record<string, RegExp> = {
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i,
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  email: /^[^@\s]{1,64}@[^@\s]+\.[a-z]{2,}$/i,
  ipv4: /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/,
};

function same(a: Json, b: Json): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(
      (key) => Object.hasOwn(b, key) && same((a as Record<string, Json>)[key]!, (b as Record<string, Json>)[key]!),
    )
  );
}

function isType(value: Json, type: string): boolean {
  switch (type) {
    case "integer":
      return typeof value === "number" && Number.isInteger(value);
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}

/** The supported keywords of a schema. */
interface Keywords {
  $ref?: string;
  type?: string | string[];
  const?: Json;
  enum?: Json[];
  allOf?: Schema[];
  anyOf?: Schema[];
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minItems?: number;
  maxItems?: number;
  prefixItems?: Schema[];
  items?: Schema;
  minProperties?: number;
  maxProperties?: number;
  required?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
}

/** Whether a value satisfies a schema. */
export function validate(value: Json, schema: Schema, root: Schema = schema): boolean {
  if (typeof schema === "boolean") return schema;
  const s = schema as Keywords;
  const check = (v: Json, of: Schema) => validate(v, of, root);
  if (s.$ref !== undefined) {
    let target: unknown = root;
    for (const part of s.$ref.split("/").slice(1)) target = (target as Record<string, unknown>)[part];
    if (!check(value, target as Schema)) return false;
  }
  if (s.type !== undefined && ![s.type].flat().some((type) => isType(value, type))) return false;
  if (s.const !== undefined && !same(value, s.const)) return false;
  if (s.enum !== undefined && !s.enum.some((one) => same(value, one))) return false;
  if (s.allOf !== undefined && !s.allOf.every((one) => check(value, one))) return false;
  if (s.anyOf !== undefined && !s.anyOf.some((one) => check(value, one))) return false;
  const within = (n: number, least = 0, most = Number.POSITIVE_INFINITY) => n >= least && n <= most;
  if (typeof value === "string") {
    if (!within([...value].length, s.minLength, s.maxLength)) return false;
    if (s.pattern !== undefined && !new RegExp(s.pattern, "u").test(value)) return false;
    return s.format === undefined || FORMATS[s.format]!.test(value);
  }
  if (typeof value === "number") {
    if (!within(value, s.minimum ?? Number.NEGATIVE_INFINITY, s.maximum)) return false;
    if (s.exclusiveMinimum !== undefined && value <= s.exclusiveMinimum) return false;
    if (s.exclusiveMaximum !== undefined && value >= s.exclusiveMaximum) return false;
    return s.multipleOf === undefined || Number.isInteger(value / s.multipleOf);
  }
  if (Array.isArray(value)) {
    const { prefixItems = [], items = true } = s;
    return (
      within(value.length, s.minItems, s.maxItems) && value.every((item, i) => check(item, prefixItems[i] ?? items))
    );
  }
  if (typeof value === "object" && value !== null) {
    const names = Object.keys(value);
    const { properties = {}, additionalProperties = true, required = [] } = s;
    return (
      within(names.length, s.minProperties, s.maxProperties) &&
      required.every((name) => Object.hasOwn(value, name)) &&
      names.every((name) =>
        check(value[name]!, Object.hasOwn(properties, name) ? properties[name]! : additionalProperties),
      )
    );
  }
  return true;
}
