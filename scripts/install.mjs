// npm's install script: nothing to do where a prebuilt addon loads, else a build from source.
// node-gyp-build's own command would run node-gyp, which downloads Node's headers. cmake-js takes them from npm's node-api-headers.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const scripts = dirname(fileURLToPath(import.meta.url));
const root = dirname(scripts);

function prebuildLoads() {
  if (process.env.npm_config_build_from_source) return false;
  // A checkout has lib/, the published package has not: there a leftover prebuild may be older than the sources.
  if (existsSync(join(root, "lib"))) return false;
  try {
    const file = createRequire(import.meta.url)("node-gyp-build").path(root);
    // Try it in a separate process, so that a crashing binary only counts as not loading.
    const trial = ["-e", "process.dlopen({ exports: {} }, process.argv[1])", file];
    return spawnSync(process.execPath, trial, { stdio: "ignore" }).status === 0;
  } catch {
    return false;
  }
}

if (!prebuildLoads()) {
  const { status } = spawnSync(process.execPath, [join(scripts, "build-addon.mjs")], { stdio: "inherit" });
  process.exit(status ?? 1);
}
