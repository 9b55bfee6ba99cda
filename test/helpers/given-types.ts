// Finds types that callers fill in: parameters of the package's functions, methods and constructors, and results of callbacks.
import { fileURLToPath } from "node:url";
import ts from "typescript";

const lib = fileURLToPath(new URL("../../lib/", import.meta.url));

/** An optional member of a type that callers fill in. */
export interface OptionalMember {
  name: string;
  /** The path to the type, such as `sft.data`. */
  where: string;
  /** Whether undefined may be passed, also under exactOptionalPropertyTypes. */
  takesUndefined: boolean;
}

const isOurs = (symbol: ts.Symbol | undefined) =>
  symbol?.declarations?.some((node) => node.getSourceFile().fileName.startsWith(lib)) ?? false;

const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
const isHiddenNode = (node: ts.Declaration | ts.JSDocSignature) =>
  (!ts.isJSDocSignature(node) && (ts.getCombinedModifierFlags(node) & HIDDEN) !== 0) ||
  ts.getJSDocTags(node).some((tag) => tag.tagName.text === "internal");

/** Whether a symbol is internal, such as a private member or the `return` of a generator. */
const isHidden = ({ name, declarations = [] }: ts.Symbol) =>
  name.startsWith("__#") || name === "return" || declarations.some(isHiddenNode);

/** The optional members of all types that callers fill in, for modules of a program with exactOptionalPropertyTypes. */
export function givenMembers(program: ts.Program, files: readonly string[]): OptionalMember[] {
  const checker = program.getTypeChecker();
  const found = new Map<string, OptionalMember>();
  const seen = { given: new Set<ts.Type>(), received: new Set<ts.Type>() };

  // Under exactOptionalPropertyTypes, an optional member accepts undefined only if its type includes it.
  const takesUndefined = (property: ts.Symbol): boolean => {
    const type = checker.getTypeOfSymbol(property);
    const parts = type.isUnion() ? type.types : [type];
    return parts.some(
      (part) => part === checker.getUndefinedType() || (part.flags & (ts.TypeFlags.Unknown | ts.TypeFlags.Any)) !== 0,
    );
  };

  /** @param given whether callers give values of the type. Otherwise they receive them, and give the arguments of their functions. */
  const visit = (type: ts.Type, given: boolean, where: string): void => {
    if (type.isUnionOrIntersection()) {
      for (const part of type.types) visit(part, given, where);
      return;
    }
    if (type.flags & ts.TypeFlags.TypeParameter) {
      const constraint = checker.getBaseConstraintOfType(type);
      if (constraint) visit(constraint, given, where);
      return;
    }
    const symbol = type.aliasSymbol ?? type.symbol;
    // Callers do not fill in class instances, which the package creates.
    const isGiven = given && !((symbol?.flags ?? 0) & ts.SymbolFlags.Class);
    const visited = seen[isGiven ? "given" : "received"];
    if (visited.has(type)) return;
    visited.add(type);
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      const { declaration } = signature;
      if (!declaration?.getSourceFile().fileName.startsWith(lib) || isHiddenNode(declaration)) continue;
      for (const parameter of signature.parameters) visit(checker.getTypeOfSymbol(parameter), !isGiven, where);
      visit(signature.getReturnType(), isGiven, where);
    }
    const args = (type.flags & ts.TypeFlags.Object) !== 0 ? checker.getTypeArguments(type as ts.TypeReference) : [];
    for (const argument of [...args, ...(type.aliasTypeArguments ?? [])]) visit(argument, given, where);
    if (!isOurs(type.symbol) && !isOurs(type.aliasSymbol)) return;
    for (const property of checker.getPropertiesOfType(type)) {
      if (isHidden(property) || !isOurs(property)) continue;
      const name = `${symbol && symbol.name !== "__type" ? symbol.name : where}.${property.name}`;
      if (isGiven && property.flags & ts.SymbolFlags.Optional && !found.has(name))
        found.set(name, { name, where, takesUndefined: takesUndefined(property) });
      visit(checker.getTypeOfSymbol(property), isGiven, `${where}.${property.name}`);
    }
  };

  for (const file of files) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)!;
    for (const exported of checker.getExportsOfModule(module)) {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      if (symbol.flags & ts.SymbolFlags.Value) visit(checker.getTypeOfSymbol(symbol), false, exported.name);
      // Callers also fill in exported types that no function accepts, such as results of callbacks.
      if (/(Options|Definition|Input)$/.test(exported.name) && symbol.flags & ts.SymbolFlags.Type)
        visit(checker.getDeclaredTypeOfSymbol(symbol), true, exported.name);
    }
  }
  return [...found.values()];
}
