// Schemas that try to make compilation expensive. Each is below 5 MB as JSON.

type Schema = unknown;

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const named = (count: number, make: (i: number) => unknown, name = "d"): Record<string, unknown> =>
  Object.fromEntries(times(count, (i) => [`${name}${i}`, make(i)]));
const ref = (i: number) => ({ $ref: `#/$defs/d${i}` });

/** `$defs` that each refer to the next, down to a leaf. */
const tower = (levels: number, leaf: Schema, make: (next: { $ref: string }, i: number) => Schema): Schema => ({
  ...ref(0),
  $defs: { ...named(levels, (i) => make(ref(i + 1), i)), [`d${levels}`]: leaf },
});

/** Each level contains the next one twice, through distinct objects. */
const doubled = (leaf: Schema, levels = 40): Schema =>
  tower(levels, leaf, (next) => ({ allOf: [{ allOf: [next] }, { title: "again", ...next }] }));

const nestedConst = (text: string): unknown => {
  let value: unknown = text;
  for (let i = 0; i < 120; i++) value = [value, i];
  return value;
};

const ranges = (count: number) => times(count, (i) => `\\u{${(0x4e00 + 2 * i).toString(16)}}`).join("");

/** The hostile schemas by name. */
export const attacks: Readonly<Record<string, () => Schema>> = {
  // Products and doublings.
  "allOf doubled 28 times": () => tower(28, { type: "string" }, (next) => ({ allOf: [next, next] })),
  "allOf doubled 40 times, with a pattern as leaf": () => doubled({ type: "string", pattern: "^a+$" }),
  "allOf doubled 40 times, with multipleOf as leaf": () => doubled({ type: "integer", multipleOf: 3 }),
  "allOf doubled 40 times, with a format as leaf": () => doubled({ format: "uuid" }),
  "allOf doubled 40 times, with properties as leaf": () => doubled({ properties: { a: { type: "string" } } }),
  "allOf doubled 40 times, with items as leaf": () => doubled({ prefixItems: [{ type: "string" }], items: false }),
  "allOf doubled 40 times, with additionalProperties as leaf": () =>
    doubled({ additionalProperties: { minLength: 1 } }),
  "allOf of thousands of additionalProperties": () => ({
    type: "object",
    allOf: times(8000, (i) => ({ additionalProperties: { minLength: i } })),
  }),
  "allOf of thousands of items": () => ({
    type: "array",
    allOf: times(8000, (i) => ({ items: { minLength: i } })),
  }),
  "allOf of thousands of patterns": () => ({ type: "string", allOf: times(8000, (i) => ({ pattern: `x${i}` })) }),
  "allOf of thousands of multiples": () => ({
    type: "integer",
    allOf: times(10_000, (i) => ({ multipleOf: 10 ** 13 + i })),
  }),
  "allOf of thousands of multiples between bounds": () => ({
    type: "integer",
    minimum: 0,
    maximum: 1e20,
    allOf: times(10_000, (i) => ({ multipleOf: 10 ** 13 + 2 * i + 1 })),
  }),
  "allOf of a hundred objects with a hundred properties each": () => ({
    allOf: times(100, (i) => ({ properties: named(100, () => ({ minLength: i })) })),
  }),
  "anyOf products of 256 alternatives with properties each": () => ({
    properties: named(3000, (i) => ({ minLength: i })),
    allOf: times(8, (i) => ({ anyOf: [{ minProperties: i }, { maxProperties: 100 + i }] })),
  }),
  "anyOf of the same large alternatives, thousands of times": () => ({
    type: "object",
    anyOf: times(10_000, () => ref(0)),
    $defs: { d0: { anyOf: times(256, (i) => ({ minProperties: i })), title: "x", type: "object" } },
  }),
  "alternatives of required names beside properties": () => ({
    properties: named(500, () => ({ type: "string" })),
    anyOf: times(250, (i) => ({ required: [`d${i}`] })),
  }),
  "allOf of many required lists": () => ({
    allOf: times(200, (i) => ({ required: times(200, (k) => `name ${i} ${k}`) })),
  }),
  // References.
  "a chain of references for thousands of properties": () => ({
    type: "object",
    properties: named(6000, () => ref(0), "p"),
    $defs: { ...named(12_000, (i) => ref(i + 1)), d12000: { type: "string" } },
  }),
  "a chain of references beside titles": () => tower(12_000, { type: "string" }, (next) => ({ ...next, title: "t" })),
  "a chain of allOf": () => tower(12_000, { type: "string" }, (next) => ({ allOf: [next] })),
  "a chain of anyOf": () => tower(12_000, { type: "string" }, (next) => ({ anyOf: [next] })),
  "a cycle of thousands of references": () => ({
    $ref: "#/$defs/d0",
    $defs: named(20_000, (i) => ref((i + 1) % 20_000)),
  }),
  "objects that each refer to all others": () => ({
    ...ref(0),
    $defs: named(150, () => ({ type: "object", properties: named(150, (k) => ref(k), "p") })),
  }),
  "arrays whose items may be any of the other arrays": () => ({
    ...ref(0),
    $defs: named(150, (i) => ({ type: "array", minItems: i, items: { anyOf: times(150, (k) => ref(k)) } })),
  }),
  "a reference of a megabyte": () => ({ $ref: `#${"/a".repeat(500_000)}` }),
  "references of percent signs": () => ({ anyOf: times(100, () => ({ $ref: `#/${"%41".repeat(5000)}` })) }),
  "allOf intersections of many pairs": () => ({
    properties: named(4000, (i) => ({ allOf: [ref(i % 100), ref(100 + (i % 99))] }), "p"),
    $defs: named(200, (i) => ({ properties: named(20, (k) => ({ minLength: i + k })) })),
  }),
  // Values.
  "an enum of 200,000 values": () => ({ enum: times(200_000, (i) => i) }),
  "400,000 unknown keywords": () => named(400_000, () => 0, "n"),
  "300,000 properties": () => ({ properties: named(300_000, () => true, "") }),
  "enum values with common prefixes": () => ({ enum: times(1900, (i) => "a".repeat(i)) }),
  "enum values with common prefixes, as arrays": () => ({ enum: times(20_000, (i) => [i]) }),
  "a constant array of 45,000 elements": () => ({ const: times(45_000, () => 0) }),
  "a constant of 2 MB": () => ({ const: "x".repeat(2_000_000) }),
  "a constant of 650,000 control characters": () => ({ const: "\0".repeat(650_000) }),
  "enum values of deeply nested large texts in allOf": () => ({
    enum: [nestedConst("\0".repeat(300_000)), 1],
    allOf: [{ enum: [nestedConst("\u0001".repeat(300_000)), 1] }],
  }),
  "an enum beside a pattern": () => ({
    type: "string",
    pattern: "^[\\s\\S]*[^\\u{4e00}-\\u{4eff}]{0,50}z$",
    enum: times(150, (i) => `${"é".repeat(10_000)}${i}z`),
  }),
  "an enum beside alternatives": () => ({
    type: "string",
    enum: times(5000, (i) => `value ${i}`),
    anyOf: times(200, (i) => ({ maxLength: 100 + i })),
  }),
  "allOf of many enums": () => ({ allOf: times(100, () => ({ enum: times(400, (i) => `value ${i}`) })) }),
  "property names of a kilobyte beside additional properties": () => ({
    properties: named(1800, () => true, "x".repeat(1000)),
    additionalProperties: true,
  }),
  "hundreds of properties beside additional ones with a maximum count": () => ({
    properties: named(500, () => true, "name "),
    additionalProperties: true,
    maxProperties: 300,
  }),
  "thousands of required names with a minimum count": () => ({
    type: "object",
    required: times(20_000, (i) => `n${i}`),
    minProperties: 9,
  }),
  "thousands of optional properties": () => ({ type: "object", properties: named(16_000, (i) => ({ const: i }), "") }),
  // Patterns.
  "a pattern with exponentially many states": () => ({ type: "string", pattern: "^(a|b)*a(a|b){20}$" }),
  "a pattern of nested repeats": () => ({ type: "string", pattern: "^((((((a{9}){9}){9}){9}){9}){9})$" }),
  "a pattern of repeated empty matches": () => ({ type: "string", pattern: "^((a|){99}){99}$" }),
  "a repeated class of many ranges": () => ({ type: "string", pattern: `^[${ranges(1000)}]{1,900}$` }),
  "a pattern of complements": () => ({ type: "string", pattern: `[${"\\S\\W\\D".repeat(1600)}]` }),
  "hundreds of patterns of complements": () => ({
    properties: named(190, (i) => ({ type: "string", pattern: `[${"\\S\\W\\D".repeat(1600)}]{${i}}` })),
  }),
  "hundreds of patterns of thousands of classes": () => ({
    properties: named(190, (i) => ({ type: "string", pattern: `${"[^\\w]".repeat(1600)}${i}` })),
  }),
  "a pattern of nested groups": () => ({ type: "string", pattern: `${"(".repeat(90)}a${")*".repeat(90)}` }),
  "a pattern of alternatives": () => ({ type: "string", pattern: times(3000, (i) => (i % 7).toString()).join("|") }),
  "a pattern of up to 16,000 characters": () => ({ type: "string", pattern: "^.{0,16000}$" }),
  "a pattern with counted lengths": () => ({ type: "string", pattern: "^.*a.{10}", minLength: 500, maxLength: 5000 }),
  "thousands of patterns": () => ({
    properties: named(3000, (i) => ({ type: "string", pattern: `^.{0,50}x${i}` })),
  }),
  "thousands of short patterns": () => ({ properties: named(12_000, (i) => ({ type: "string", pattern: `^a${i}$` })) }),
  "intersections of patterns": () => ({
    type: "string",
    allOf: times(12, (i) => ({ pattern: `^(?:[^a]*a){${i + 2}}[^a]*$` })),
  }),
  "thousands of formats": () => ({
    properties: named(9000, (i) => ({ type: "string", format: ["uri", "ipv6", "email", "hostname"][i % 4] })),
  }),
  "thousands of formats with different lengths": () => ({
    properties: named(5000, (i) => ({ type: "string", format: "uri", maxLength: 20 + i })),
  }),
  // Numbers.
  "a multiple of a large prime": () => ({ type: "integer", multipleOf: 999_999_937 }),
  "thousands of bounds": () => ({
    properties: named(10_000, (i) => ({ type: "integer", minimum: i, maximum: 10 ** 14 + 7 * i })),
  }),
  "thousands of bounds with decimals": () => ({
    properties: named(10_000, (i) => ({
      type: "number",
      exclusiveMinimum: -123_456.789_012_3 - i,
      exclusiveMaximum: 987_654.321_098_7 + i,
    })),
  }),
  "thousands of multiples between bounds": () => ({
    properties: named(5000, (i) => ({ type: "integer", minimum: i, maximum: 4000 * 7 + i, multipleOf: 7 })),
  }),
  "thousands of multiples": () => ({
    properties: named(5000, (i) => ({ type: "integer", multipleOf: 100 + i })),
  }),
  // Counts.
  "counts of billions": () => ({
    type: "array",
    minItems: 1e9,
    maxItems: 1e15,
    items: { type: "string", minLength: 1e9, maxLength: 1e300 },
  }),
  "prefixItems of thousands of items": () => ({ type: "array", prefixItems: times(20_000, (i) => ({ minLength: i })) }),
  "allOf of prefixItems": () => ({
    type: "array",
    allOf: times(30, (i) => ({ prefixItems: times(500, (k) => ({ minLength: i + k })) })),
  }),
  "anyOf of strings with different lengths": () => ({
    anyOf: times(12_000, (i) => ({ type: "string", maxLength: 9 + i })),
  }),
  "anyOf of arrays with different lengths": () => ({
    anyOf: times(6000, (i) => ({ type: "array", items: { $ref: "#" }, maxItems: 9 + i })),
  }),
  "anyOf of strings with different patterns": () => ({
    anyOf: times(800, (i) => ({ type: "string", pattern: `^[^q]*q.{${i % 20}}z{${1 + (i % 9)}}${i}$` })),
  }),
  "anyOf of integers with different bounds": () => ({
    anyOf: times(400, (i) => ({ type: "integer", minimum: i, maximum: 10 ** 9 + i })),
  }),
  "thousands of items that share hundreds of alternatives": () => ({
    $defs: { alternatives: { anyOf: times(256, () => ({ type: ["null", "boolean"] })) } },
    type: "array",
    allOf: [{ items: { $ref: "#/$defs/alternatives" } }, { prefixItems: times(19_000, () => ({ allOf: [] })) }],
  }),
  "anyOf of objects that each contain the whole schema": () => ({
    anyOf: times(500, (i) => ({
      type: "object",
      minProperties: i % 7,
      additionalProperties: { $ref: "#" },
    })),
  }),
};
