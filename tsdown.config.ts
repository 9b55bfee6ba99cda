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
  dts: true,
  logLevel: "warn",
  outputOptions: {
    // What every entry loads, in one file: each costs a start about half a millisecond.
    advancedChunks: { groups: [{ name: "base", test: /\/lib\/(errors|binding|formats\/io)\.ts$/ }] },
  },
};

// ES modules and CommonJS from the same sources; the command line is ES modules only.
export default defineConfig([
  { ...shared, entry: { ...library, ...command }, format: "esm", clean: true },
  { ...shared, entry: library, format: "cjs", clean: false },
]);
