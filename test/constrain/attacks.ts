// Schemas that try to make compilation expensive. Each is below 4 MB as JSON.

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
  "allOf doubled 40 times, a pattern as leaf": () => doubled({ type: "string", pattern: "^a+$" }),
  "allOf doubled 40 times, a multiple as leaf": () => doubled({ type: "integer", multipleOf: 3 }),
  "allOf doubled 40 times, a format as leaf": () => doubled({ format: "uuid" }),
  "allOf doubled 40 times, properties as leaf": () => doubled({ properties: { a: { type: "string" } } }),
  "allOf doubled 40 times, items as leaf": () => doubled({ prefixItems: [{ type: "string" }], items: false }),
  "allOf doubled 40 times, additionalProperties as leaf": () => doubled({ additionalProperties: { minLength: 1 } }),
  "allOf of thousands, each with rules for other properties": () => ({
    type: "object",
    allOf: times(8000, (i) => ({ additionalProperties: { minLength: i } })),
  }),
  "allOf of thousands, each with rules for all items": () => ({
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
  "allOf of hundreds of properties each": () => ({
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
  "alternatives of every kind beside properties": () => ({
    properties: named(500, () => ({ type: "string" })),
    anyOf: times(250, (i) => ({ required: [`d${i}`] })),
  }),
  "required lists that are joined": () => ({
    allOf: times(200, (i) => ({ required: times(200, (k) => `name ${i} ${k}`) })),
  }),
  // References.
  "a chain of references for thousands of properties": () => ({
    type: "object",
    properties: named(6000, () => ref(0), "p"),
    $defs: { ...named(12_000, (i) => ref(i + 1)), d12000: { type: "string" } },
  }),
  "a chain of references, in words that say nothing": () =>
    tower(12_000, { type: "string" }, (next) => ({ ...next, title: "t" })),
  "a chain of allOf": () => tower(12_000, { type: "string" }, (next) => ({ allOf: [next] })),
  "a chain of anyOf": () => tower(12_000, { type: "string" }, (next) => ({ anyOf: [next] })),
  "a circle of thousands of references": () => ({
    $ref: "#/$defs/d0",
    $defs: named(20_000, (i) => ref((i + 1) % 20_000)),
  }),
  "a circle of objects, each of all others": () => ({
    ...ref(0),
    $defs: named(150, () => ({ type: "object", properties: named(150, (k) => ref(k), "p") })),
  }),
  "a circle of alternatives, each of all others within arrays": () => ({
    ...ref(0),
    $defs: named(150, (i) => ({ type: "array", minItems: i, items: { anyOf: times(150, (k) => ref(k)) } })),
  }),
  "references of a megabyte": () => ({ $ref: `#${"/a".repeat(500_000)}` }),
  "references of percent signs": () => ({ anyOf: times(100, () => ({ $ref: `#/${"%41".repeat(5000)}` })) }),
  "allOf intersections of many pairs": () => ({
    properties: named(4000, (i) => ({ allOf: [ref(i % 100), ref(100 + (i % 99))] }), "p"),
    $defs: named(200, (i) => ({ properties: named(20, (k) => ({ minLength: i + k })) })),
  }),
  // Values.
  "two hundred thousand values": () => ({ enum: times(200_000, (i) => i) }),
  "half a million names": () => named(400_000, () => 0, "n"),
  "half a million properties": () => ({ properties: named(300_000, () => true, "") }),
  "values that begin alike": () => ({ enum: times(1900, (i) => "a".repeat(i)) }),
  "values that begin alike, as arrays": () => ({ enum: times(20_000, (i) => [i]) }),
  "a value of 45,000 parts": () => ({ const: times(45_000, () => 0) }),
  "a value of 2 MB": () => ({ const: "x".repeat(2_000_000) }),
  "a value of 2 MB of control characters": () => ({ const: "\0".repeat(650_000) }),
  "values nested deep around a large text, compared": () => ({
    enum: [nestedConst("\0".repeat(300_000)), 1],
    allOf: [{ enum: [nestedConst("\u0001".repeat(300_000)), 1] }],
  }),
  "values beside a pattern": () => ({
    type: "string",
    pattern: "^[\\s\\S]*[^\\u{4e00}-\\u{4eff}]{0,50}z$",
    enum: times(150, (i) => `${"é".repeat(10_000)}${i}z`),
  }),
  "values beside alternatives": () => ({
    type: "string",
    enum: times(5000, (i) => `value ${i}`),
    anyOf: times(200, (i) => ({ maxLength: 100 + i })),
  }),
  "values of many lists": () => ({ allOf: times(100, () => ({ enum: times(400, (i) => `value ${i}`) })) }),
  "names of a kilobyte beside other names": () => ({
    properties: named(1800, () => true, "x".repeat(1000)),
    additionalProperties: true,
  }),
  "names of every first letter beside counted others": () => ({
    properties: named(500, () => true, "name "),
    additionalProperties: true,
    maxProperties: 300,
  }),
  "required names by the thousand, counted": () => ({
    type: "object",
    required: times(20_000, (i) => `n${i}`),
    minProperties: 9,
  }),
  "optional names by the thousand": () => ({ type: "object", properties: named(16_000, (i) => ({ const: i }), "") }),
  // Patterns.
  "a pattern of exponential states": () => ({ type: "string", pattern: "^(a|b)*a(a|b){20}$" }),
  "a pattern of nested repeats": () => ({ type: "string", pattern: "^((((((a{9}){9}){9}){9}){9}){9})$" }),
  "a pattern of nothing, often": () => ({ type: "string", pattern: "^((a|){99}){99}$" }),
  "a pattern of many ranges, often": () => ({ type: "string", pattern: `^[${ranges(1000)}]{1,900}$` }),
  "a pattern of complements": () => ({ type: "string", pattern: `[${"\\S\\W\\D".repeat(1600)}]` }),
  "patterns of complements by the hundred": () => ({
    properties: named(190, (i) => ({ type: "string", pattern: `[${"\\S\\W\\D".repeat(1600)}]{${i}}` })),
  }),
  "patterns of thousands of classes by the hundred": () => ({
    properties: named(190, (i) => ({ type: "string", pattern: `${"[^\\w]".repeat(1600)}${i}` })),
  }),
  "a pattern of groups": () => ({ type: "string", pattern: `${"(".repeat(90)}a${")*".repeat(90)}` }),
  "a pattern of alternatives": () => ({ type: "string", pattern: times(3000, (i) => (i % 7).toString()).join("|") }),
  "a pattern of any characters, counted": () => ({ type: "string", pattern: "^.{0,16000}$" }),
  "a pattern with counted lengths": () => ({ type: "string", pattern: "^.*a.{10}", minLength: 500, maxLength: 5000 }),
  "thousands of patterns": () => ({
    properties: named(3000, (i) => ({ type: "string", pattern: `^.{0,50}x${i}` })),
  }),
  "thousands of short patterns": () => ({ properties: named(12_000, (i) => ({ type: "string", pattern: `^a${i}$` })) }),
  "intersections of patterns": () => ({
    type: "string",
    allOf: times(12, (i) => ({ pattern: `^(?:[^a]*a){${i + 2}}[^a]*$` })),
  }),
  "formats by the thousand": () => ({
    properties: named(9000, (i) => ({ type: "string", format: ["uri", "ipv6", "email", "hostname"][i % 4] })),
  }),
  "formats with lengths of their own": () => ({
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
  "a prefix of thousands of items": () => ({ type: "array", prefixItems: times(20_000, (i) => ({ minLength: i })) }),
  "the same prefix, joined with itself": () => ({
    type: "array",
    allOf: times(30, (i) => ({ prefixItems: times(500, (k) => ({ minLength: i + k })) })),
  }),
  "strings of different lengths, all at once": () => ({
    anyOf: times(12_000, (i) => ({ type: "string", maxLength: 9 + i })),
  }),
  "arrays of different lengths, all at once": () => ({
    anyOf: times(6000, (i) => ({ type: "array", items: { $ref: "#" }, maxItems: 9 + i })),
  }),
  "strings of different patterns, all at once": () => ({
    anyOf: times(800, (i) => ({ type: "string", pattern: `^[^q]*q.{${i % 20}}z{${1 + (i % 9)}}${i}$` })),
  }),
  "numbers of different bounds, all at once": () => ({
    anyOf: times(400, (i) => ({ type: "integer", minimum: i, maximum: 10 ** 9 + i })),
  }),
  "everything at every place": () => ({
    anyOf: times(500, (i) => ({
      type: "object",
      minProperties: i % 7,
      additionalProperties: { $ref: "#" },
    })),
  }),
};
