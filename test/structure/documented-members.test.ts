// The properties of exported classes and interfaces have docstrings. `npm run docs` checks everything else. typedoc.json does not list
// "Property", because typedoc would then also require a docstring for each member of an inline type. The docstring of the property that has
// the inline type describes its members.
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const entries = ["index", "graph-entry", "ai-sdk/index", "serve/index", "tokenizer/index"].map(
  (name) => `${root}lib/${name}.ts`,
);

/** Returns the classes and interfaces that modules export. */
function exportedTypes(program: ts.Program): Set<ts.ClassDeclaration | ts.InterfaceDeclaration> {
  const checker = program.getTypeChecker();
  const exported = entries.flatMap((file) =>
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!),
  );
  const symbols = exported.map((one) => (one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one));
  return new Set(
    symbols
      .flatMap(({ declarations = [] }) => declarations)
      .filter((node) => ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)),
  );
}

const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;

test("every public property of an exported class or interface has a docstring", () => {
  const members = [...exportedTypes(ts.createProgram(entries, options))].flatMap((type) =>
    [...type.members]
      .filter((member) => ts.isPropertyDeclaration(member) || ts.isPropertySignature(member))
      .filter((member) => !ts.isPrivateIdentifier(member.name) && !(ts.getCombinedModifierFlags(member) & HIDDEN))
      .map((member) => ({
        name: `${type.name!.text}.${member.name.getText()}`,
        isDocumented: ts.getJSDocCommentsAndTags(member).length > 0,
      })),
  );
  expect(members.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["Completion.usage", "LanguageModel.model", "ModelServer.url", "Tokenizer.config"]),
  );
  expect(members.filter(({ isDocumented }) => !isDocumented).map(({ name }) => name)).toEqual([]);
});
