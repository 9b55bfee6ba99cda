// Makes prebuilds/<platform>-<arch>/heddle[.<libc>].node, the binaries that npm packages ship.
//
//   node scripts/prebuild.mjs [TARGET ...] [--all] [--no-cuda] [-D NAME=VALUE ...] [--jobs N]
//
// Targets are the names in scripts/platforms/targets.mjs. Zig compiles them, on linux-x64. Without a target, this machine's own compiler
// builds for this machine only. Such a binary may need newer system libraries than a release is allowed to need.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { buildTarget } from "./platforms/build.mjs";
import { CUDA_ARCHITECTURES, findTarget, root, targets } from "./platforms/targets.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: "boolean", default: false },
    "no-cuda": { type: "boolean", default: false },
    define: { type: "string", short: "D", multiple: true, default: [] },
    jobs: { type: "string" },
  },
});

/** Builds with the compiler on PATH. */
function buildForThisMachine() {
  // prebuildify runs node-gyp, which downloads Node's headers unless npm_config_nodedir names their folder.
  const prefix = dirname(dirname(process.execPath));
  const env = {
    ...process.env,
    HEDDLE_CMAKE_OPTIONS: `-DHEDDLE_CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES} ${process.env.HEDDLE_CMAKE_OPTIONS ?? ""}`,
  };
  if (!env.npm_config_nodedir && existsSync(join(prefix, "include", "node", "node_api.h")))
    env.npm_config_nodedir = prefix;

  function run(script, ...args) {
    const { status } = spawnSync(process.execPath, [join(root, script), ...args], { stdio: "inherit", cwd: root, env });
    if (status !== 0) process.exit(status ?? 1);
  }

  run("node_modules/prebuildify/bin.js", "--napi", "--strip", "--tag-libc");
  // prebuildify moves the binary out of build/Release, so rebuild the working tree's own addon.
  env.HEDDLE_CMAKE_OPTIONS = process.env.HEDDLE_CMAKE_OPTIONS ?? "";
  run("scripts/build-addon.mjs");
}

try {
  const asked = values.all ? targets : positionals.map(findTarget);
  if (asked.length === 0) buildForThisMachine();
  for (const target of asked) {
    const options = { cuda: !values["no-cuda"], define: values.define };
    const binary = buildTarget(target, values.jobs ? { ...options, jobs: Number(values.jobs) } : options);
    console.log(`${relative(root, binary)}: ${(statSync(binary).size / 2 ** 20).toFixed(1)} MB`);
  }
} catch (error) {
  console.error(`heddle: ${error.message}`);
  process.exit(1);
}
