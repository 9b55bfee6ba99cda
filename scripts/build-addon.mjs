// Builds the native addon with cmake-js and puts it at build/Release/heddle.node (build/Debug with --debug).
//
//   node scripts/build-addon.mjs [--debug | --asan | --emulator | --races | --simulator] [--build-dir DIR] [-D NAME=VALUE ...] [--target NAME]
//
// --emulator compiles the CUDA kernels as C++ for native/emulator, which emulates a CUDA device if HEDDLE_EMULATE_CUDA=1. --races adds the
// race detector. --simulator embeds the kernels' PTX and links native/simulator instead of the CUDA runtime. Each variant has a directory
// under .cmake/. With --build-dir the result stays in DIR, and HEDDLE_BINARY=DIR/heddle.node loads it.
//
// CUDA kernels are compiled for this machine's GPUs, or for compute capability 8.0 and 9.0 without a GPU. -D
// HEDDLE_CUDA_ARCHITECTURES=LIST selects others. HEDDLE_CMAKE_OPTIONS adds options (-DA=B -DC=D). HEDDLE_BUILD_JOBS limits the number of
// parallel compilers. A missing cmake is installed from npm (build-tools.mjs).
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BuildError, cardArchitectures, findCMake, findCMakeJs, findCompiler } from "./build-tools.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const { values } = parseArgs({
  options: {
    debug: { type: "boolean", default: false },
    asan: { type: "boolean", default: false },
    emulator: { type: "boolean", default: false },
    races: { type: "boolean", default: false },
    simulator: { type: "boolean", default: false },
    "build-dir": { type: "string" },
    define: { type: "string", short: "D", multiple: true, default: [] },
    target: { type: "string" },
  },
});

function fail(message) {
  console.error(`heddle: ${message}`);
  process.exit(1);
}

/** Calls `find` and returns its result. If a tool is missing, prints the message of the BuildError and exits. */
function found(find) {
  try {
    return find();
  } catch (error) {
    if (error instanceof BuildError) return fail(error.message);
    throw error;
  }
}

const emulated = values.emulator || values.races;
const variant = values.asan
  ? "asan"
  : values.races
    ? "races"
    : emulated
      ? "emulator"
      : values.simulator
        ? "simulator"
        : values.debug
          ? "debug"
          : "release";
const buildType = values.debug ? "Debug" : "Release";
const buildDir = resolve(root, values["build-dir"] ?? join(".cmake", variant));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const extra = (process.env.HEDDLE_CMAKE_OPTIONS ?? "").split(/\s+/).filter(Boolean);

// CMake rejects a build directory that records another path of the checkout. If the checkout was moved or copied, start a new one.
const cache = join(buildDir, "CMakeCache.txt");
if (
  !values["build-dir"] &&
  existsSync(cache) &&
  !readFileSync(cache, "utf8").includes(`\nCMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)
) {
  rmSync(buildDir, { recursive: true });
}
// Look for the compiler first. It is missing most often, and without a compiler no other tool should be downloaded.
const defines = [...values.define.map((option) => `-D${option}`), ...extra];
const named = defines.findLast((option) => option.startsWith("-DCMAKE_CXX_COMPILER="))?.replace(/^[^=]+=/, "");
const compiler = found(() => findCompiler(named));
const { cmake, ninja } = found(() => findCMake(root));
const { cmakeJs, headers } = found(() => findCMakeJs(root));

// An existing build directory keeps its generator. For a new one, cmake-js chooses Ninja if it is installed.
const generator = existsSync(cache)
  ? /^CMAKE_GENERATOR:INTERNAL=(.+)$/m.exec(readFileSync(cache, "utf8"))?.[1]
  : ninja && "Ninja";
const options = {
  directory: root,
  out: buildDir,
  config: buildType,
  noLog: true, // DEBUG=cmake-js prints the log
  ...(cmake && { cmakePath: cmake }),
  ...(generator && { generator }),
  ...(compiler && { cCompilerPath: compiler, cppCompilerPath: compiler }),
  // The kernels use vector types of GCC and Clang.
  ...(process.platform === "win32" && { toolset: "ClangCL" }),
};

const configuration = [
  // Set every option in each run, because a build directory remembers the options of earlier runs.
  `-DHEDDLE_SANITIZE=${values.asan ? "ON" : "OFF"}`,
  `-DHEDDLE_TEST_HOOKS=${values.asan ? "ON" : "OFF"}`,
  "-DHEDDLE_CUDA=ON",
  `-DHEDDLE_CUDA_ARCHITECTURES=${cardArchitectures() ?? "80-real;90a-real"}`,
  "-DHEDDLE_TESTS=OFF",
  "-DHEDDLE_FUZZ=OFF",
  "-DHEDDLE_FUZZ_KERNELS=OFF",
  "-DHEDDLE_EMULATE_AVX512=OFF",
  `-DHEDDLE_EMULATE_CUDA=${emulated ? "ON" : "OFF"}`,
  `-DHEDDLE_EMULATE_CUDA_RACES=${values.races ? "ON" : "OFF"}`,
  `-DHEDDLE_SIMULATE_CUDA=${values.simulator ? "ON" : "OFF"}`,
  "-DHEDDLE_WERROR=OFF",
  // Tests of the emulator and the simulator run CUDA kernels, so few CPU kernels are needed.
  `-DHEDDLE_ISAS=${emulated || values.simulator ? "baseline;neon" : "all"}`,
  `-DHEDDLE_VERSION=${version}`,
  `-DHEDDLE_NODE_INCLUDE=${headers.join(";")}`,
  ...(ninja ? [`-DCMAKE_MAKE_PROGRAM=${ninja}`] : []),
  // Override two settings of cmake-js on Linux: an output folder named after the configuration, and CMAKE_CXX_FLAGS, which hides CXXFLAGS.
  ...["", `_${buildType.toUpperCase()}`].map((suffix) => `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY${suffix}=${buildDir}`),
  ...(process.env.CXXFLAGS ? [`-DCMAKE_CXX_FLAGS=${process.env.CXXFLAGS}`] : []),
  ...defines,
];
const jobs = process.env.HEDDLE_BUILD_JOBS ?? String(availableParallelism());

/** Runs one step of cmake-js. cmake prints its output. */
async function step(name, more) {
  try {
    await new cmakeJs.BuildSystem({ ...options, ...more })[name]();
  } catch (error) {
    fail(`cmake could not ${name} the addon (${error.message}); see the lines above.`);
  }
}
await step("configure", { extraCMakeArgs: configuration });
await step("build", { parallel: jobs, ...(values.target && { target: values.target }) });

const built = join(buildDir, "heddle.node");
if (values["build-dir"] || values.asan || emulated || values.simulator || values.target) {
  console.log(built);
} else {
  // Replace the file by a rename, so that a process that has mapped the old file keeps it.
  const folder = join(root, "build", buildType);
  mkdirSync(folder, { recursive: true });
  const temporary = join(folder, `heddle.node.${process.pid}`);
  copyFileSync(built, temporary);
  renameSync(temporary, join(folder, "heddle.node"));
  console.log(join(folder, "heddle.node"));
}
