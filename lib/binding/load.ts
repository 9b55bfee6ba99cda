// Finds the native addon and loads it.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HeddleError } from "../core/errors.ts";

/** Undefined if a bundler has converted this module to CommonJS. */
const here: string | undefined = import.meta.url;
if (here === undefined) throw bundled();
const require = createRequire(here);
// webpack puts undefined in place of createRequire.
if (typeof require !== "function") throw bundled();
// Use require: an import would evaluate all exports of node:fs, and so load every kind of stream.
const { existsSync, readFileSync, readdirSync } = require("node:fs") as typeof import("node:fs");

const TO_BUILD = "install a C++17 compiler and run `npm rebuild heddle --build-from-source`";

/** Returns the folder of the package's package.json, in a checkout or an installed package. @throws HeddleError UNSUPPORTED */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(here!));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw bundled();
    folder = parent;
  }
  return folder;
}

/**
 * Returns the paths at which node-gyp-build would find the addon, because loading node-gyp-build takes longer than the addon itself.
 * Empty if an environment variable changes its search.
 */
function usualPlaces(root: string): string[] {
  const { platform, arch, env } = process;
  if (env.PREBUILDS_ONLY || env.HEDDLE_PREBUILD || env.LIBC) return [];
  const places = [join(root, "build/Release/heddle.node")];
  if (platform === "linux" && !existsSync("/etc/alpine-release")) {
    places.push(join(root, `prebuilds/linux-${arch}/heddle.glibc.node`));
  }
  return places;
}

/** Returns the addon's path. @throws HeddleError UNSUPPORTED for a platform without an addon, and inside a bundle */
export function addonPath(): string {
  // HEDDLE_BINARY names another build of the addon, such as the one with sanitizers.
  if (process.env.HEDDLE_BINARY) return process.env.HEDDLE_BINARY;
  const root = packageRoot();
  const found = usualPlaces(root).find(existsSync);
  if (found) return found;
  if (JSON.parse(readFileSync(join(root, "package.json"), "utf8")).name !== "heddle") throw bundled();
  const nodeGypBuild = require("node-gyp-build") as { path(folder: string): string };
  try {
    return nodeGypBuild.path(root);
  } catch (cause) {
    const prebuilds = join(root, "prebuilds");
    const platforms = existsSync(prebuilds) ? readdirSync(prebuilds).join(", ") : "";
    const message = `heddle: no native addon for ${machine()}: the package has prebuilt ones for ${platforms || "no platform"}; to build one, ${TO_BUILD}`;
    throw new HeddleError("UNSUPPORTED", message, { cause });
  }
}

/** Loads the addon and returns its exports. @throws HeddleError UNSUPPORTED if none loads */
export function loadAddon(): unknown {
  const path = addonPath();
  // Use dlopen, not require. Each copy of this module (ESM and CommonJS in one process) then gets its own instance of the addon, which
  // throws errors of its copy's HeddleError class.
  const loaded: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(loaded, path);
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]!;
    throw new HeddleError(
      "UNSUPPORTED",
      `heddle: the native addon does not load on ${machine()}: ${reason} (\`npx heddle doctor\` shows more; to build one, ${TO_BUILD})`,
      { cause },
    );
  }
  return loaded.exports;
}

function machine(): string {
  return `${process.platform}-${process.arch} with Node ${process.versions.node}`;
}

function bundled(): HeddleError {
  return new HeddleError(
    "UNSUPPORTED",
    'heddle: expected to run from its own package folder, got a bundle without its native addon: mark heddle as external (esbuild: --external:heddle; webpack: externalsType: "node-commonjs", externals: [/^heddle/]; Next.js: serverExternalPackages: ["heddle"])',
  );
}
