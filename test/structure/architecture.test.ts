// Holds the arrows of ARCHITECTURE.md: who may import whom, and what shipped native code may not call.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

// Each part of lib/ imports only itself and those before it.
const order = [
  "node-version",
  "core",
  "metrics",
  "binding",
  "io",
  "graph",
  "formats",
  "nn",
  "models",
  "tokenizer",
  "constrain",
  "convert",
  "inference",
  "language-model",
  "data",
  "optim",
  "train",
  "eval",
  "lifecycle",
  "bench",
  "rank",
  "serve",
  "cli",
];

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => posix.join(folder, name.replaceAll("\\", "/")))
    .filter((name) => pattern.test(name));
}

const sources = files("lib", /\.ts$/).map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }));
const part = (file: string) => file.split("/")[1]!.replace(/\.ts$/, "");

/** The files that a TypeScript file imports by a relative path. */
function imports(file: string, text: string): string[] {
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
  return [...found].map(([, path]) => posix.join(posix.dirname(file), path!));
}

/** As `imports`, without what is for types alone, which is gone when the program runs, and without what is imported when it is needed. */
function runtimeImports(file: string, text: string): string[] {
  const found = text.matchAll(/^(?:import|export)\s+(?!type\s)(?:[\w*{}\s,$]*?\sfrom\s+)?"(\.[^"]+)"/gm);
  return [...found].map(([, path]) => posix.join(posix.dirname(file), path!));
}

/** Files that import each other, each by the one before it, and the last the first; undefined where there are none. */
function cycleOf(imported: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const target of imported.get(file) ?? []) {
      const found = visit(target);
      if (found) return found;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of imported.keys()) {
    const found = visit(file);
    if (found) return found;
  }
  return undefined;
}

describe("lib", () => {
  test("every part has a place in the order", () => {
    expect([...new Set(sources.map(({ file }) => part(file)))].filter((name) => name !== "index").sort()).toEqual(
      order.filter((name) => sources.some(({ file }) => part(file) === name)).sort(),
    );
  });

  test("imports point one way", () => {
    const wrong = sources
      .filter(({ file }) => part(file) !== "index")
      .flatMap(({ file, text }) =>
        imports(file, text)
          .filter((target) => !order.slice(0, order.indexOf(part(file)) + 1).includes(part(target)))
          .map((target) => `${file} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  // Which of two such files is there first depends on who is imported first, and the other's constants are not made yet.
  test("no files import each other at run time", () => {
    expect(cycleOf(new Map(sources.map(({ file, text }) => [file, runtimeImports(file, text)])))).toBeUndefined();
    const pair = new Map([
      ["lib/a.ts", runtimeImports("lib/a.ts", 'import {\n  type A,\n  b,\n} from "./b.ts";\n')],
      ["lib/b.ts", runtimeImports("lib/b.ts", 'export * from "./a.ts";\n')],
    ]);
    expect(cycleOf(pair)).toEqual(["lib/a.ts", "lib/b.ts", "lib/a.ts"]);
    expect(runtimeImports("lib/b.ts", 'import type { A } from "./a.ts";\nconst a = await import("./a.ts");\n')).toEqual(
      [],
    );
  });

  test("only io, graph, formats and tokenizer import the binding", () => {
    const importers = sources.filter(({ file, text }) => imports(file, text).map(part).includes("binding"));
    const allowed = ["binding", "io", "graph", "formats", "tokenizer"];
    expect(importers.map(({ file }) => file).filter((file) => !allowed.includes(part(file)))).toEqual([]);
  });

  test("relative imports name the file with .ts", () => {
    const wrong = sources.flatMap(({ file, text }) =>
      imports(file, text).filter((target) => !/\.(ts|json)$/.test(target)),
    );
    expect(wrong).toEqual([]);
  });
});

describe("native", () => {
  const natives = files("native", /\.(cc|h|cu|cuh)$/).map((file) => ({
    file,
    // Comments may speak of anything.
    text: readFileSync(join(root, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, ""),
  }));

  test("only native/binding knows napi.h", () => {
    const users = natives.filter(({ text }) => /#include\s*[<"](napi|node_api|js_native_api)\.h/.test(text));
    expect(users.map(({ file }) => file).filter((file) => !file.startsWith("native/binding/"))).toEqual([]);
  });

  test("nothing ends the process or prints", () => {
    const forbidden =
      /\b(?:std::)?(?:(?:exit|_exit|quick_exit|assert|printf|fprintf|puts)\s*\(|(?:abort|terminate)\s*\(\s*\))|std::c(?:out|err)\b/;
    const wrong = natives
      .filter(({ file }) => !file.startsWith("native/emulator/"))
      .flatMap(({ file, text }) =>
        text
          .split("\n")
          .filter((line) => forbidden.test(line))
          .map((line) => `${file}: ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });
});
