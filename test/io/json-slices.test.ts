// Parsing in slices gives the same result as JSON.parse.
import fc from "fast-check";
import { expect, test } from "vitest";
import { atOnce } from "../../lib/core/slices.ts";
import { JSON_PART, JsonLimitError, parseInSlices } from "../../lib/io/json-slices.ts";

const limits = { depth: 64, values: 1000, strings: 1000, keys: 100 };
const parsed = (json: string | Buffer, part: number) => atOnce(parseInSlices(Buffer.from(json), limits, part));

/** Expects the same value and key order, including an own `__proto__`, or that both reject the text. */
function isSame(json: string, part: number): void {
  let expected: unknown;
  try {
    expected = JSON.parse(json.replace(/^\ufeff/, ""));
  } catch {
    expect(() => parsed(json, part), JSON.stringify(json)).toThrow();
    return;
  }
  const value = parsed(json, part);
  expect(JSON.stringify(value)).toBe(JSON.stringify(expected));
  expect(value).toEqual(expected);
}

const space = fc.constantFrom("", "", " ", "\n\t ", " ".repeat(20));
const json = fc.oneof(
  fc.json({ maxDepth: 5 }),
  fc.tuple(fc.jsonValue({ maxDepth: 4 }), space).map(([value, blank]) => JSON.stringify(value, undefined, blank)),
  fc
    .array(fc.string({ unit: "binary", maxLength: 60 }))
    .map((texts) => JSON.stringify({ a: texts, ["__proto__"]: texts })),
);

test("every value is parsed as by JSON.parse, however small the slices", () => {
  fc.assert(
    fc.property(json, fc.integer({ min: 1, max: 40 }), (text, part) => isSame(text, part)),
    { numRuns: 2000 },
  );
});

test("JSON with added, removed or replaced characters is parsed or rejected as by JSON.parse", () => {
  const token = fc.constantFrom(...'{}[],:"\\0-e. \n', "1", "null", '"a"', '"a":', "\ufeff", "tru", "\u0001");
  fc.assert(
    fc.property(json, fc.nat(), fc.nat(3), token, fc.integer({ min: 1, max: 12 }), (text, place, cut, added, part) => {
      const at = place % (text.length + 1);
      isSame((text.slice(0, at) + added + text.slice(at + cut)).toWellFormed(), part);
    }),
    { numRuns: 4000 },
  );
});

test.each([
  ["a duplicate key, in different slices", '{"a":1,"b":[1,2,3,4,5],"c":3,"a":{"d":2}}'],
  ["__proto__ with an object", '{"x":0,"__proto__":{"a":[1,2,3,4,5,6,7,8]},"y":1}'],
  ["numeric keys", '{"2":[1,2,3,4,5,6],"b":1,"1":{"7":1,"3":2},"0":"a"}'],
  ["a minus before an object", '{"a":-{"b":[1,2,3,4,5,6]}}'],
  ["a number before an object", '{"a":1{"b":[1,2,3,4,5,6]}}'],
  ["no comma after an object", '[{"b":[1,2,3,4,5,6]} 1]'],
  ["two commas after an object", '[{"b":[1,2,3,4,5,6]},,1]'],
  ["a trailing comma", '[{"b":[1,2,3,4,5,6]},]'],
  ["only a comma", "[,]"],
  ["mismatched brackets", '{"a":[1,2,3,4,5,6}]'],
  ["a bracket too many", '{"a":[1,2,3,4,5,6]}]'],
  ["two values", '{"a":[1,2,3,4,5,6]} {}'],
  ["a comma after the value", '{"a":1},'],
  ["nothing", "  "],
  ["long texts with escapes", `{"a":"${'\\"\\u00e9é😀\\ud83d\\ude00\\n'.repeat(20)}","b":["${"x".repeat(99)}"]}`],
  ["a long key", `{"${"\\n\\u0041".repeat(30)}":"${"y".repeat(50)}","z":1}`],
  ["a long text with a control character", `["${"x".repeat(60)}\u0001"]`],
])("parsing accepts or rejects as JSON.parse does: %s", (_, text) => {
  for (let part = 1; part < 30; part++) isSame(text, part);
});

test("bytes that are not UTF-8 are rejected at any position", () => {
  const good = Buffer.from(`["${"é".repeat(50)}",1,2,3]`);
  for (let at = 2; at < 100; at++) {
    const bad = Buffer.from(good);
    bad[at] = 0xff;
    for (const part of [3, 1000]) expect(() => parsed(bad, part)).toThrow(TypeError);
  }
});

test("a byte order mark is skipped at the beginning only", () => {
  expect(parsed("\ufeff[1,2]", 2)).toEqual([1, 2]);
  expect(() => parsed("[1,\ufeff2]", 2)).toThrow(SyntaxError);
});

test("parsing limits the number of objects, arrays, keys and strings, and the depth of nesting", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(parsed(nested(64), 10)).toBeTruthy();
  expect(() => parsed(nested(65), 10)).toThrow(expect.objectContaining({ limit: "depth" }));
  expect(parsed(`[${"{},".repeat(998)}{}]`, 10)).toHaveLength(999);
  expect(() => parsed(`[${"{},".repeat(999)}{}]`, 10)).toThrow(JsonLimitError);
  expect(() => parsed(`[${'{"a":0},'.repeat(500)}{}]`, 10)).toThrow(expect.objectContaining({ limit: "values" }));
  expect(parsed(`[${"0,".repeat(5000)}""]`, 10)).toHaveLength(5001);
  expect(parsed(`[${'"a",'.repeat(999)}"a"]`, 10)).toHaveLength(1000);
  expect(() => parsed(`[${'"a",'.repeat(1000)}"a"]`, 10)).toThrow(expect.objectContaining({ limit: "strings" }));
  const object = (keys: number) => `{${Array.from({ length: keys }, (_, i) => `"${i}":{"a":0}`).join(",")}}`;
  expect(Object.keys(parsed(object(100), 10) as object)).toHaveLength(100);
  expect(() => parsed(object(101), 10)).toThrow(expect.objectContaining({ limit: "keys" }));
});

test("parsing yields after each slice", () => {
  const large = `{"t":"${"x".repeat(1 << 20)}","n":[${"1,".repeat(1 << 19)}1]}`;
  let yields = 0;
  for (const _ of parseInSlices(Buffer.from(large), limits)) yields++;
  expect(yields).toBeGreaterThan((2 * large.length) / JSON_PART);
});
