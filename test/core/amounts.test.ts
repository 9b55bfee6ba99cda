import { describe, expect, test } from "vitest";
import { countedWere, firstOf, formatCount, listed } from "../../lib/core/amounts.ts";

test.each([
  [["a"], "a"],
  [["a", "b"], "a and b"],
  [["a", "b", "c"], "a, b and c"],
  [[], ""],
])("a list of %j reads %j", (names, text) => {
  expect(listed(names)).toBe(text);
});

describe("the first names of a list", () => {
  test("are all names of a short list", () => {
    expect(firstOf([], 2)).toBe("");
    expect(firstOf(["a", "b"], 2)).toBe("a, b");
  });

  test("are followed by the number of the others", () => {
    expect(firstOf(["a", "b", "c"], 2)).toBe("a, b and 1 more");
    expect(firstOf(Array(2000).fill(7), 2, "; ")).toBe("7; 7 and 1,998 more");
  });
});

test("the unit and the verb after a count are both singular or both plural", () => {
  expect([1, 2, 1024].map((n) => countedWere(n, "row"))).toEqual(["1 row was", "2 rows were", "1,024 rows were"]);
});

test("counts from a million on have three significant digits and the larger unit", () => {
  const counts = [9216, 999_999, 1e6, 2_412_544, 999_499_999, 999_600_000, 1.5e9];
  const texts = ["9,216", "999,999", "1 million", "2.41 million", "999 million", "1 billion", "1.5 billion"];
  expect(counts.map(formatCount)).toEqual(texts);
});
