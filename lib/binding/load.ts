// Finds the native addon and loads it.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HeddleError, reasonOf } from "../core/errors.ts";
import { currentPlatform, PLATFORMS, platformName, prebuildPath } from "./platform-package.ts";

/** Undefined if a bundler has converted this module to CommonJS. */
const here: string | undefined = import.meta.url;
if (here === undefined) throw bundled();
const require = createRequire(here);
// webpack replaces createRequire by undefined.
if (typeof require !== "function") throw bundled();
// Use require: an import would evaluate all exports of node:fs, and so load every kind of stream.
const fs = require("node:fs") as typeof import("node:fs");
const { existsSync, readFileSync } = fs;

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
 * Returns the addon's path. It tries HEDDLE_BINARY, a checkout's build, the platform's package and node-gyp-build, in this order.
 * node-gyp-build comes last, because loading it takes longer than loading the addon.
 * @throws HeddleError UNSUPPORTED for a platform without an addon, and inside a bundle
 */
export function addonPath(root?: string): string {
  const { env } = process;
  // HEDDLE_BINARY names another build of the addon, such as the one with sanitizers.
  if (env.HEDDLE_BINARY) return env.HEDDLE_BINARY;
  root ??= packageRoot();
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { name: string; version: string };
  if (manifest.name !== "heddle") throw bundled();
  // These variables configure node-gyp-build, so leave the whole search to it.
  if (!(env.PREBUILDS_ONLY || env.HEDDLE_PREBUILD || env.LIBC)) {
    const built = join(root, "build/Release/heddle.node");
    if (existsSync(built)) return built;
    const packaged = packagedPath(root);
    if (packaged !== undefined) return packaged;
  }
  const nodeGypBuild = require("node-gyp-build") as { path(folder: string): string };
  try {
    return nodeGypBuild.path(root);
  } catch (cause) {
    throw new HeddleError("UNSUPPORTED", missingAddon(manifest.version), { cause });
  }
}

/** Returns the path of the addon in the platform's package; undefined if that package is not installed. */
function packagedPath(root: string): string | undefined {
  const platform = currentPlatform(fs);
  const name = platformName(platform);
  if (!PLATFORMS.includes(name)) return undefined;
  try {
    return createRequire(join(root, "package.json")).resolve(`@heddle/${name}/${prebuildPath(platform)}`);
  } catch {
    return undefined;
  }
}

/** Returns the message that explains why the addon is missing, and how to get one. */
function missingAddon(version: string): string {
  const name = platformName(currentPlatform(fs));
  const problem = `heddle: no native addon for ${name} with Node ${process.versions.node}`;
  return PLATFORMS.includes(name)
    ? `${problem}: the optional package @heddle/${name} is not installed: run \`npm install @heddle/${name}@${version}\`; or to build one, ${TO_BUILD}`
    : `${problem}: there are packages for ${PLATFORMS.join(", ")}; to build one, ${TO_BUILD}`;
}

/** Loads the addon and returns its exports. @throws HeddleError UNSUPPORTED if none loads */
export function loadAddon(): unknown {
  const path = addonPath();
  // Use dlopen, not require. A process may have an ESM and a CommonJS copy of this module. With dlopen each copy gets its own instance of
  // the addon, which throws errors of that copy's HeddleError class.
  const loaded: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(loaded, path);
  } catch (cause) {
    const reason = reasonOf(cause).split("\n", 1)[0]!;
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
