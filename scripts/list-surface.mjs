// Lists the public surface: every exported name of every entry point with its kind, its signature and whether it is stable.
// `npm run surface` writes the list to test/structure/public-surface.txt, and a test compares it with the code.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
export const surfaceFile = `${root}test/structure/public-surface.txt`;
const entries = {
  heddle: "lib/index.ts",
  "heddle/graph": "lib/graph-entry.ts",
  "heddle/ai-sdk": "lib/ai-sdk/index.ts",
  "heddle/serve": "lib/serve/index.ts",
  "heddle/tokenizer": "lib/tokenizer/index.ts",
};

const printer = ts.createPrinter({ removeComments: true, omitTrailingSemicolon: true });

/** Returns the list as text: one exported name per line, with the members of classes and interfaces below it. */
export function publicSurface() {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config,
    ts.sys,
    root,
  );
  const program = ts.createProgram(
    Object.values(entries).map((path) => root + path),
    options,
  );
  const checker = program.getTypeChecker();
  const parts = Object.entries(entries).map(([name, path]) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(root + path));
    const symbols = checker.getExportsOfModule(module).sort((a, b) => (a.name < b.name ? -1 : 1));
    return [`# ${name}`, ...symbols.flatMap((symbol) => linesOf(symbol, checker))].join("\n");
  });
  return `${parts.join("\n\n")}\n`;
}

function linesOf(exported, checker) {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const declarations = symbol.declarations;
  const stability = declarations.some((one) => hasTag(one, "experimental")) ? "experimental" : "stable";
  const line = (text) => `${stability} ${text}`;
  const [first] = declarations;
  if (ts.isClassDeclaration(first))
    return [line(`class ${headOf(first, exported.name)}`), ...membersOf(first, checker)];
  if (ts.isInterfaceDeclaration(first))
    return [line(`interface ${headOf(first, exported.name)}`), ...membersOf(first, checker)];
  if (ts.isTypeAliasDeclaration(first)) return [line(`type ${typeOf(first, exported.name, checker)}`)];
  const type = checker.getTypeOfSymbol(symbol);
  const signatures = type.getCallSignatures();
  if (ts.isFunctionDeclaration(first) || signatures.length > 0)
    return signatures.map((one) =>
      line(`function ${exported.name}${textOf(checker.signatureToString(one, first, FLAGS))}`),
    );
  return [line(`const ${exported.name}: ${textOf(checker.typeToString(type, first, FLAGS))}`)];
}

const FLAGS = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope;

/** Returns a name with its type parameters, and with the types that it extends or implements. */
function headOf(node, name) {
  const parameters = node.typeParameters ? `<${node.typeParameters.map(print).join(", ")}>` : "";
  const heritage = (node.heritageClauses ?? []).map((one) => print(one).trim());
  return [name + parameters, ...heritage].join(" ");
}

/** Returns a type alias as declared. A union of literals is expanded, so that the list shows a change of its members. */
function typeOf(node, name, checker) {
  const parameters = node.typeParameters ? `<${node.typeParameters.map(print).join(", ")}>` : "";
  const type = checker.getTypeAtLocation(node);
  const isLiteral = type.isUnion() && type.types.every((one) => one.isLiteral());
  const flags = FLAGS | ts.TypeFormatFlags.InTypeAlias;
  return `${name}${parameters} = ${isLiteral ? checker.typeToString(type, node, flags) : print(node.type)}`;
}

function membersOf(node, checker) {
  const overloaded = new Set(node.members.filter((one) => one.name && !one.body).map((one) => print(one.name)));
  return node.members.flatMap((member) => {
    const modifiers = ts.getCombinedModifierFlags(member);
    if (modifiers & ts.ModifierFlags.Private || hasTag(member, "internal")) return [];
    if (ts.isClassStaticBlockDeclaration(member) || (member.name && ts.isPrivateIdentifier(member.name))) return [];
    // The implementation of an overloaded method is not public.
    if (ts.isMethodDeclaration(member) && member.body && overloaded.has(print(member.name))) return [];
    return [`  ${memberText(member, checker)}`];
  });
}

/** Returns a member with its type, without its body and initial value. */
function memberText(member, checker) {
  const tag = hasTag(member, "experimental") ? "experimental " : "";
  const flags = ts.getCombinedModifierFlags(member);
  const modifiers = [flags & ts.ModifierFlags.Static && "static ", flags & ts.ModifierFlags.Readonly && "readonly "];
  const start = tag + modifiers.filter(Boolean).join("");
  if (ts.isMethodDeclaration(member) || ts.isConstructorDeclaration(member)) {
    const signature = checker.signatureToString(checker.getSignatureFromDeclaration(member), member, FLAGS);
    return `${start}${member.name ? print(member.name) : "constructor"}${textOf(signature)}`;
  }
  if (ts.isAccessor(member) || ts.isPropertyDeclaration(member)) {
    const kind = ts.isGetAccessor(member) ? "get " : ts.isSetAccessor(member) ? "set " : "";
    const type = member.type
      ? print(member.type)
      : checker.typeToString(checker.getTypeAtLocation(member), member, FLAGS);
    return `${start}${kind}${print(member.name)}${member.questionToken ? "?" : ""}: ${textOf(type)}`;
  }
  return tag + print(member);
}

const hasTag = (node, name) => ts.getJSDocTags(node).some(({ tagName }) => tagName.text === name);

const print = (node) => textOf(printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile()));
const textOf = (text) => text.replace(/\s+/g, " ");

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(surfaceFile, publicSurface());
