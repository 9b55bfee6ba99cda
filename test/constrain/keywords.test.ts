// The values that each keyword allows, alone and combined with others.
import { describe, expect, test } from "vitest";
import { Automaton, compileRegex, compileSchema } from "../../lib/constrain/index.ts";

function accepts(automaton: Automaton, text: string): boolean {
  return automaton.read(automaton.start, Buffer.from(text))?.whole === true;
}

type Case = [name: string, schema: unknown, accepted: string[], refused: string[]];

const cases: Case[] = [
  ["keywords for strings imply the type string", { minLength: 1 }, ['"a"'], ['""', "1", "null"]],
  [
    "an integer has no decimal point",
    { type: "integer" },
    ["0", "-7", "123456789012345678901"],
    ["01", "1.0", "1e3", "-", "+1"],
  ],
  [
    "numbers",
    { type: "number" },
    ["0", "-0", "1.50", "1e5", "1E-7", "5e-324", "9.9e307"],
    ["1e400", "1.", ".5", "01", "NaN", "0x1"],
  ],
  [
    "bounds",
    { type: "number", minimum: -1.5, exclusiveMaximum: 2 },
    ["-1.5", "-1.50", "0", "1.9999", "-0.1"],
    ["-1.51", "2", "2.0", "-2", "1e0"],
  ],
  ["a bound of zero", { type: "number", exclusiveMinimum: 0 }, ["0.001", "1", "12.5"], ["0", "0.0", "-1", "-0"]],
  [
    "negative bounds",
    { type: "number", minimum: -20.25, maximum: -3 },
    ["-3", "-3.0", "-20.25", "-10", "-4.5"],
    ["-2.99", "-20.26", "3", "-30"],
  ],
  ["very large bounds", { type: "number", minimum: -1e300, maximum: 1e300 }, ["5", "-12.5"], ["1e2"]],
  [
    "bounds of integers",
    { type: "integer", exclusiveMinimum: 9, maximum: 1000.5 },
    ["10", "999", "1000"],
    ["9", "1001", "-10"],
  ],
  [
    "bounds of 2^63",
    { type: "integer", minimum: 0, maximum: 2 ** 63 },
    ["9223372036854775807"],
    ["9223372036854775809", "-1"],
  ],
  ["multipleOf", { type: "number", multipleOf: 0.01 }, ["1.25", "3", "-0.5"], ["1.255"]],
  ["decimal multiples in enum", { enum: [0.3, 0.35], multipleOf: 0.1 }, ["0.3"], ["0.35"]],
  [
    "decimal multiples with two places in enum",
    { enum: [0.29, 1.1, 1.101], multipleOf: 0.01 },
    ["0.29", "1.1"],
    ["1.101"],
  ],
  [
    "multiples of large numbers in enum",
    { enum: [1e22, 7e22, -14, 0], multipleOf: 7 },
    ["7e+22", "-14", "0"],
    ["1e+22"],
  ],
  ["multiples of tiny numbers in enum", { enum: [1e300, 5e-324], multipleOf: 5e-324 }, ["1e+300", "5e-324"], ["0"]],
  ["multipleOf an integer", { type: "integer", multipleOf: 12, minimum: 0 }, ["0", "144"], ["13", "-12"]],
  [
    "multipleOf a larger integer",
    { type: "integer", multipleOf: 1024, minimum: 0, maximum: 86_400 },
    ["0", "82944"],
    ["1025", "-1024"],
  ],
  [
    "multipleOf with few multiples between the bounds",
    { type: "integer", multipleOf: 3600, minimum: -7200, exclusiveMaximum: 86_400 },
    ["0", "3600", "82800", "-7200", "-3600"],
    ["86400", "-10800", "1800", "-0", "03600"],
  ],
  [
    "multipleOf large integers between bounds",
    { type: "number", allOf: [{ multipleOf: 6e13 }, { multipleOf: 9e13 }], minimum: 1, maximum: 2e15 },
    ["180000000000000", "1980000000000000"],
    ["0", "90000000000000", "2160000000000000"],
  ],
  [
    "multipleOf with one multiple between the bounds",
    { type: "integer", multipleOf: 1e6, minimum: 1, maximum: 1e6 },
    ["1000000"],
    ["0", "1", "100000"],
  ],
  // Doubles cannot hold every 16-digit integer: 9020108010105415 is parsed as …416, which is not a multiple of 5.
  [
    "multipleOf an integer beyond exact doubles",
    { type: "integer", multipleOf: 5 },
    ["-999999999999995"],
    ["9020108010105415"],
  ],
  [
    "items",
    {
      type: "array",
      prefixItems: [{ const: 1 }, { type: "string" }],
      items: { type: "null" },
      minItems: 1,
      maxItems: 4,
    },
    ["[1]", '[1,"a"]', '[1,"a",null,null]'],
    ["[]", "[2]", '[1,"a",1]', '[1,"a",null,null,null]'],
  ],
  [
    "items and additionalItems of draft 7",
    { type: "array", items: [{ const: 1 }], additionalItems: false },
    ["[]", "[1]"],
    ["[1,1]"],
  ],
  [
    "maxItems less than the number of prefixItems",
    { type: "array", prefixItems: [true, true, true], maxItems: 2, minItems: 2 },
    ["[1,2]"],
    ["[1]", "[1,2,3]"],
  ],
  [
    "minProperties and maxProperties",
    { type: "object", properties: { a: {}, b: {}, c: {} }, minProperties: 2, maxProperties: 2 },
    ['{"a":1,"b":2}', '{"a":1,"c":2}', '{"b":1,"c":2}'],
    ["{}", '{"a":1}', '{"c":1}', '{"a":1,"b":2,"c":3}'],
  ],
  [
    "minProperties and maxProperties of additional properties",
    { type: "object", additionalProperties: { type: "null" }, minProperties: 1, maxProperties: 2 },
    ['{"x":null}', '{"x":null,"y":null}'],
    ["{}", '{"x":1}', '{"x":null,"y":null,"z":null}'],
  ],
  [
    "required names without a schema",
    { type: "object", required: ["b", "a"], properties: { a: { const: 1 } } },
    ['{"a":1,"b":[true]}'],
    ['{"a":1}', '{"b":2,"a":1}'],
  ],
  [
    "properties without additionalProperties exclude others",
    { properties: { a: true } },
    ["{}", '{"a":{"b":1}}'],
    ['{"x":1}', "1"],
  ],
  [
    "additionalProperties: true allows others",
    { properties: { a: { const: 1 } }, additionalProperties: true },
    ['{"x":1}', '{"a":1,"x":2}'],
    ['{"a":2}', '{"x":1,"a":1}'],
  ],
  ["a property with the schema false", { properties: { a: false, b: {} } }, ['{"b":1}', "{}"], ['{"a":1}']],
  [
    "allOf",
    {
      allOf: [
        { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
        { properties: { b: { type: "string" } } },
      ],
      properties: { a: { minimum: 3 } },
    },
    ['{"a":3,"b":""}', '{"a":4}'],
    ['{"a":2}', '{"b":""}'],
  ],
  [
    "allOf with closed objects",
    {
      allOf: [
        { properties: { a: {} }, additionalProperties: false },
        { properties: { b: {} }, additionalProperties: true },
      ],
    },
    ['{"a":1}', "{}"],
    ['{"b":1}'],
  ],
  [
    "unevaluatedProperties: false without properties allows none",
    { type: "object", unevaluatedProperties: false },
    ["{}"],
    ['{"a":1}'],
  ],
  [
    "unevaluatedProperties: false beside allOf allows its properties",
    {
      allOf: [{ properties: { a: { const: 1 } } }, { properties: { b: {} }, required: ["b"] }],
      unevaluatedProperties: false,
    },
    ['{"a":1,"b":2}', '{"b":2}'],
    ['{"a":1}', '{"b":2,"c":3}', '{"a":2,"b":2}'],
  ],
  [
    "unevaluatedProperties: false rejects every object if a required property has no schema",
    { type: ["object", "null"], properties: { a: {} }, required: ["b"], unevaluatedProperties: false },
    ["null"],
    ['{"b":1}', '{"a":1,"b":1}'],
  ],
  [
    "unevaluatedProperties has no effect beside additionalProperties",
    { type: "object", additionalProperties: { type: "integer" }, unevaluatedProperties: false },
    ['{"a":1}'],
    ['{"a":""}'],
  ],
  [
    "types and bounds in allOf",
    {
      allOf: [
        { type: ["number", "string"] },
        { type: ["integer", "null"] },
        { minimum: 2 },
        { maximum: 5, exclusiveMinimum: 2 },
      ],
    },
    ["3", "5"],
    ["2", "6", "3.5", "null"],
  ],
  [
    "enums in allOf",
    { allOf: [{ enum: [1, 2, { a: 1, b: 2 }] }, { enum: [{ b: 2, a: 1 }, 2] }] },
    ["2", '{"a":1,"b":2}'],
    ["1"],
  ],
  [
    "enum beside other keywords",
    { enum: ["a", "bb", 1, 7, null], type: ["string", "integer"], minLength: 2, maximum: 5 },
    ['"bb"', "1"],
    ['"a"', "7", "null"],
  ],
  [
    "anyOf beside other keywords",
    { type: "object", properties: { a: {}, b: {} }, anyOf: [{ required: ["a"] }, { required: ["b"] }] },
    ['{"a":1}', '{"b":1}', '{"a":1,"b":1}'],
    ["{}"],
  ],
  ["oneOf is treated as anyOf", { oneOf: [{ type: "integer" }, { type: "number" }] }, ["1", "1.5"], ["null"]],
  [
    "$ref beside other keywords",
    { $defs: { n: { type: "integer" } }, properties: { a: { $ref: "#/$defs/n", minimum: 5 } } },
    ['{"a":5}'],
    ['{"a":4}'],
  ],
  [
    "$ref with an escaped JSON pointer",
    { definitions: { "a/b~c": { const: 1 } }, properties: { x: { $ref: "#/definitions/a~1b~0c" } } },
    ['{"x":1}'],
    ['{"x":2}'],
  ],
  [
    "allOf of two recursive schemas",
    {
      $defs: {
        a: { type: "array", items: { $ref: "#/$defs/a" } },
        b: { type: "array", items: { $ref: "#/$defs/b" }, maxItems: 1 },
      },
      allOf: [{ $ref: "#/$defs/a" }, { $ref: "#/$defs/b" }],
    },
    ["[]", "[[[]]]"],
    ["[[],[]]", "[1]"],
  ],
  [
    "allOf of patterns",
    { type: "string", allOf: [{ pattern: "a" }, { pattern: "^.{3}$" }, { pattern: "b$" }] },
    ['"aab"', '"xab"'],
    ['"aaa"', '"ab"', '"axbb"'],
  ],
  [
    "a pattern of characters that JSON escapes",
    { type: "string", pattern: '^["\\\\\\n]\\u0001$' },
    ['"\\n\\u0001"', '"\\"\\u0001"'],
    ['"n\\u0001"'],
  ],
  [
    "a pattern with a length",
    { type: "string", pattern: "^(?:ab)+", minLength: 3, maxLength: 4 },
    ['"abab"', '"abx"'],
    ['"ab"', '"ababa"'],
  ],
  [
    "lengths count characters, not UTF-16 units",
    { type: "string", minLength: 1, maxLength: 1 },
    ['"😀"', '"\\ud83d\\ude00"', '"\\n"', '"日"'],
    ['""', '"ab"', '"\\ud83d"', '"\\ude00"'],
  ],
  [
    "formats",
    { type: "string", format: "date-time" },
    ['"2024-02-29T23:59:59Z"', '"2000-02-29T00:00:00.123+02:00"'],
    ['"2023-02-29T00:00:00Z"', '"2024-04-31T00:00:00Z"', '"2024-01-01"', '"1900-02-29T00:00:00Z"'],
  ],
  ["formats of numbers are ignored", { type: "integer", format: "int32" }, ["1"], ["1.5"]],
  [
    "annotations are ignored",
    {
      title: "t",
      description: "d",
      default: 1,
      examples: [1],
      $comment: "c",
      "x-own": {},
      deprecated: true,
      type: "null",
    },
    ["null"],
    ["1"],
  ],
  [
    "whitespace",
    { type: "object", properties: { a: { type: "array", items: { type: "integer" } }, b: true } },
    ['{ "a": [ 1, 2 ], "b": {} }', '{\n  "a": [\n    1,\n    2\n  ]\n}', '{\n\t"a": []\n}'],
    [
      '{"a" : []}',
      '{"a":  []}',
      '{  "a": []}',
      '{\n\n"a": []}',
      ' {"a":[]}',
      '{"a":[]} ',
      `{\n${" ".repeat(21)}"a":[]}`,
    ],
  ],
  ["items: false", { type: "array", items: false }, ["[]"], ["[1]"]],
];

describe("keywords", () => {
  test.each(cases)("allow exactly the valid values: %s", (_name, schema, accepted, refused) => {
    const automaton = new Automaton(compileSchema(schema));
    expect(accepted.filter((text) => !accepts(automaton, text))).toEqual([]);
    expect(refused.filter((text) => accepts(automaton, text))).toEqual([]);
  });
});

describe("regular expressions", () => {
  const texts = [
    "",
    "a",
    "b",
    "ab",
    "abc",
    "aab",
    "ba",
    "a1",
    "é",
    "日本",
    "a b",
    "\n",
    "a\nb",
    "\u2028",
    "-",
    "]",
    "^",
    "$",
    "😀",
    "{",
    "a{2}",
    "\0",
    "\t",
    "Z_9",
  ];
  test.each([
    ...[
      "a",
      "a|b",
      "(a|b)+",
      "a*b?",
      "a{2}b",
      "a{1,}",
      "[ab]{1,2}",
      "[^ab]",
      "[^a-z]+",
      ".",
      ".*",
      "\\d",
      "\\w+",
      "\\W",
      "\\s",
      "\\S+",
      "a.b",
    ],
    ...[
      "^a$",
      "^(?:a|ab)$",
      "(?<x>a)b",
      "a+?b",
      "[\\]-]",
      "[\\d_-]+",
      "\\u{1F600}",
      "\\uD83D\\uDE00",
      "\\x61",
      "\\t|\\0",
      "[\\s\\S]",
      "",
      "a||b",
      "\\^|\\$",
      "[\\w-]+",
    ],
  ])("match the texts that JavaScript's RegExp matches: %s", (pattern) => {
    const automaton = new Automaton(compileRegex(pattern));
    const whole = new RegExp(`^(?:${pattern})$`, "u");
    expect(texts.filter((text) => accepts(automaton, text))).toEqual(texts.filter((text) => whole.test(text)));
    // A schema's pattern may match anywhere.
    const searched = new Automaton(compileSchema({ type: "string", pattern }));
    const found = new RegExp(pattern, "u");
    expect(texts.filter((text) => accepts(searched, JSON.stringify(text)))).toEqual(
      texts.filter((text) => found.test(text)),
    );
  });
});

test("names in the JSON pointer of an error are escaped", () => {
  expect(() => compileSchema({ properties: { "a/b~c": 3 } })).toThrowError(
    /^schema#\/properties\/a~1b~0c: expected a schema/,
  );
});
