// CONTRIBUTING.md and ARCHITECTURE.md name only files and folders that exist. They do not cite commits, which rebasing renames. All pages have
// American spelling.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { britishWords } from "./spelling.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const readPage = (page: string) => readFileSync(join(root, page), "utf8");

/** Folders of installed, built and versioned files. */
const IGNORED = new Set([".git", "node_modules", "build", "dist", "prebuilds"]);

/** Names that look like paths of the checkout: an entry point of the package, and a folder that the build makes. */
const NOT_FILES = new Set(["heddle/graph", ".cmake/tools"]);

/** Paths of all files and folders of the checkout. */
function allPaths(folder = ""): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !IGNORED.has(name))
    .flatMap((entry) => {
      const path = folder + entry.name;
      return entry.isDirectory() ? [path, ...allPaths(`${path}/`)] : [path];
    });
}

/** Returns the paths in the inline code of a page. A path of the form `..` is outside the checkout. */
function namedPaths(page: string): string[] {
  const words = [...page.matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => code!.split(/[\s:,]+/));
  const paths = words.filter(
    (word) =>
      /^[\w.*][\w.*-]*(?:\/[\w.*-]+)*\/?$/.test(word) &&
      (word.includes("/") || /\.(?:[cm]?[jt]s|cc|cuh?|h|py|sh|json|txt|md|yml)$/.test(word)) &&
      !word.startsWith("../") &&
      !/^[A-Z]+\./.test(word) && // a placeholder, such as FILE.cu
      !NOT_FILES.has(word),
  );
  return [...new Set(paths.map((path) => path.replace(/\/$/, "")))];
}

/** Whether a name is one of the paths, or the last parts of one. A file name x, as in x.test.ts, stands for any name, like `*`. */
function exists(name: string, paths: readonly string[]): boolean {
  const pattern = name
    .replace(/(^|\/)x(?=\.)/, "$1*")
    .replace(/[.+]/g, "\\$&")
    .replaceAll("*", "[^/]+");
  const path = new RegExp(`(?:^|/)${pattern}$`);
  return paths.some((one) => path.test(one));
}

test.each(["CONTRIBUTING.md", "ARCHITECTURE.md"])("every file and folder that %s names exists", (page) => {
  const paths = allPaths();
  const names = namedPaths(readPage(page));
  expect(names.length).toBeGreaterThan(30);
  expect(names.filter((name) => !exists(name, paths))).toEqual([]);
});

test.each(["CONTRIBUTING.md", "ARCHITECTURE.md"])("%s cites no commit", (page) => {
  expect(readPage(page)).not.toMatch(/\bcommit "|\b[0-9a-f]{8,40}\b/);
});

/** The pages of the root and of `docs`. */
const pages = [
  ...readdirSync(root),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).map((name) => join("docs", name)),
].filter((name) => name.endsWith(".md"));

test.each(pages)("%s has American spelling", (page) => {
  const text = readPage(page).replace(/`[^`\n]*\/[^`\n]*`/g, ""); // paths
  expect(britishWords(text)).toEqual([]);
});

test("the changesets have American spelling outside of inline code", () => {
  const changesets = readdirSync(join(root, ".changeset")).filter((name) => name.endsWith(".md"));
  const british = changesets.flatMap((name) => {
    const text = readPage(join(".changeset", name)).replace(/`[^`\n]*`/g, ""); // code
    return britishWords(text).map((word) => `${name}: ${word}`);
  });
  expect(british).toEqual([]);
});
