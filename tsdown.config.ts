import { existsSync } from "node:fs";
import { defineConfig, type UserConfig } from "tsdown";

const library = { index: "lib/index.ts", "tokenizer/index": "lib/tokenizer/index.ts" };
const command = { "cli/main": "lib/cli/main.ts" };

function present(entries: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file)));
}

const shared: UserConfig = {
  outDir: "dist",
  platform: "node",
  target: "node20",
  fixedExtension: false,
  sourcemap: true,
  shims: true,
  logLevel: "warn",
};

// ES modules and CommonJS from the same sources; the command line is ES modules only.
export default defineConfig([
  { ...shared, entry: present({ ...library, ...command }), format: "esm", dts: true, clean: true },
  { ...shared, entry: present(library), format: "cjs", dts: true, clean: false },
]);
