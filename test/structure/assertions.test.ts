// Assertions that accept any value. vitest compares a pattern with a text by its own keys, of which a RegExp has none.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));
const MATCHERS = new Set(["toMatchObject", "toEqual", "toStrictEqual", "toContainEqual", "toHaveBeenCalledWith"]);

/** Returns the patterns in the objects and lists that a call of a matcher compares with. */
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

test("no assertion compares a text with a pattern as a field, which any text would pass", () => {
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
