import { defineConfig, type UserConfig } from "tsdown";

const library = {
  index: "lib/index.ts",
  "graph/index": "lib/graph/index.ts",
  "tokenizer/index": "lib/tokenizer/index.ts",
};
const command = { "cli/main": "lib/cli/main.ts" };

const shared: UserConfig = {
  outDir: "dist",
  platform: "node",
  target: "node20",
  fixedExtension: false,
  sourcemap: true,
  shims: true,
  dts: false,
  // Of zod a start needs a small part: as a package it reads 95 files, most of them messages in other languages.
  noExternal: ["zod"],
  logLevel: "warn",
  outputOptions: {
    // What every entry loads, in one file: each costs a start about half a millisecond.
    advancedChunks: { groups: [{ name: "base", test: /\/lib\/(errors|binding|formats\/io)\.ts$/ }] },
  },
};

const licences = [{ from: "node_modules/zod/LICENSE", to: "dist/licenses", rename: "zod.txt" }];

// Declarations name zod's types where it is installed.
const types: UserConfig = { dts: { emitDtsOnly: true }, noExternal: [], clean: false };

// ES modules and CommonJS from the same sources; the command line is ES modules only.
export default defineConfig([
  { ...shared, entry: { ...library, ...command }, format: "esm", clean: true, copy: licences },
  { ...shared, entry: library, format: "cjs", clean: false },
  { ...shared, ...types, entry: { ...library, ...command }, format: "esm" },
  { ...shared, ...types, entry: library, format: "cjs" },
]);
