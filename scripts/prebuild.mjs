// Makes prebuilds/<platform>-<arch>/heddle.<libc>.node, the binary that the npm package ships.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const architectures = "80-real;86-real;89-real;90a-real;100-real;120-real";

// prebuildify runs node-gyp, which downloads Node's headers unless it is told where they are.
const prefix = dirname(dirname(process.execPath));
const env = {
  ...process.env,
  HEDDLE_CMAKE_OPTIONS: `-DHEDDLE_CUDA_ARCHITECTURES=${architectures} ${process.env.HEDDLE_CMAKE_OPTIONS ?? ""}`,
};
if (!env.npm_config_nodedir && existsSync(join(prefix, "include", "node", "node_api.h")))
  env.npm_config_nodedir = prefix;

function run(script, ...args) {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], { stdio: "inherit", cwd: root, env });
  if (status !== 0) process.exit(status ?? 1);
}

run("node_modules/prebuildify/bin.js", "--napi", "--strip", "--tag-libc");
// prebuildify moves the binary away from build/Release: give the working tree its own back.
env.HEDDLE_CMAKE_OPTIONS = process.env.HEDDLE_CMAKE_OPTIONS ?? "";
run("scripts/build-addon.mjs");
