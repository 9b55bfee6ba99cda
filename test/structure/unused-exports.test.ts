// Every name that a file of lib exports is imported by another file. A name that only its own file uses is not exported.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

/** Users of the package import the exports of these files. */
const ENTRIES = ["index", "graph-entry", "serve/index", "tokenizer/index", "ai-sdk/index"].map(
  (name) => `lib/${name}.ts`,
);

/** Types that no other file imports. They are exported because the declarations (.d.ts) of constants in other files name them. */
const NAMED_BY_DECLARATIONS = ["lib/train/preference/pairs.ts: PairBatchShape"];

/** The texts of files by path. Paths have slashes on every platform. */
type Texts = ReadonlyMap<string, string>;

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let|enum) (?:([\w$]+)|[{[]([^}\]]*)[}\]] =)/gm;

/** An import or export of a list of names. An export without `from` is of names of the same file. */
const LIST = /^(import|export) (?:type )?(?:[\w$]+, )?\{([^}]*)\}(?: from "([^"]+)")?/gm;

/** Returns the two names of each item of a list: `a as b` is ["a", "b"], and `a` is ["a", "a"]. */
function itemsOf(list: string): [string, string][] {
  const items = list.split(",").map((item) => item.trim().replace(/^type /, ""));
  return items.filter(Boolean).map((item) => {
    const [name, alias = name] = item.split(/ as |: /);
    return [name!, alias!];
  });
}

/** Returns the names that a file exports. Those of `export *` are left out: they belong to another file. */
function exportsOf(text: string): Set<string> {
  const declared = [...text.matchAll(DECLARATION)].flatMap(([, name, pattern]) =>
    name === undefined ? itemsOf(pattern!).map(([, alias]) => alias) : [name],
  );
  const listed = [...text.matchAll(LIST)].flatMap(([, kind, list]) =>
    kind === "export" ? itemsOf(list!).map(([, alias]) => alias) : [],
  );
  return new Set([...declared, ...listed]);
}

/** Returns the files of lib that a path in a file's code leads to. `${…}` in a path stands for any part of a file's name. */
function targetsOf(texts: Texts, file: string, path: string): string[] {
  const source = path.replace(/\.js$/, ".ts"); // scripts of the playground
  const candidates = [posix.join(posix.dirname(file), source), source];
  if (!source.includes("${")) {
    const target = candidates.find((candidate) => candidate.startsWith("lib/") && texts.has(candidate));
    return target === undefined ? [] : [target];
  }
  const patterns = candidates.map((candidate) => {
    const parts = candidate.split(/\$\{[^}]*\}/).map((part) => part.replace(/[.*+?^$()[\]{}|\\]/g, "\\$&"));
    return new RegExp(`^${parts.join("[^/]+")}$`);
  });
  return [...texts.keys()].filter((one) => one.startsWith("lib/") && patterns.some((pattern) => pattern.test(one)));
}

/**
 * Returns the exports of lib that no other file imports. A file may also name the path of another without a list of names: in a namespace
 * import, a dynamic import or a mock. It then counts as importing the exports whose names occur in its text.
 */
function unusedExports(texts: Texts): string[] {
  const used = new Set<string>();
  for (const [file, text] of texts) {
    const rest = text.replace(LIST, (statement, _kind, list: string, path?: string) => {
      const [target] = path === undefined ? [] : targetsOf(texts, file, path);
      if (target === undefined) return statement;
      for (const [name] of itemsOf(list)) used.add(`${target}: ${name}`);
      return "";
    });
    const paths = new Set([...rest.matchAll(/["'`]([^"'`\n]*\.[jt]s)["'`]/g)].map(([, path]) => path!));
    const targets = [...paths].flatMap((path) => targetsOf(texts, file, path).map((target) => ({ path, target })));
    const words = new Set(targets.length === 0 ? [] : rest.match(/[A-Za-z_$][\w$]*/g));
    for (const { path, target } of targets)
      for (const name of exportsOf(texts.get(target)!))
        if (words.has(name) || rest.includes(`export * from "${path}"`)) used.add(`${target}: ${name}`);
  }
  return [...texts]
    .filter(([file]) => file.startsWith("lib/") && !ENTRIES.includes(file))
    .flatMap(([file, text]) => [...exportsOf(text)].map((name) => `${file}: ${name}`))
    .filter((name) => !used.has(name));
}

/** Reads the code of the checkout. */
function readTexts(): Texts {
  const paths = ["lib", "test", "bench", "scripts", "examples"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
      .filter((path) => /\.(?:ts|mts|mjs|js|cjs)$/.test(path) && !path.includes("/node_modules/")),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

test("another file imports every export of lib", () => {
  const texts = readTexts();
  const count = [...texts].reduce((sum, [file, text]) => sum + (file.startsWith("lib/") ? exportsOf(text).size : 0), 0);
  expect(count).toBeGreaterThan(2500);
  expect(unusedExports(texts)).toEqual(NAMED_BY_DECLARATIONS);
});

test("finds the exports that no other file imports", () => {
  const code = {
    "lib/index.ts": 'export { run } from "./run/run.ts";\nexport * from "./run/all.ts";\n',
    "lib/run/run.ts": [
      "export function run() {}",
      "export async function slow() {}",
      "export abstract class Base {}",
      "export interface Own {}",
      "export type Used = Own;",
      "export const [first, second] = [1, 2];",
      "export const { a, b: c } = { a: 1, b: 2 };",
      "const local = 1;",
      "export { local as renamed };",
      'export { needless, type Needless } from "./all.ts";',
    ],
    "lib/run/all.ts": ["export const needless = 1;", "export type Needless = 1;"],
    "lib/run/command.ts": ["export const command = 1;", "export const other = 1;"],
    "lib/run/script.ts": ["export const script = 1;"],
    "lib/run/user.ts": [
      'import {\n  type Used as Type,\n  slow as fast,\n} from "./run.ts";',
      'const { command } = await import("./command.ts");',
    ],
    "scripts/read.mjs": ["const path = `../lib/run/$" + "{name}.ts`;", "(await import(path)).script;"],
  };
  const texts = Object.entries(code).map(([path, text]) => [path, [text].flat().join("\n")] as const);
  expect(unusedExports(new Map(texts))).toEqual([
    ...["Base", "Own", "first", "second", "a", "c", "renamed", "needless", "Needless"].map(
      (name) => `lib/run/run.ts: ${name}`,
    ),
    "lib/run/command.ts: other",
  ]);
});
