import ts from "typescript";

/** The documentation that an editor shows for an option. */
export interface DocumentedOption {
  name: string;
  optional: boolean;
  text: string;
}

/** Returns the documented options of interfaces. The entry files, which are sources or declarations, export the interfaces. */
export function documentedOptions(
  files: readonly string[],
  interfaces: readonly string[],
): Map<string, DocumentedOption[]> {
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    types: ["node"],
  });
  const checker = program.getTypeChecker();
  const exported = files.flatMap((file) =>
    checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!),
  );
  return new Map(
    interfaces.map((name) => {
      const found = exported.find((symbol) => symbol.name === name);
      if (!found) throw new Error(`${files.join(" and ")}: expected an export ${name}, found none`);
      const symbol = found.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(found) : found;
      const options = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map((property) => ({
        name: property.name,
        optional: (property.flags & ts.SymbolFlags.Optional) !== 0,
        text: ts.displayPartsToString(property.getDocumentationComment(checker)),
      }));
      return [name, options] as const;
    }),
  );
}
