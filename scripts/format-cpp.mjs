// Formats all C++ and CUDA files of native/ and test/ with the clang-format that package.json pins, by .clang-format.
//
//   node scripts/format-cpp.mjs [--check]
//
// --check changes nothing, and fails if a file is not formatted.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const clangFormat = createRequire(import.meta.url).resolve("@wasm-fmt/clang-format/clang-format-cli.cjs");

const files = ["native", "test"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(cc|h|cu|cuh)$/.test(name))
    .map((name) => join(folder, name)),
);
const mode = process.argv.includes("--check") ? ["--dry-run", "-Werror"] : ["-i"];
const { status, error } = spawnSync(process.execPath, [clangFormat, ...mode, ...files], {
  cwd: root,
  stdio: "inherit",
});
if (error) throw error;
if (status === 0) console.log(`${mode[0] === "-i" ? "Formatted" : "Checked"} ${files.length} C++ files.`);
process.exitCode = status ?? 1;
