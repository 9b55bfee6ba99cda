// npm's install script. If the platform's package has an addon that loads, it does nothing. Otherwise it builds the addon from source.
// The command of node-gyp-build does not fit: it ignores the platforms' packages, and runs node-gyp, which downloads Node's headers.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const scripts = dirname(fileURLToPath(import.meta.url));
const root = dirname(scripts);

/** Returns whether heddle loads with the addon of the platform's package. */
function loads() {
  if (process.env.npm_config_build_from_source) return false;
  // In a checkout, which has lib/ unlike the published package, the addon and dist/ may be older than the sources.
  if (existsSync(join(root, "lib"))) return false;
  // Load the addon in a separate process, so that a crash counts as a failure to load.
  const trial = ["--input-type=module", "-e", "await import(process.argv[1])"];
  const entry = pathToFileURL(join(root, "dist", "index.js")).href;
  return spawnSync(process.execPath, [...trial, entry], { stdio: "ignore" }).status === 0;
}

if (!loads()) {
  const { status } = spawnSync(process.execPath, [join(scripts, "build-addon.mjs")], { stdio: "inherit" });
  process.exit(status ?? 1);
}
