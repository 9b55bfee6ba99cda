// Folders stay small enough that a newcomer finds a concept by its folder's name.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const MAX_FILES = 25;

/** Catalogues: folders with a file for each entry of a list, which may have any number of files. */
const catalogs: Readonly<Record<string, string>> = {
  "bench/results": "a file for each measurement",
  "lib/models/families": "a file for each model family",
  "native/ops": "a file for each op",
};

/** The folders below `folder`, itself included, each with the number of its files. Files in its subfolders do not count. */
function folderSizes(folder: string): [folder: string, files: number][] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory());
  const own: [string, number] = [folder, entries.filter((entry) => entry.isFile()).length];
  return [own, ...folders.flatMap(({ name }) => folderSizes(`${folder}/${name}`))];
}

const checked = ["lib", "native", "test", "bench", "scripts"];

test.each(checked)(`no folder of %s has more than ${MAX_FILES} files at one level`, (folder) => {
  const sizes = folderSizes(folder);
  expect(sizes.length).toBeGreaterThan(4);
  const large = sizes.filter(([name, files]) => files > MAX_FILES && !(name in catalogs));
  expect(large.map(([name, files]) => `${name}: ${files} files`)).toEqual([]);
});

test("every catalog is larger than other folders may be", () => {
  const sizes = new Map(checked.flatMap(folderSizes));
  expect(Object.keys(catalogs).filter((name) => (sizes.get(name) ?? 0) <= MAX_FILES)).toEqual([]);
});
