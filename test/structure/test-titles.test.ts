// A test title is a sentence: it says more than the name of its case.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

const testFiles = readdirSync(join(root, "test"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.test\.ts$/.test(entry.name))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));

/** Whether an expression is `test`, `it`, or made from them, such as `test.skipIf(…).each([…])`. */
function isTest(node: ts.Expression): boolean {
  if (ts.isIdentifier(node)) return node.text === "test" || node.text === "it";
  if (ts.isPropertyAccessExpression(node) || ts.isCallExpression(node)) return isTest(node.expression);
  return false;
}

/** Returns the titles of the tests in a file, with … for each value. */
function titlesOf(name: string, text: string): string[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    // A test has a title and a function. `test.each` and `test.skipIf` have one argument.
    if (ts.isCallExpression(node) && node.arguments.length > 1 && isTest(node.expression))
      titles.push(titleOf(node.arguments[0]!, source));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

function titleOf(title: ts.Expression, source: ts.SourceFile): string {
  if (ts.isStringLiteralLike(title)) return title.text.replace(/%[sdijfoc]|\$[\w.]+/g, "…");
  if (ts.isTemplateExpression(title))
    return title.head.text + title.templateSpans.map((span) => `…${span.literal.text}`).join("");
  return ts.isIdentifier(title) ? "…" : title.getText(source);
}

/** Whether a title has words besides its values, and more than a preposition. */
function isSentence(title: string): boolean {
  const words = title.match(/…|[\p{L}\p{N}][^\s…]*/gu) ?? [];
  return words.length > 1 && words.some((word) => word !== "…") && !/^(?:as|by|for|in|of|with) …$/.test(title);
}

test("the check of titles finds names of cases", () => {
  const titles = titlesOf(
    "sample.test.ts",
    `test("orpo", () => {}); it.each([1])("%s", (n) => {}); for (const name of names) test(name, () => {});
    test.skipIf(slow).each(cases)("for $name", { timeout: 1 }, () => {}); test("adds up", () => {}); it(\`\${op} rejects \${x}\`, run);`,
  );
  expect(titles).toEqual(["orpo", "…", "…", "for …", "adds up", "… rejects …"]);
  expect(titles.filter(isSentence)).toEqual(["adds up", "… rejects …"]);
});

test("every test title says more than the name of its case", () => {
  expect(testFiles.length).toBeGreaterThan(300);
  const labels = testFiles.flatMap((file) =>
    titlesOf(file, readFileSync(file, "utf8"))
      .filter((title) => !isSentence(title))
      .map((title) => `${relative(root, file)}: ${title}`),
  );
  expect(labels).toEqual([]);
});
