// Packs everything that scripts/gpu-check.sh needs besides the checkout, for a machine without network: Node, the packages that the steps
// import, and the small fixtures.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../testing.mjs";

/** Packages that the steps import and that are not dependencies of heddle. */
const needed = ["vitest", "fast-check", "hyparquet-writer", "cmake-js", "node-addon-api", "node-api-headers"];
const fixtures = [
  "stories260K",
  "synth-llama3-rope",
  "synth-mistral",
  "synth-qwen2",
  "synth-qwen3",
  "synth-gemma",
  "tiny-random-gpt2",
  "gpt-nano-sort",
  "llama2-tiny-random-gguf",
];

/** Returns the folders of the direct and indirect dependencies of heddle and `needed`, according to the lock file. */
function packages() {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const found = new Set();
  const visit = (name, from) => {
    // Resolves like Node: takes the nearest node_modules above.
    for (
      let at = from;
      ;
      at = at.includes("node_modules/") ? at.slice(0, at.lastIndexOf("node_modules/")).replace(/\/$/, "") : ""
    ) {
      const key = `${at ? `${at}/` : ""}node_modules/${name}`;
      if (lock[key]) {
        if (found.has(key) || !existsSync(join(root, key))) return; // found already, or a package for another platform
        found.add(key);
        const { dependencies, optionalDependencies, peerDependencies } = lock[key];
        for (const next of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }))
          visit(next, key);
        return;
      }
      if (at === "") return; // optional and not installed
    }
  };
  for (const name of [...Object.keys(lock[""].dependencies), ...needed]) visit(name, "");
  return [...found];
}

/** @returns the exit code */
export function writePack(file) {
  const folder = mkdtempSync(join(tmpdir(), "heddle-gpu-pack-"));
  try {
    mkdirSync(join(folder, "bin"));
    cpSync(process.execPath, join(folder, "bin", "node"), { dereference: true });
    spawnSync("strip", [join(folder, "bin", "node")]); // makes it smaller, if strip is installed
    // Nested packages have separate entries. Source maps and type declarations are not needed.
    for (const key of packages())
      cpSync(join(root, key), join(folder, key), {
        recursive: true,
        filter: (path) =>
          !path.slice(join(root, key).length).includes("/node_modules") && !/\.(map|d\.[cm]?ts|md)$/.test(path),
      });
    const from = join(root, "..", "shared", "fixtures");
    mkdirSync(join(folder, "fixtures"));
    for (const name of fixtures)
      if (existsSync(join(from, name))) cpSync(join(from, name), join(folder, "fixtures", name), { recursive: true });
    const { status } = spawnSync("tar", ["-cf", file, "-I", "xz -6 -T0", "-C", folder, "."], { stdio: "inherit" });
    if (status === 0) console.log(`${file}: ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
    return status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
