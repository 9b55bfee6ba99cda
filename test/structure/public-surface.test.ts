// The public surface of every entry point is checked in, so that any change to it shows up in review. Its names follow the rules below.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { britishWords } from "./spelling.ts";

const { publicSurface, surfaceFile } = (await import(
  new URL("../../scripts/list-surface.mjs", import.meta.url).href
)) as { publicSurface: () => string; surfaceFile: string };

/** The number of names that `heddle` exports may not grow unnoticed. Names for authors of models and stages belong in `heddle/graph`. */
const MAX_ROOT_NAMES = 204;

/** An exported name, or a member of one: a line of the list. */
interface Line {
  entry: string;
  isStable: boolean;
  text: string;
}

const listed = readFileSync(surfaceFile, "utf8").replaceAll("\r\n", "\n");

/** Reads the list. A member is experimental if it is marked so, or if its class or interface is. */
function linesOf(list: string): Line[] {
  const lines: Line[] = [];
  let [entry, isStable] = ["", true];
  for (const line of list.split("\n").filter(Boolean)) {
    if (line.startsWith("# ")) entry = line.slice(2);
    else if (line.startsWith("  ")) {
      const text = line.slice(2).replace(/^experimental /, "");
      lines.push({ entry, isStable: isStable && text === line.slice(2), text });
    } else {
      isStable = line.startsWith("stable ");
      lines.push({ entry, isStable, text: line.replace(/^\w+ /, "") });
    }
  }
  return lines;
}

/** Returns the identifiers of a text without its string literals, which name values of files and other programs. */
const identifiersOf = (text: string): string[] => text.replace(/"[^"]*"/g, "").match(/[A-Za-z_$][\w$]*/g) ?? [];

const DECLARED = /^(?:class|interface|type|function|const) (\w+)/;
const TYPE = /^(?:class|interface|type) (\w+)/;

/** Returns the stable lines that name an experimental type, and the stable types that only experimental lines name. */
function wronglyMarked(list: string): { stableNamesExperimental: string[]; stableForExperimental: string[] } {
  const lines = linesOf(list);
  const typesOf = (stable: boolean) =>
    new Set(lines.filter(({ isStable }) => isStable === stable).flatMap(({ text }) => TYPE.exec(text)?.[1] ?? []));
  const [stable, experimental] = [typesOf(true), typesOf(false)];
  const namedBy = (isStable: boolean) =>
    new Set(
      lines
        .filter((line) => line.isStable === isStable)
        .flatMap(({ text }) => identifiersOf(text).filter((name) => name !== DECLARED.exec(text)?.[1])),
    );
  const [byStable, byExperimental] = [namedBy(true), namedBy(false)];
  return {
    stableNamesExperimental: lines
      .filter(({ isStable, text }) => isStable && identifiersOf(text).some((name) => experimental.has(name)))
      .map(({ text }) => text),
    stableForExperimental: [...stable].filter((name) => byExperimental.has(name) && !byStable.has(name)),
  };
}

test("the public surface is the one that is checked in", () => {
  const message = "The public surface changed. If that is meant, run `npm run surface` and commit the list.";
  expect(publicSurface(), message).toBe(listed);
});

test("the list marks every export as stable or experimental", () => {
  const named = listed.split("\n").filter((line) => line !== "" && !/^(#| {2})/.test(line));
  expect(named.filter((line) => !/^(stable|experimental) (class|interface|type|function|const) \w/.test(line))).toEqual(
    [],
  );
  expect(named.some((line) => line.startsWith("experimental function autotune("))).toBe(true);
});

test("heddle exports no more names than the recorded maximum", () => {
  const root = linesOf(listed).filter(({ entry }) => entry === "heddle");
  const names = new Set(root.flatMap(({ text }) => DECLARED.exec(text)?.[1] ?? []));
  expect(names.size).toBeGreaterThan(100);
  expect(names.size).toBeLessThanOrEqual(MAX_ROOT_NAMES);
});

describe("identifiers have American spelling", () => {
  test("the identifiers of the public surface have American spelling", () => {
    const british = linesOf(listed).flatMap(({ text }) => identifiersOf(text).flatMap(britishWords));
    expect(british).toEqual([]);
  });

  test.each([
    "initialise",
    "isNormalised",
    "normalisedInGguf",
    "QuantisedDType",
    "tokenisation",
    "serialiser",
    "optimiser",
    "licence",
    "dequantise",
    "MAX_COLOURS",
    "backgroundColour",
    "LabelledRow",
  ])("%s is British", (name) => {
    expect(britishWords(name)).toHaveLength(1);
  });

  test.each([
    "initialize",
    "promise",
    "otherwise",
    "tokenIsEmpty",
    "NoiseOptions",
    "rowwise",
    "realistic",
    "license",
    "specialTokens",
  ])("%s is not British", (name) => {
    expect(britishWords(name)).toEqual([]);
  });
});

describe("marks of stability agree", () => {
  test("the marks of stability in the public surface agree", () => {
    expect(wronglyMarked(listed)).toEqual({ stableNamesExperimental: [], stableForExperimental: [] });
  });

  test("a stable function does not return an experimental type", () => {
    const list = "# heddle\nexperimental interface A\nstable function make(): A";
    expect(wronglyMarked(list).stableNamesExperimental).toEqual(["function make(): A"]);
  });

  test("a stable interface may have experimental members", () => {
    const list = "# heddle\nexperimental interface A\nstable interface B\n  experimental a: A";
    expect(wronglyMarked(list)).toEqual({ stableNamesExperimental: [], stableForExperimental: [] });
  });

  test("a type that only experimental names need is experimental", () => {
    const list = "# heddle\nstable interface A\nexperimental function take(a: A): void";
    expect(wronglyMarked(list).stableForExperimental).toEqual(["A"]);
  });
});
