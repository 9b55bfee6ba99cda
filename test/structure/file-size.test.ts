// Files stay short enough to be read in one sitting: one concept per file.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const MAX_LINES = 450;
const SOURCES = /\.(?:[cm]?[jt]s|cc|h|cu|cuh|py)$/;

/** Files that may be longer, with the reason. */
const exceptions: Readonly<Record<string, string>> = {};

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCES.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)));
}

const lines = (file: string) => readFileSync(join(root, file), "utf8").split("\n").length - 1;

test.each(["lib", "native", "test", "bench", "scripts"])(`no file of %s has more than ${MAX_LINES} lines`, (folder) => {
  const files = sourceFiles(folder);
  expect(files.length).toBeGreaterThan(20);
  const long = files.filter((file) => lines(file) > MAX_LINES && !(file in exceptions));
  expect(long.map((file) => `${file}: ${lines(file)} lines`)).toEqual([]);
});

test("every exception is needed", () => {
  expect(Object.keys(exceptions).filter((file) => lines(file) <= MAX_LINES)).toEqual([]);
});
