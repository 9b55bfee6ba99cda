import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type UserConfig } from "tsdown";

const library = {
  index: "lib/index.ts",
  "graph/index": "lib/graph-entry.ts",
  "ai-sdk/index": "lib/ai-sdk/index.ts",
  "serve/index": "lib/serve/index.ts",
  "tokenizer/index": "lib/tokenizer/index.ts",
};
// The program is an entry beside main: it looks for package.json from where it lies.
const command = { "cli/main": "lib/cli/main.ts", "cli/program": "lib/cli/program.ts" };

/**
 * V8 keeps a module's text as long as the module: a byte a character, but two where a single one is beyond Latin-1. Those are written as
 * escapes, and comments, which the declarations hold for readers, are left out.
 */
const oneByte = {
  name: "one-byte",
  generateBundle(_: unknown, bundle: Record<string, { type: string; fileName: string; code?: string }>) {
    for (const part of Object.values(bundle))
      if (part.type === "chunk" && part.code && !/\.d\.c?ts$/.test(part.fileName))
        part.code = part.code.replace(
          /[^\0-\u00ff]/g,
          (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
        );
  },
};

/** The declarations' printer puts a member's comment on the line of the member before it, where editors do not look for it. */
const ownLines = {
  name: "own-lines",
  generateBundle(_: unknown, bundle: Record<string, { type: string; fileName: string; code?: string }>) {
    for (const part of Object.values(bundle))
      if (part.type === "chunk" && part.code && /\.d\.c?ts$/.test(part.fileName))
        part.code = part.code.replace(/; (\/\*\*.*\*\/)$/gm, ";\n  $1");
  },
};

interface Manifest {
  version: string;
  repository?: { url: string };
}

const DOCS = 'addressOf("../../docs/", import.meta.url)'; // in lib/core/errors.ts

/** Returns code whose value is the address of docs/, with a slash at its end. `HeddleError.docs` links there. */
export function docsAddress({ version, repository }: Manifest): string {
  if (!repository) return DOCS.replace("../../", "../"); // chunks lie in dist/
  const page = repository.url.replace(/^git\+/, "").replace(/\.git$/, "");
  return JSON.stringify(`${page}/blob/v${version}/docs/`);
}

const docsLinks = {
  name: "docs-links",
  transform(code: string, id: string) {
    if (id !== join(import.meta.dirname, "lib/core/errors.ts")) return null;
    const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "package.json"), "utf8")) as Manifest;
    const replaced = code.replace(DOCS, docsAddress(manifest));
    if (replaced === code) throw new Error("lib/core/errors.ts: expected the expression of the folder docs/");
    return replaced;
  },
};

interface Modules {
  getModuleInfo(id: string): { importedIds: readonly string[] } | null;
}

/** It runs where the addon does not load. Modules that it imports must not share a file with those that load the addon. */
const doctor = { doctor: "lib/cli/commands/doctor.ts" };

/**
 * Puts modules that the same entries import statically into one file. A start then loads few files, each of which costs about half a
 * millisecond. Modules that are only imported on demand keep files of their own.
 */
function fewFiles(entries: Record<string, string>): UserConfig["outputOptions"] {
  const starts = { ...entries, ...doctor };
  const reached = new Map<string, Set<string>>();
  const collect = (modules: Modules) => {
    for (const [entry, path] of Object.entries(starts)) {
      const found = new Set([join(import.meta.dirname, path)]);
      for (const id of found) for (const next of modules.getModuleInfo(id)?.importedIds ?? []) found.add(next);
      reached.set(entry, found);
    }
  };
  const name = (id: string, modules: Modules) => {
    if (reached.size === 0) collect(modules);
    // An entry exports nothing else. The program runs while its module is evaluated, so what it imports then must not wait for its file.
    if (Object.values(entries).some((path) => id === join(import.meta.dirname, path))) return null;
    const users = Object.keys(starts).filter((entry) => reached.get(entry)!.has(id));
    if (users.every((entry) => entry in doctor)) return null;
    if (/\/lib\/core\/(?!schema)/.test(id)) return "core"; // schema-*.ts import zod
    return `start-${users.map((entry) => entry.replace("/index", "").replace("/", "-")).join("-")}`;
  };
  return {
    comments: { legal: true, annotation: true, jsdoc: false },
    codeSplitting: { includeDependenciesRecursively: false, groups: [{ name }] },
  };
}

const shared: UserConfig = {
  outDir: "dist",
  platform: "node",
  target: "node20",
  fixedExtension: false,
  // The code is not minified, and maps would be a third of the package.
  sourcemap: false,
  shims: true,
  dts: false,
  // Of zod a start needs a small part: as a package it reads 95 files, most of them messages in other languages. Of the Hub's client two
  // functions are used, and its packages weigh 6 MB.
  noExternal: ["zod", /^@huggingface\/(hub|tasks|xetchunk-wasm|blake3-jit)$/],
  treeshake: {
    moduleSideEffects: [{ test: /@huggingface\/(hub|tasks|xetchunk-wasm|blake3-jit)\//, sideEffects: false }],
  },
  logLevel: "warn",
  plugins: [docsLinks, oneByte],
};

/** The build of declarations emits the chunks of dynamic imports as code too. */
const declarationsOnly = {
  name: "declarations-only",
  generateBundle(_: unknown, bundle: Record<string, { type: string; fileName: string }>) {
    for (const [name, part] of Object.entries(bundle))
      if (part.type === "chunk" && !/\.d\.c?ts$/.test(part.fileName)) delete bundle[name];
  },
};

const licences = [
  { from: "node_modules/zod/LICENSE", to: "dist/licenses", rename: "zod.txt" },
  { from: "node_modules/@huggingface/hub/LICENSE", to: "dist/licenses", rename: "huggingface-hub.txt" },
];

// Declarations name zod's types where it is installed, and leave out what is marked @internal: editors offer it nowhere.
const types: UserConfig = {
  dts: { emitDtsOnly: true, compilerOptions: { stripInternal: true } },
  noExternal: [],
  plugins: [ownLines, declarationsOnly],
  clean: false,
};

const build = (entry: Record<string, string>): UserConfig => ({ ...shared, entry, outputOptions: fewFiles(entry) });

// ES modules and CommonJS from the same sources; the command line is ES modules only.
export default defineConfig([
  { ...build({ ...library, ...command }), format: "esm", clean: true, copy: licences },
  { ...build(library), format: "cjs", clean: false },
  { ...shared, ...types, entry: { ...library, ...command }, format: "esm" },
  { ...shared, ...types, entry: library, format: "cjs" },
]);
