// The mutations of the CUDA kernels (test/emulator/mutants.mjs) replace text of the sources.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const folder = join(root, "test", "emulator", "mutants");
const kernels = join(root, "native", "cuda");
const paths = new Map(readdirSync(kernels, { recursive: true }).map((path) => [basename(String(path)), String(path)]));

test.each(readdirSync(folder))("the text that each mutation of %s replaces is in its file", async (file) => {
  const lists: unknown[] = Object.values(await import(join(folder, file)));
  const mutations = lists.flat() as [string, string, string][];
  const missing = mutations.filter(([, source, text]) => {
    const path = paths.get(source);
    return path === undefined || !readFileSync(join(kernels, path), "utf8").includes(text);
  });
  expect(mutations.length).toBeGreaterThan(0);
  expect(missing.map(([name]) => name)).toEqual([]);
});
