// Untrusted schemas and patterns are compiled quickly, or rejected with an error that names the problem.
import { describe, expect, test } from "vitest";
import { Automaton, compileRegex, compileSchema } from "../../lib/constrain/index.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { cpuMilliseconds, leastOf } from "../helpers/clock.ts";

/** Compiles, and returns the error's code and message or "compiled". Expects this to take less than a second of CPU time. */
async function outcome(make: () => unknown): Promise<string> {
  let said = "";
  const measure = () =>
    cpuMilliseconds(() => {
      said = attempt(make);
    });
  expect(await leastOf(1000, measure)).toBeLessThan(1000);
  return said;
}

function attempt(make: () => unknown): string {
  try {
    make();
    return "compiled";
  } catch (error) {
    if (error instanceof HeddleError) return `${error.code} ${error.message}`;
    throw error;
  }
}

const nested = (depth: number, wrap: (inner: unknown) => unknown): unknown => {
  let schema: unknown = { type: "integer" };
  for (let i = 0; i < depth; i++) schema = wrap(schema);
  return schema;
};
const listed = (count: number, make: (i: number) => unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, make(i)]));
const to = (i: number) => ({ $ref: `#/$defs/p${i}` });
const circle: { [key: string]: unknown } = { type: "array" };
circle.items = circle;
const thrower = {
  get type(): string {
    throw new HeddleError("IO", "a getter of the caller's own");
  },
};

describe("untrusted schemas", () => {
  test.each<[string, unknown, string]>([
    ["arrays nested 10,000 deep", nested(10_000, (items) => ({ type: "array", items })), "at most 128 levels"],
    ["a JavaScript object that contains itself", circle, "at most 128 levels"],
    ["100,000 properties", { properties: listed(100_000, () => true) }, "at most 50000 values"],
    ["a constant of 3 MB", { const: "x".repeat(3 << 20) }, "at most 2097152 characters"],
    ["anyOf doubled 40 times by identity", nested(40, (s) => ({ anyOf: [s, s] })), "at most 50000 values"],
    [
      "anyOf doubled 40 times by reference",
      { ...to(0), $defs: { ...listed(40, (i) => ({ anyOf: [to(i + 1), to(i + 1)] })), p40: true } },
      "compiled",
    ],
    [
      "allOf doubled 40 times by reference",
      { ...to(0), $defs: { ...listed(40, (i) => ({ allOf: [to(i + 1), to(i + 1)] })), p40: true } },
      "compiled",
    ],
    [
      "2^30 alternatives",
      { allOf: Array.from({ length: 30 }, (_, i) => ({ anyOf: [{ minimum: i }, { maximum: i }] })) },
      "at most 256 alternatives",
    ],
    [
      "a chain of 5,000 alternatives",
      { ...to(0), $defs: { ...listed(5000, (i) => ({ anyOf: [to(i + 1), { type: "null" }] })), p5000: true } },
      "at most 500 schemas that each begin with the next",
    ],
    [
      "a chain of 5,000 references",
      { ...to(0), $defs: { ...listed(5000, (i) => to(i + 1)), p5000: true } },
      "compiled",
    ],
    ["a $ref to itself", { $ref: "#" }, "expected recursion through an object or array"],
    [
      "anyOf of itself and a string",
      { anyOf: [{ $ref: "#" }, { type: "string" }] },
      "expected recursion through an object or array",
    ],
    [
      "allOf of itself, and a string",
      { allOf: [{ $ref: "#" }], type: "string" },
      "expected recursion through an object or array",
    ],
    [
      "two references to each other",
      { ...to(0), $defs: { p0: { anyOf: [to(1)] }, p1: { anyOf: [to(0)] } } },
      "expected recursion through an object or array",
    ],
    ["an infinite document", { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }, "contradiction"],
    ["a billion properties", { type: "object", minProperties: 1e9 }, "minProperties"],
    ["a billion items", { type: "array", minItems: 1e9 }, "compiled"],
    ["a billion characters", { type: "string", maxLength: 1e9 }, "compiled"],
    [
      "a pattern with a maximum length of a billion",
      { type: "string", pattern: "a", maxLength: 1e9 },
      "at most 50000 states",
    ],
    [
      "3,000 patterns",
      { properties: listed(3000, (i) => ({ type: "string", pattern: `^.{0,50}x${i}` })) },
      "at most 40000000 units of work",
    ],
    [
      "a multipleOf of a large prime",
      { type: "integer", multipleOf: 999_999_937 },
      "at most 10000 states for the multiples of 999999937 (few are needed if the minimum",
    ],
    ["a multipleOf of 2^60", { type: "integer", multipleOf: 2 ** 60 }, "UNSUPPORTED schema#: multipleOf"],
    [
      "integers of 300 digits",
      { type: "integer", minimum: 1e300, maximum: 1e301 },
      "UNSUPPORTED schema#: an integer of more than 21 digits (from 1e+300 to 1e+301)",
    ],
    [
      "a negative maximum of 22 digits",
      { type: "integer", maximum: -1e21 },
      "UNSUPPORTED schema#: an integer of more than 21",
    ],
    ["a minimum above the maximum", { type: "integer", minimum: 1e301, maximum: 1e300 }, "contradiction"],
    [
      "a property named __proto__",
      JSON.parse('{"type":"object","properties":{"__proto__":{"type":"integer"}},"required":["__proto__"]}'),
      "compiled",
    ],
    ["$ref into __proto__", { $ref: "#/__proto__" }, "a location in the schema"],
    ["a getter that throws", thrower, "IO a getter"],
    ["a Map", new Map(), "expected JSON"],
    ["an array with holes", { enum: new Array(2) }, "expected JSON"],
    ["NaN", { const: Number.NaN }, "expected JSON"],
    [
      "a lone surrogate",
      { enum: ["a", "\ud800"] },
      'schema#/enum/1: expected text without lone surrogates, got "\\ud800"',
    ],
    [
      "a name with a lone surrogate",
      { properties: { "\udc00": {} } },
      "schema#/properties: expected text without lone",
    ],
  ])("are compiled, or rejected with their problem: %s", async (_name, schema, message) => {
    expect(await outcome(() => compileSchema(schema))).toContain(message);
  });

  test("do not take exponential time if their nesting is ambiguous", async () => {
    const alternatives = Array.from({ length: 8 }, (_, i) => ({
      type: "array",
      items: { $ref: "#" },
      maxItems: 10 + i,
    }));
    const automaton = new Automaton(compileSchema({ anyOf: [{ type: "null" }, ...alternatives] }));
    const measure = () =>
      cpuMilliseconds(() => {
        const state = automaton.read(automaton.start, Buffer.from(`${"[".repeat(2000)}null${"]".repeat(2000)}`));
        expect(state?.whole).toBe(true);
      });
    expect(await leastOf(2000, measure)).toBeLessThan(2000);
  });

  test("have states that are evicted and recomputed", () => {
    const automaton = new Automaton(compileSchema({ type: "array", items: { type: "string", maxLength: 40_000 } }));
    const text = `["${"x".repeat(30_000)}","${"y".repeat(30_000)}"]`;
    for (let i = 0; i < 2; i++) expect(automaton.read(automaton.start, Buffer.from(text))?.whole).toBe(true);
    expect(automaton.read(automaton.start, Buffer.from(`["${"x".repeat(40_001)}"]`))).toBeNull();
  });
});

describe("untrusted patterns", () => {
  test.each([
    ["(a|b)*a(a|b){20}", "at most 10000 states"],
    [".*a.{20}", "at most 10000 states"],
    ["(a{1000}){1000}", "at most 50000 states"],
    ["((((((a{9}){9}){9}){9}){9}){9})", "at most 50000 states"],
    ["((a|){99}){99}", "at most 40000000 units of work"],
    ["((a*)*)*b", "compiled"],
    ["(x+x+)+y", "compiled"],
    ["(){99999999}", "compiled"],
    ["(".repeat(9000), "at most 100 nested groups"],
    ["a".repeat(10_001), "at most 10000 characters"],
    ["[b-a]", "a range"],
    ["a**", "one quantifier"],
    ["*a", "something before a quantifier"],
    ["a)", "a pattern without unmatched )"],
    ["[a", "a ]"],
    ["\\", "a character after"],
    ["\\q", "an escape of JavaScript"],
    ["\\u{110000}", "a code point"],
    ["a{2,1}", "a quantifier whose minimum is at most its maximum"],
    ["(?<!a)b", "look-around"],
    ["(a)\\1", "a back reference"],
    ["\\bword", "\\b"],
    ["\\p{L}", "\\p{…}"],
    ["a^b", "an anchor in the middle"],
    ["[^\\s\\S]", "contradiction"],
  ])("are compiled, or rejected with their problem: %s", async (pattern, message) => {
    expect(await outcome(() => compileRegex(pattern))).toContain(message);
  });
});
