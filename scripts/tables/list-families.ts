// Lists the built-in families. `npm run families` writes what follows from their files: lib/models/families/index.ts, and the table of
// docs/models.md. A test compares both with the files.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FamilyDefinition } from "../../lib/models/family.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, "lib/models/families");
export const index = join(folder, "index.ts");
export const guide = join(root, "docs/models.md");

export interface ListedFamily {
  /** The file's name, without `.ts`. */
  file: string;
  /** The exported name. */
  name: string;
  definition: FamilyDefinition;
  /** The models, as the docstring names them: its text up to the first colon or the end of the sentence. */
  models: string;
}

/** Returns the families of the folder, sorted by their files' names. */
export async function listFamilies(): Promise<ListedFamily[]> {
  const files = readdirSync(folder).filter((name) => name.endsWith(".ts") && name !== "index.ts");
  const stems = files.map((name) => name.slice(0, -".ts".length)).sort();
  const found: ListedFamily[] = [];
  // One after the other: jiti evaluates a shared import before it is complete if imports overlap.
  for (const stem of stems) found.push(...(await familiesOf(stem)));
  return found;
}

async function familiesOf(file: string): Promise<ListedFamily[]> {
  const path = join(folder, `${file}.ts`);
  const exported: Record<string, Partial<FamilyDefinition>> = await import(path);
  const text = readFileSync(path, "utf8");
  const names = Object.keys(exported).sort();
  const families = names
    .filter((name) => exported[name]?.modelType !== undefined)
    .map((name) => ({ file, name, definition: exported[name] as FamilyDefinition, models: modelsOf(text, name) }));
  if (families.length === 0) throw new Error(`lib/models/families/${file}.ts: expected an exported family, got none`);
  return families;
}

function modelsOf(text: string, name: string): string {
  const [, docstring] = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*export const ${name}\\b`).exec(text) ?? [];
  const [, models] = /^(.+?)(?::|\.(?: [A-Z]|$))/.exec(docstring?.replace(/[\s*]+/g, " ").trim() ?? "") ?? [];
  if (models === undefined) throw new Error(`${name}: expected a docstring that begins with the family's models`);
  return models;
}

/** Returns the text of families/index.ts. */
export function indexOf(families: readonly ListedFamily[]): string {
  const files = [...new Set(families.map(({ file }) => file))];
  const imports = files.map((file) => {
    const names = families.filter((family) => family.file === file).map(({ name }) => name);
    return `import { ${names.join(", ")} } from "./${file}.ts";`;
  });
  const entries = families.map(({ name, definition: { modelType } }) => {
    const key = /^\w+$/.test(modelType) ? modelType : JSON.stringify(modelType);
    return key === name ? `  ${name},` : `  ${key}: ${name},`;
  });
  const title = "// The built-in families, by `model_type`. `npm run families` writes this file.";
  const table = ["/** The built-in families by model type. */", "export const BUILT_IN = {", ...entries, "};"];
  return `${[title, ...imports, "", ...table].join("\n")}\n`;
}

const KINDS = ["decoder", "mixture of experts", "encoder"];

function kindOf({ encoder, experts }: FamilyDefinition): string {
  return encoder ? "encoder" : experts ? "mixture of experts" : "decoder";
}

/** Returns the table of docs/models.md: decoders, then mixtures of experts, then encoders. */
export function tableOf(families: readonly ListedFamily[]): string {
  const rows = KINDS.flatMap((kind) =>
    families
      .filter(({ definition }) => kindOf(definition) === kind)
      .map(({ models, definition: { modelType, gguf } }) => {
        return `| \`${modelType}\` | ${models} | ${kind} | ${gguf ? "folders, GGUF" : "folders"} |`;
      }),
  );
  return ["| model type | models | kind | files |", "|---|---|---|---|", ...rows].join("\n");
}

/** Returns the guide with its table replaced. */
export function withTable(text: string, table: string): string {
  return text.replace(/^\| model type \| models \|.*(\n\|.*)*/m, () => table);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const families = await listFamilies();
  writeFileSync(index, indexOf(families));
  writeFileSync(guide, withTable(readFileSync(guide, "utf8"), tableOf(families)));
}
