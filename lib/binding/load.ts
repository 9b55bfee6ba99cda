// Finds the native addon and loads it.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HeddleError } from "../core/errors.ts";

const require = createRequire(import.meta.url);
// Required, not imported: an import reads all that node:fs exports, and so loads every kind of stream, a third of what a start takes.
const { existsSync } = require("node:fs") as typeof import("node:fs");

/** The folder that holds the package's package.json, in a checkout and in an installed package. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new HeddleError("INTERNAL", "heddle: no package.json in the folders above its files");
    folder = parent;
  }
  return folder;
}

/** Where node-gyp-build, which takes longer to load than the addon, would find it too; none where its variables decide. */
function usualPlaces(root: string): string[] {
  const { platform, arch, env } = process;
  if (env.PREBUILDS_ONLY || env.HEDDLE_PREBUILD || env.LIBC) return [];
  const places = [join(root, "build/Release/heddle.node")];
  if (platform === "linux" && !existsSync("/etc/alpine-release")) {
    places.push(join(root, `prebuilds/linux-${arch}/heddle.glibc.node`));
  }
  return places;
}

function binaryPath(): string {
  // HEDDLE_BINARY names another build of the addon, such as the one with sanitizers.
  if (process.env.HEDDLE_BINARY) return process.env.HEDDLE_BINARY;
  const root = packageRoot();
  const found = usualPlaces(root).find(existsSync);
  if (found) return found;
  const nodeGypBuild = require("node-gyp-build") as { path(folder: string): string };
  return nodeGypBuild.path(root);
}

/** Loads the addon and returns its exports. @throws HeddleError UNSUPPORTED if none loads */
export function loadAddon(): unknown {
  // dlopen instead of require: each copy of this module (ESM and CommonJS in one process) gets its own addon
  // instance, and so throws errors of its HeddleError class.
  const loaded: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(loaded, binaryPath());
  } catch (cause) {
    const { platform, arch } = process;
    throw new HeddleError(
      "UNSUPPORTED",
      `heddle: no native addon loads on ${platform}-${arch} with Node ${process.versions.node}; to build one, install cmake and a C++17 compiler and run \`npm rebuild heddle --build-from-source\` (${firstLine(cause)})`,
      { cause },
    );
  }
  return loaded.exports;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!;
}
