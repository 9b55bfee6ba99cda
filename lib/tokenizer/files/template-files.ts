// Chat templates in separate files: transformers writes the default one as a file, and named ones into a folder.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { CHAT_TEMPLATE_FILE, NAMED_TEMPLATES } from "../../formats/tokenizer-files.ts";

const mostTemplates = 64;

/** Names and paths of a folder's named templates. */
export async function namedTemplates(folder: string): Promise<[name: string, path: string][]> {
  const entries = await readdir(join(folder, NAMED_TEMPLATES)).catch(() => []);
  const names = entries.flatMap((entry) => /^(\w[\w.-]{0,63})\.jinja$/u.exec(entry)?.[1] ?? []);
  return names
    .sort()
    .slice(0, mostTemplates)
    .map((name) => [name, join(NAMED_TEMPLATES, `${name}.jinja`)]);
}

/** The texts of a folder's templates, by name. @param read undefined for a file that is not there */
export async function readTemplates(
  folder: string,
  read: (path: string) => Promise<string | undefined>,
): Promise<Record<string, string>> {
  const texts = new Map<string, string>();
  // The usual one comes last: its own file says what it is.
  for (const [name, path] of [...(await namedTemplates(folder)), ["default", CHAT_TEMPLATE_FILE] as const]) {
    const text = await read(join(folder, path));
    if (text !== undefined) texts.set(name, text);
  }
  return Object.fromEntries(texts);
}
