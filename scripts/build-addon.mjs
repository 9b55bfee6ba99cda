// Builds the native addon with CMake and puts it at build/Release/heddle.node (build/Debug with --debug).
//
//   node scripts/build-addon.mjs [--debug | --asan | --emulator | --races] [--build-dir DIR] [-D NAME=VALUE ...] [--target NAME]
//
// --emulator compiles the CUDA kernels as C++ for native/emulator (HEDDLE_EMULATE_CUDA=1 then makes a CUDA device of it); --races adds the
// race detector. Each variant has a directory under .cmake/. With --build-dir the result stays in DIR, and is loaded with
// HEDDLE_BINARY=DIR/heddle.node. HEDDLE_CMAKE_OPTIONS adds options (as -DA=B -DC=D); HEDDLE_BUILD_JOBS limits the number of compilers at
// once.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

const { values } = parseArgs({
  options: {
    debug: { type: "boolean", default: false },
    asan: { type: "boolean", default: false },
    emulator: { type: "boolean", default: false },
    races: { type: "boolean", default: false },
    "build-dir": { type: "string" },
    define: { type: "string", short: "D", multiple: true, default: [] },
    target: { type: "string" },
  },
});

function fail(message) {
  console.error(`heddle: ${message}`);
  process.exit(1);
}

function has(program) {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}

function run(program, args) {
  const { status, signal, error } = spawnSync(program, args, { stdio: "inherit", cwd: root });
  if (error) fail(`${program} could not be started: ${error.message}`);
  if (status !== 0) fail(`${program} ${args[0]} ended with ${signal ?? `exit status ${status}`}; see the lines above.`);
}

function headers(name, folder) {
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), folder);
  } catch {
    return fail(`building from source needs the npm package ${name}: run \`npm install\` first.`);
  }
}

if (!has("cmake")) {
  fail(
    "building from source needs cmake (3.22 or newer) on PATH and a C++17 compiler: install them and run `npm install` again.",
  );
}

const emulated = values.emulator || values.races;
const variant = values.asan
  ? "asan"
  : values.races
    ? "races"
    : emulated
      ? "emulator"
      : values.debug
        ? "debug"
        : "release";
const buildType = values.debug ? "Debug" : "Release";
const buildDir = resolve(root, values["build-dir"] ?? join(".cmake", variant));
const include = [headers("node-api-headers", "include"), headers("node-addon-api", "")];
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const extra = (process.env.HEDDLE_CMAKE_OPTIONS ?? "").split(/\s+/).filter(Boolean);

// CMake refuses a build directory that was made for another place: this checkout was moved or copied.
const cache = join(buildDir, "CMakeCache.txt");
if (
  !values["build-dir"] &&
  existsSync(cache) &&
  !readFileSync(cache, "utf8").includes(`\nCMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)
) {
  rmSync(buildDir, { recursive: true });
}
// A build directory remembers its generator, so -G is only given to a new one.
const generator = !existsSync(cache) && has("ninja") ? ["-G", "Ninja"] : [];
run("cmake", [
  "-S",
  root,
  "-B",
  buildDir,
  ...generator,
  `-DCMAKE_BUILD_TYPE=${buildType}`,
  // Every option is given each time: a build directory would else remember what an earlier run asked for.
  `-DHEDDLE_SANITIZE=${values.asan ? "ON" : "OFF"}`,
  `-DHEDDLE_TEST_HOOKS=${values.asan ? "ON" : "OFF"}`,
  "-DHEDDLE_CUDA=ON",
  "-DHEDDLE_CUDA_ARCHITECTURES=80-real;90a-real",
  "-DHEDDLE_TESTS=OFF",
  "-DHEDDLE_FUZZ=OFF",
  "-DHEDDLE_FUZZ_KERNELS=OFF",
  "-DHEDDLE_EMULATE_AVX512=OFF",
  `-DHEDDLE_EMULATE_CUDA=${emulated ? "ON" : "OFF"}`,
  `-DHEDDLE_EMULATE_CUDA_RACES=${values.races ? "ON" : "OFF"}`,
  "-DHEDDLE_WERROR=OFF",
  // The emulator's tests look at the CUDA kernels.
  `-DHEDDLE_ISAS=${emulated ? "baseline;neon" : "all"}`,
  `-DHEDDLE_VERSION=${version}`,
  `-DHEDDLE_NODE_INCLUDE=${include.join(";")}`,
  ...values.define.map((option) => `-D${option}`),
  ...extra,
]);
const jobs = process.env.HEDDLE_BUILD_JOBS ?? String(availableParallelism());
run("cmake", ["--build", buildDir, "--parallel", jobs, ...(values.target ? ["--target", values.target] : [])]);

const built = join(buildDir, "heddle.node");
if (values["build-dir"] || values.asan || emulated || values.target) {
  console.log(built);
} else {
  // Renamed into place: a process that has the old file mapped keeps it.
  const folder = join(root, "build", buildType);
  mkdirSync(folder, { recursive: true });
  const temporary = join(folder, `heddle.node.${process.pid}`);
  copyFileSync(built, temporary);
  renameSync(temporary, join(folder, "heddle.node"));
  console.log(join(folder, "heddle.node"));
}
