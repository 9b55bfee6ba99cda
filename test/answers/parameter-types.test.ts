// The types that a tool's parameter may have by its schema.
import { describe, expect, test } from "vitest";
import { toolsByName, typesOfParameter } from "../../lib/answers/tools.ts";

const ALL = ["array", "boolean", "integer", "null", "number", "object", "string"];

/** Returns the types of a parameter with this schema. */
function types(parameter: unknown, more: object = {}): string[] {
  const parameters = { type: "object", properties: { it: parameter }, ...more };
  const tool = toolsByName([{ type: "function", function: { name: "f", parameters } }]).get("f");
  return [...typesOfParameter(tool, "it")].sort();
}

describe("a reference", () => {
  const text = { type: "string" };
  const nested = (names: readonly string[], end: object): object =>
    names.reduceRight<object>((inner, name) => ({ properties: { [name]: inner } }), end);

  test.each<[string, string, object]>([
    ["a definition", "#/$defs/a", { $defs: { a: text } }],
    [
      "a path of ten segments",
      "#/$defs/a/properties/b/properties/c/properties/d/properties/e",
      {
        $defs: { a: nested(["b", "c", "d", "e"], text) },
      },
    ],
    ["an array element", "#/anyOf/1", { anyOf: [{ type: "object" }, text] }],
    ["names with ~, / and %", "#/$defs/a~1b~0c%20d", { $defs: { "a/b~c d": text } }],
    ["a name with a literal %", "#/$defs/50%", { $defs: { "50%": text } }],
    ["an empty name", "#/$defs/", { $defs: { "": text } }],
  ])("a reference to %s has the types found there", (_, $ref, more) => {
    expect(types({ $ref }, more)).toEqual(["string"]);
  });

  test("a reference to the whole schema has its types", () => {
    expect(types({ $ref: "#" })).toEqual(["object"]);
  });

  test.each([
    ["an anchor", "#name"],
    ["another document", "https://example.com/schema"],
    ["a file", "schema.json#/a"],
    ["an empty reference", ""],
    ["a missing path", "#/$defs/b"],
    ["a path below a missing one", "#/$defs/b/c"],
    ["a path into a string", "#/type/0"],
  ])("a reference to %s may have any type", (_, $ref) => {
    expect(types({ $ref }, { $defs: { a: { $anchor: "name", type: "string" } } })).toEqual(ALL);
  });

  test("a reference that refers to itself may have any type", () => {
    expect(types({ $ref: "#/properties/it" })).toEqual(ALL);
  });
});
