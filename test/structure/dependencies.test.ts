// Every package that a file of this repository imports is declared in package.json, bundled, or a client in test/serve/clients.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Returns the packages that a file imports from node_modules. */
function packagesOf(text: string): string[] {
  const found = text.matchAll(/^(?:import|export)\s(?:[\w*{}\s,$]*?\sfrom\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm);
  return [...found]
    .map(([, statement, call]) => (statement ?? call)!)
    .filter((name) => !/^[./]/.test(name) && !isBuiltin(name) && !name.includes("${"))
    .map((name) => name.split("/", name.startsWith("@") ? 2 : 1).join("/"));
}

/** Returns the imported packages of each file that git tracks in `folders`. */
function importedBy(folders: readonly string[]): Map<string, string[]> {
  const files = execFileSync("git", ["ls-files", ...folders], { cwd: root, encoding: "utf8" }).split("\n");
  return new Map(
    files
      .filter((file) => /\.(ts|mjs|cjs|js)$/.test(file))
      .map((file) => [file, packagesOf(readFileSync(join(root, file), "utf8"))]),
  );
}

function undeclared(folders: readonly string[], declared: object): string[] {
  const names = [...Object.keys(declared), "heddle"];
  return [...importedBy(folders)].flatMap(([file, packages]) =>
    packages.filter((name) => !names.includes(name)).map((name) => `${file} imports ${name}`),
  );
}

test("finds the packages of static and dynamic imports", () => {
  const text = [
    'import { a } from "./a.ts";',
    'import { readFile } from "node:fs/promises";',
    'import fs from "fs";',
    'import {\n  type B,\n  b,\n} from "@scope/b/part";',
    'export * from "c";',
    `const d = await ${"import"}("d/e");`, // split, because this file is searched as well
  ];
  expect(packagesOf(text.join("\n"))).toEqual(["@scope/b", "c", "d"]);
});

test("lib imports only dependencies, optional peers, and the bundled client of the Hub", () => {
  expect(importedBy(["lib"]).size).toBeGreaterThan(300);
  const { dependencies, peerDependencies, peerDependenciesMeta } = manifest;
  expect(Object.keys(peerDependenciesMeta)).toEqual(Object.keys(peerDependencies));
  // The build copies @huggingface/hub into dist.
  expect(readFileSync(join(root, "tsdown.config.ts"), "utf8")).toContain("@huggingface");
  expect(undeclared(["lib"], { ...dependencies, ...peerDependencies, "@huggingface/hub": "" })).toEqual([]);
});

test("other files import only declared dependencies and clients of the server", () => {
  const { dependencies, devDependencies } = manifest;
  const clients = JSON.parse(readFileSync(join(root, "test/serve/clients/versions.json"), "utf8"));
  const folders = ["test", "scripts", "bench", "examples", "*.config.ts"];
  expect(undeclared(folders, { ...dependencies, ...devDependencies, ...clients })).toEqual([]);
});
