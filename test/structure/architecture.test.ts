// Checks the dependency rules of ARCHITECTURE.md and functions that shipped native code must not call.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

// Each part of lib/ imports only itself and earlier parts.
const order = [
  "core",
  "metrics",
  "binding",
  "io",
  "graph",
  "formats",
  "hub",
  "nn",
  "answers",
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
  "report",
  "lifecycle",
  "bench",
  "rank",
  "ai-sdk",
  "serve",
  "cli",
];

/** Entry points import every part. */
const entries = ["index", "graph-entry"];

/** For each folder of native/, the other folders that it includes files of. */
const nativeOrder: Readonly<Record<string, readonly string[]>> = {
  core: [],
  distributed: ["core"],
  tokenizer: ["core"],
  ops: ["core"],
  runtime: ["core", "ops"],
  cpu: ["core", "ops", "runtime"],
  cuda: ["core", "ops", "runtime"],
  no_cuda: ["core", "runtime"],
  binding: ["core", "distributed", "tokenizer", "ops", "runtime", "cpu"],
  // For tests. The emulator's own cuda_runtime.h takes the place of CUDA's, so native/cuda includes nothing of the emulator.
  emulator: ["core", "ops"],
  simulator: [],
};

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => posix.join(folder, name.replaceAll("\\", "/")))
    .filter((name) => pattern.test(name));
}

const sources = files("lib", /\.ts$/).map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }));
const part = (file: string) => file.split("/")[1]!.replace(/\.ts$/, "");

/** The relative imports of a TypeScript file. */
function imports(file: string, text: string): string[] {
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
  return [...found].map(([, path]) => posix.join(posix.dirname(file), path!));
}

/** Like `imports`, without type-only and dynamic imports. */
function runtimeImports(file: string, text: string): string[] {
  const found = text.matchAll(/^(?:import|export)\s+(?!type\s)(?:[\w*{}\s,$]*?\sfrom\s+)?"(\.[^"]+)"/gm);
  return [...found].map(([, path]) => posix.join(posix.dirname(file), path!));
}

/** Returns the files of an import cycle in order, or undefined. */
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
  test("has only folders that the import order lists", () => {
    const parts = new Set(sources.map(({ file }) => part(file)));
    expect([...parts].filter((name) => !entries.includes(name)).sort()).toEqual([...order].sort());
  });

  test("imports earlier parts only", () => {
    const wrong = sources
      .filter(({ file }) => !entries.includes(part(file)))
      .flatMap(({ file, text }) =>
        imports(file, text)
          .filter((target) => !order.slice(0, order.indexOf(part(file)) + 1).includes(part(target)))
          .map((target) => `${file} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  // In a cycle, the file that runs first would see uninitialized constants of the others.
  test("has no import cycles at run time", () => {
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
    // `doctor` imports lib/binding only to find the addon's path, and does not load it.
    const isBinding = (path: string) => part(path) === "binding";
    const importers = sources.filter(({ file, text }) => {
      const isDoctor = file === "lib/cli/commands/doctor.ts";
      return imports(file, text).some((path) => isBinding(path) && !(isDoctor && path === "lib/binding/load.ts"));
    });
    const allowed = ["binding", "io", "graph", "formats", "tokenizer"];
    expect(importers.map(({ file }) => file).filter((file) => !allowed.includes(part(file)))).toEqual([]);
  });

  test("writes relative imports with the .ts extension", () => {
    // The playground's modules are strings that a browser runs. They import each other as .js.
    const own = sources.filter(({ file }) => !file.startsWith("lib/serve/playground/script/"));
    const wrong = own.flatMap(({ file, text }) => imports(file, text).filter((target) => !/\.(ts|json)$/.test(target)));
    expect(wrong).toEqual([]);
  });
});

const natives = files("native", /\.(cc|h|cu|cuh)$/).map((file) => ({
  file,
  // Ignore comments.
  text: readFileSync(join(root, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, ""),
}));

const headers = new Set(files("native", /\.(h|cuh|inc)$/));

/** The headers of native/ that a native file includes. */
function includes(text: string): string[] {
  const found = [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)];
  return found.map(([, path]) => posix.join("native", path!)).filter((path) => headers.has(path));
}

/** Includes of one folder of native/ from another. */
const crossings = natives.flatMap(({ file, text }) =>
  includes(text)
    .filter((target) => part(target) !== part(file))
    .map((target) => ({ file, target })),
);

describe("native", () => {
  test("has only folders that the include order lists", () => {
    expect([...new Set(natives.map(({ file }) => part(file)))].sort()).toEqual(Object.keys(nativeOrder).sort());
  });

  test("includes its own files by their paths in native/", () => {
    // The headers of CUDA have no folder in their names.
    const wrong = natives.flatMap(({ file, text }) =>
      [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)]
        .map(([, path]) => path!)
        .filter((path) => !headers.has(posix.join("native", path)) && !/^cuda(_runtime)?\.h$/.test(path))
        .map((path) => `${file} includes ${path}`),
    );
    expect(wrong).toEqual([]);
  });

  test("includes files of listed folders only", () => {
    const wrong = crossings.filter(({ file, target }) => !nativeOrder[part(file)]!.includes(part(target)));
    expect(wrong.map(({ file, target }) => `${file} includes ${target}`)).toEqual([]);
  });

  test("has an include order without cycles or unused entries", () => {
    expect(cycleOf(new Map(Object.entries(nativeOrder)))).toBeUndefined();
    const used = new Set(crossings.map(({ file, target }) => `${part(file)} includes ${part(target)}`));
    const listed = Object.entries(nativeOrder).flatMap(([from, to]) => to.map((name) => `${from} includes ${name}`));
    expect(listed.filter((entry) => !used.has(entry))).toEqual([]);
  });

  test("includes napi.h only in native/binding", () => {
    const users = natives.filter(({ text }) => /#include\s*[<"](napi|node_api|js_native_api)\.h/.test(text));
    expect(users.map(({ file }) => file).filter((file) => !file.startsWith("native/binding/"))).toEqual([]);
  });

  test("neither prints nor exits the process, apart from endProcess", () => {
    const forbidden =
      /\b(?:std::)?(?:(?:exit|_exit|_Exit|quick_exit|assert|printf|fprintf|puts)\s*\(|(?:abort|terminate)\s*\(\s*\))|std::c(?:out|err)\b/;
    const wrong = natives
      .filter(({ file }) => file !== "native/binding/ranks/end_process.cc")
      .filter(({ file }) => !file.startsWith("native/emulator/") && !file.startsWith("native/simulator/"))
      .flatMap(({ file, text }) =>
        text
          .split("\n")
          .filter((line) => forbidden.test(line))
          .map((line) => `${file}: ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });
});

describe("the picture in ARCHITECTURE.md", () => {
  const [, picture] = /^```\n([\s\S]*?)^```/m.exec(readFileSync(join(root, "ARCHITECTURE.md"), "utf8"))!;
  /** The line of each folder: "io" for lib/io, "native/ops" for native/ops. Descriptions begin at column 50. */
  const lines = new Map(
    picture!.split("\n").flatMap((line, i) =>
      line
        .slice(0, 50)
        .split(/\s+/)
        .filter((name) => /^[a-z][\w/-]*$/.test(name))
        .map((name) => [name, i] as const),
    ),
  );

  test("shows every folder of lib and native", () => {
    const natively = Object.keys(nativeOrder).map((name) => `native/${name}`);
    expect([...lines.keys()].sort()).toEqual([...order, ...natively].sort());
  });

  test("has every folder on the line of the folders that it imports, or above them", () => {
    const edges = [
      ...sources
        .filter(({ file }) => !entries.includes(part(file)))
        .flatMap(({ file, text }) => imports(file, text).map((target) => [part(file), part(target)] as const)),
      ...crossings.map(({ file, target }) => [`native/${part(file)}`, `native/${part(target)}`] as const),
    ];
    const wrong = edges.filter(([from, to]) => lines.get(from)! > lines.get(to)!);
    expect([...new Set(wrong.map(([from, to]) => `${from} imports ${to}`))]).toEqual([]);
  });
});
