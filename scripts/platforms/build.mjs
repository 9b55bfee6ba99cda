// Builds the addon for one target with Zig and puts it where node-gyp-build looks.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { binaryPath, buildFolder, CUDA_ARCHITECTURES, root } from "./targets.mjs";
import { mustRun, onPath } from "./tools.mjs";
import { makeToolchain, ZIG_VERSION } from "./zig.mjs";

const require = createRequire(import.meta.url);

/**
 * Returns CMake options that use ccache, if it is installed. The compilers are wrapper scripts with paths of this checkout. ccache therefore
 * compares Zig's version and target instead of the scripts, and must be told that they are Clang.
 */
function compilerCache({ zig }) {
  if (!onPath("ccache")) return [];
  const settings = ["CCACHE_COMPILERTYPE=clang", `CCACHE_COMPILERCHECK=string:zig-${ZIG_VERSION}-${zig}`];
  return [`-DCMAKE_CXX_COMPILER_LAUNCHER=env;${settings.join(";")};ccache`, "-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache"];
}

/**
 * Builds a target and returns the binary's path below prebuilds/.
 * `define` has further CMake options. `cuda: false` omits the CUDA kernels.
 */
export function buildTarget(target, { cuda = true, define = [], jobs = availableParallelism() } = {}) {
  const toolchain = makeToolchain(target);
  const folder = buildFolder(target);
  const headers = (name, subfolder) => join(dirname(require.resolve(`${name}/package.json`)), subfolder);
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const generator = !existsSync(join(folder, "CMakeCache.txt")) && onPath("ninja") ? ["-G", "Ninja"] : [];
  const withCuda = cuda && target.cuda === true;
  // Set all options that CMake remembers, so that those of an earlier build have no effect.
  const options = [
    "-DCMAKE_BUILD_TYPE=Release",
    `-DHEDDLE_CUDA=${withCuda ? "ON" : "OFF"}`,
    `-DHEDDLE_CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES}`,
    "-DHEDDLE_ISAS=all",
    `-DHEDDLE_VERSION=${version}`,
    `-DHEDDLE_NODE_INCLUDE=${headers("node-api-headers", "include")};${headers("node-addon-api", "")}`,
    ...compilerCache(target),
    ...define.map((option) => `-D${option}`),
  ];
  const cmake = (args) => mustRun("cmake", args, { stdio: "inherit", cwd: root });
  cmake(["-S", root, "-B", folder, ...generator, `-DCMAKE_TOOLCHAIN_FILE=${toolchain}`, ...options]);
  cmake(["--build", folder, "--parallel", String(jobs)]);

  const binary = join(root, binaryPath(target));
  mkdirSync(dirname(binary), { recursive: true });
  copyFileSync(join(folder, "heddle.node"), `${binary}.${process.pid}`);
  renameSync(`${binary}.${process.pid}`, binary);
  return binary;
}
