// What callers fill in: the types of all that the package's functions, methods and constructors take, and of what callers' own functions return.
import { fileURLToPath } from "node:url";
import ts from "typescript";

const lib = fileURLToPath(new URL("../../lib/", import.meta.url));

/** An optional member of a type that callers fill in. */
export interface OptionalMember {
  name: string;
  /** Where the type is met: `sft.data`. */
  where: string;
  /** Whether undefined may be passed for it, under exactOptionalPropertyTypes too. */
  takesUndefined: boolean;
}

const isOurs = (symbol: ts.Symbol | undefined) =>
  symbol?.declarations?.some((node) => node.getSourceFile().fileName.startsWith(lib)) ?? false;

const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
const isHiddenNode = (node: ts.Declaration | ts.JSDocSignature) =>
  (!ts.isJSDocSignature(node) && (ts.getCombinedModifierFlags(node) & HIDDEN) !== 0) ||
  ts.getJSDocTags(node).some((tag) => tag.tagName.text === "internal");

/** What callers have no business with; and of a generator, the value that `return` is told, which is the package's. */
const isHidden = ({ name, declarations = [] }: ts.Symbol) =>
  name.startsWith("__#") || name === "return" || declarations.some(isHiddenNode);

/** The optional members of all that callers fill in, of modules of a program with exactOptionalPropertyTypes. */
export function givenMembers(program: ts.Program, files: readonly string[]): OptionalMember[] {
  const checker = program.getTypeChecker();
  const found = new Map<string, OptionalMember>();
  const seen = { given: new Set<ts.Type>(), received: new Set<ts.Type>() };

  // What may be undefined by its type is not what a member has for being optional, under exactOptionalPropertyTypes.
  const takesUndefined = (property: ts.Symbol): boolean => {
    const type = checker.getTypeOfSymbol(property);
    const parts = type.isUnion() ? type.types : [type];
    return parts.some(
      (part) => part === checker.getUndefinedType() || (part.flags & (ts.TypeFlags.Unknown | ts.TypeFlags.Any)) !== 0,
    );
  };

  /** @param given by callers; else they receive it, and give what its functions take */
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
    // Nobody fills in a class's objects: they come from the package.
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
      // What has no function here that takes it is filled in for functions of callers' own.
      if (/(Options|Definition|Input)$/.test(exported.name) && symbol.flags & ts.SymbolFlags.Type)
        visit(checker.getDeclaredTypeOfSymbol(symbol), true, exported.name);
    }
  }
  return [...found.values()];
}
