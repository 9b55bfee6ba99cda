// A folder of test/ has the name of the folder of lib/ or native/ that it tests. So the path of a file leads to its tests.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const entries = (folder: string) => readdirSync(join(root, folder), { withFileTypes: true });
const foldersOf = (folder: string) =>
  entries(folder)
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

/** Folders of test/ that test something other than one folder of lib/ or native/, with what they hold. */
const others: Readonly<Record<string, string>> = {
  addon: "code that a build for tests adds to the addon",
  arm: "the CPU kernels of arm64, on an emulated processor",
  "default-model": "the model in models/",
  deploy: "the files of deploy/",
  examples: "the programs of examples/",
  fuzz: "fuzz targets and their corpora",
  golden: "values that other software computed",
  "gpu-check": "scripts/gpu-check",
  helpers: "functions that many tests share",
  native: "C++ programs that test several folders of native/",
  packaging: "the packed tarball and the platform packages",
  process: "tests that start processes, and of scripts/",
  release: "the scripts of a release",
  structure: "rules for the whole repository",
};

test("every folder of test/ is named like a folder of lib/ or native/, or is listed with what it tests", () => {
  const rooms = new Set([...foldersOf("lib"), ...foldersOf("native"), ...Object.keys(others)]);
  expect(foldersOf("test").filter((name) => !rooms.has(name))).toEqual([]);
});

test("every listed folder exists, and neither lib/ nor native/ has a folder of its name", () => {
  const tested = foldersOf("test");
  const rooms = [...foldersOf("lib"), ...foldersOf("native")];
  expect(Object.keys(others).filter((name) => !tested.includes(name) || rooms.includes(name))).toEqual([]);
});

test("test/ has no test outside its folders", () => {
  const files = entries("test").filter((entry) => entry.isFile());
  expect(files.map(({ name }) => name).filter((name) => name.endsWith(".test.ts"))).toEqual([]);
});
