// Finds RegExp literals inside expected objects. toMatchObject compares a RegExp by its own enumerable keys. It has none, so that any
// string matches.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));
const MATCHERS = new Set(["toMatchObject", "toEqual", "toStrictEqual", "toContainEqual", "toHaveBeenCalledWith"]);

/** Returns the RegExp literals inside the expected objects and arrays of a matcher's call. */
function patternsIn(call: ts.CallExpression): ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) found.push(node);
    else if (!ts.isCallExpression(node) && !ts.isFunctionLike(node)) ts.forEachChild(node, visit);
  };
  for (const argument of call.arguments) if (!ts.isRegularExpressionLiteral(argument)) visit(argument);
  return found;
}

function findingsIn(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (
      ts.isCallExpression(node) &&
      ts.isPropertyAccessExpression(node.expression) &&
      MATCHERS.has(node.expression.name.text)
    )
      for (const pattern of patternsIn(node))
        found.push(`${path}:${source.getLineAndCharacterOfPosition(pattern.getStart()).line + 1} ${pattern.getText()}`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

test("no matcher has a RegExp literal inside an expected object, where toMatchObject would accept any string", () => {
  expect(
    findingsIn("example.ts", "expect(a).toMatchObject({ b: [{ c: /d/ }], e: expect.stringMatching(/f/) });"),
  ).toEqual(["example.ts:1 /d/"]);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(400);
  const found = files.flatMap((path) => {
    const text = readFileSync(join(folder, path), "utf8");
    return text.includes("expect") ? findingsIn(path, text) : [];
  });
  expect(found).toEqual([]);
});
