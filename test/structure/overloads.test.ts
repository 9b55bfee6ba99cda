// An editor shows the docstring of the overload that a call chose. It does not show that of another overload.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

type Signature = ts.FunctionDeclaration | ts.MethodDeclaration | ts.MethodSignature;

const hasModifier = (node: Signature | ts.ClassDeclaration | ts.InterfaceDeclaration, ...kinds: ts.SyntaxKind[]) =>
  node.modifiers?.some(({ kind }) => kinds.includes(kind)) ?? false;

/** Returns the exported functions, and the public methods of exported classes and interfaces. */
function* signaturesOf(source: ts.SourceFile): Generator<{ owner: string; signature: Signature }> {
  for (const node of source.statements) {
    if (!ts.isFunctionDeclaration(node) && !ts.isClassDeclaration(node) && !ts.isInterfaceDeclaration(node)) continue;
    if (!hasModifier(node, ts.SyntaxKind.ExportKeyword)) continue;
    if (ts.isFunctionDeclaration(node)) yield { owner: "", signature: node };
    else
      for (const member of node.members) {
        if (!ts.isMethodDeclaration(member) && !ts.isMethodSignature(member)) continue;
        const { PrivateKeyword, ProtectedKeyword } = ts.SyntaxKind;
        if (hasModifier(member, PrivateKeyword, ProtectedKeyword) || ts.isPrivateIdentifier(member.name)) continue;
        yield { owner: `${node.name!.text}.`, signature: member };
      }
  }
}

/** Returns the overloads of a file by name. A call cannot choose the signature of the implementation. */
function overloadsOf(file: string, text: string): { name: string; isDocumented: boolean }[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const byName = new Map<string, Signature[]>();
  for (const { owner, signature } of signaturesOf(source)) {
    const name = owner + (signature.name?.getText(source) ?? "default");
    byName.set(name, [...(byName.get(name) ?? []), signature]);
  }
  return [...byName]
    .filter(([, signatures]) => signatures.length > 1)
    .flatMap(([name, signatures]) =>
      signatures
        .filter((signature) => ts.isMethodSignature(signature) || signature.body === undefined)
        .map((signature) => ({ name, isDocumented: ts.getJSDocCommentsAndTags(signature).length > 0 })),
    );
}

const files = readdirSync(join(root, "lib"), { recursive: true, encoding: "utf8" }).filter((name) =>
  /\.ts$/.test(name),
);
const overloads = files.flatMap((file) =>
  overloadsOf(file, readFileSync(join(root, "lib", file), "utf8")).map((one) => ({ ...one, file })),
);

test("every overload of an exported function or a public method has a docstring", () => {
  const names = overloads.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["LanguageModel.generate", "classificationReport"]));
  expect(overloads.filter(({ isDocumented }) => !isDocumented)).toEqual([]);
});

test("an overload without a docstring is found, and its implementation needs none", () => {
  const text = [
    "/** Doubles. */ export function twice(x: number): number;",
    "export function twice(x: string): string;",
    "export function twice(x: unknown) { return x; }",
    "export class A {",
    "  /** One. */ get(): void; get(x: number): void; get() {}",
    "  private put(): void; private put(x: number): void; private put() {}",
    "}",
  ].join("\n");
  expect(overloadsOf("a.ts", text)).toEqual([
    { name: "twice", isDocumented: true },
    { name: "twice", isDocumented: false },
    { name: "A.get", isDocumented: true },
    { name: "A.get", isDocumented: false },
  ]);
});
