// Reads chat templates in separate files. transformers writes the default template to a file and named ones to a folder.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CHAT_TEMPLATE_FILE, NAMED_TEMPLATES } from "../../formats/tokenizer-files.ts";

const mostTemplates = 64;

/** Returns the names and paths of a folder's named templates. */
export async function namedTemplates(folder: string): Promise<[name: string, path: string][]> {
  const entries = await readdir(join(folder, NAMED_TEMPLATES)).catch(() => []);
  const names = entries.flatMap((entry) => /^(\w[\w.-]{0,63})\.jinja$/u.exec(entry)?.[1] ?? []);
  return names
    .sort()
    .slice(0, mostTemplates)
    .map((name) => [name, join(NAMED_TEMPLATES, `${name}.jinja`)]);
}

/** Returns the texts of a folder's templates by name. @param read returns undefined for a missing file */
export async function readTemplates(
  folder: string,
  read: (path: string) => Promise<string | undefined>,
): Promise<Record<string, string>> {
  const texts = new Map<string, string>();
  // The default template's own file comes last, so it overrides a named template "default".
  for (const [name, path] of [...(await namedTemplates(folder)), ["default", CHAT_TEMPLATE_FILE] as const]) {
    const text = await read(join(folder, path));
    if (text !== undefined) texts.set(name, text);
  }
  return Object.fromEntries(texts);
}
