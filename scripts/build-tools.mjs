// Finds the tools of a build from source: a C++ compiler, cmake, ninja or make, and the npm packages cmake-js and node-addon-api.
// Missing npm packages are installed into .cmake/tools. Only a build installs them, so users of a prebuilt addon never download them.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { installCommand } from "./install-command.mjs";

/** The oldest cmake that CMakeLists.txt accepts. */
const OLDEST_CMAKE = [3, 22];
/** Versions of the npm packages of cmake and ninja, which have one package per platform. They need glibc 2.34. */
const RUNTIMES = { cmake: "4.3.1", ninja: "1.13.2" };

/** An error whose message is printed for the user, without a stack. */
export class BuildError extends Error {}

/** Returns what a program prints with --version. Undefined if it does not run. */
function versionOf(program) {
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout : undefined;
}

function runsHere(program) {
  return versionOf(program) !== undefined;
}

/**
 * Returns the compiler to pass to cmake-js, or undefined if cmake finds one itself, as it finds Visual Studio on Windows. `asked` is the compiler
 * that the caller's options name.
 * @throws BuildError if no compiler is found
 */
export function findCompiler(asked = process.env.CXX) {
  if (process.platform === "win32") return undefined;
  if (asked) {
    // CXX may have arguments.
    const [program] = asked.trim().split(/\s+/);
    if (!runsHere(program)) throw new BuildError(`the C++ compiler ${asked} does not run`);
    // cmake itself reads CXX. cmake-js requires g++ or clang++ on PATH, unless a compiler is passed to it.
    return runsHere("g++") || runsHere("clang++") ? undefined : program;
  }
  if (runsHere("g++") || runsHere("clang++")) return undefined;
  if (runsHere("c++")) return "c++";
  throw new BuildError(`building from source needs a C++17 compiler: ${installCommand("compiler")}`);
}

/**
 * Returns CMake's list of architectures for this machine's GPUs, as reported by nvidia-smi. Returns undefined without a GPU, or if the nvcc on
 * PATH is too old for a GPU. Ignores GPUs of a compute capability below 8.0, which the kernels need.
 */
export function cardArchitectures() {
  const query = ["--query-gpu=compute_cap", "--format=csv,noheader"];
  const { status, stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8", timeout: 20_000 });
  const found = status === 0 ? stdout.split("\n").filter((line) => line.trim() !== "") : [];
  const listed = found.map((line) => Number(/^\s*(\d+)\.(\d)\s*$/.exec(line)?.slice(1).join("")));
  const numbers = listed.filter((number) => number >= 80);
  if (numbers.length === 0 || listed.some(Number.isNaN)) return undefined;
  const nvcc = spawnSync("nvcc", ["--list-gpu-arch"], { encoding: "utf8", timeout: 20_000 });
  const known = nvcc.status === 0 ? nvcc.stdout.split(/\s+/) : undefined;
  if (known && !numbers.every((number) => known.includes(`compute_${number}`))) return undefined;
  // Kernels with wgmma and TMA need code for sm_90a. No other kernel needs architecture-specific code.
  const names = numbers.sort((a, b) => a - b).map((number) => `${number === 90 ? "90a" : number}-real`);
  return [...new Set(names)].join(";");
}

/**
 * Installs cmake from npm if the one on PATH is missing or too old, and ninja if neither ninja nor make is on PATH. Returns the paths of the
 * installed tools. @throws BuildError if a tool cannot be installed
 */
export function findCMake(root) {
  const [, ...version] = /^cmake version (\d+)\.(\d+)/.exec(versionOf("cmake") ?? "") ?? [];
  const [major, minor] = version.map(Number);
  const usable = major > OLDEST_CMAKE[0] || (major === OLDEST_CMAKE[0] && minor >= OLDEST_CMAKE[1]);
  const builds = process.platform === "win32" || ["ninja", "make"].some(runsHere);
  const wanted = [...(usable ? [] : ["cmake"]), ...(builds ? [] : ["ninja"])];
  if (wanted.length === 0) return {};
  const names = wanted.map((tool) => `${tool}-runtime-${process.platform}-${process.arch}`);
  const paths = wanted.map((tool, i) => {
    const file = process.platform === "win32" ? `${tool}.exe` : tool;
    return join(root, ".cmake", "tools", "node_modules", names[i], "bin", file);
  });
  const reason = usable
    ? "neither ninja nor make is on PATH"
    : `cmake ${OLDEST_CMAKE.join(".")} or newer is not on PATH`;
  try {
    fetchPackages(
      root,
      Object.fromEntries(wanted.map((tool, i) => [names[i], RUNTIMES[tool]])),
      `${reason}: npm installs ${wanted.join(" and ")} (${usable ? "0.2" : "30"} MB) for this build`,
    );
    for (const path of paths) {
      chmodSync(path, 0o755);
      if (!runsHere(path)) throw new BuildError(`${path} does not run on this system`);
    }
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    throw new BuildError(`${reason}, and ${error.message}: ${installCommand(usable ? "ninja" : "cmake")}`);
  }
  return Object.fromEntries(wanted.map((tool, i) => [tool, paths[i]]));
}

/** Returns cmake-js, and the include folders of the addon. */
export function findCMakeJs(root) {
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const names = ["cmake-js", "node-addon-api", "node-api-headers"];
  const here = createRequire(join(root, "package.json"));
  const tools = createRequire(join(root, ".cmake", "tools", "package.json"));
  const resolves = (require) => names.every((name) => folderOf(require, name) !== undefined);
  if (!resolves(here)) {
    const wanted = Object.fromEntries(names.map((name) => [name, devDependencies[name]]));
    try {
      fetchPackages(root, wanted, `npm installs ${names.join(", ")} (3 MB) for this build`);
    } catch (error) {
      if (!(error instanceof BuildError)) throw error;
      throw new BuildError(`building from source needs the npm package cmake-js, and ${error.message}`);
    }
  }
  const require = resolves(here) ? here : tools;
  const headers = [join(folderOf(require, "node-api-headers"), "include"), folderOf(require, "node-addon-api")];
  return { cmakeJs: require("cmake-js"), headers };
}

/** Returns a package's folder. Undefined if it is not installed. */
function folderOf(require, name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

/** Installs packages into .cmake/tools, in addition to those already there. @throws BuildError if npm fails */
function fetchPackages(root, wanted, message) {
  const folder = join(root, ".cmake", "tools");
  const file = join(folder, "package.json");
  const dependencies = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).dependencies : {};
  const installed = ([name, version]) =>
    dependencies[name] === version && existsSync(join(folder, "node_modules", name, "package.json"));
  if (Object.entries(wanted).every(installed)) return;
  console.log(`heddle: ${message}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify({ private: true, dependencies: { ...dependencies, ...wanted } }));
  const options = [
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--loglevel=error",
    "--prefer-offline",
  ];
  // Inside `npm install`, npm's options reach this child through the environment. For example, --global would move the packages.
  const location = [
    `--prefix=${folder}`,
    "--global=false",
    "--location=project",
    "--workspaces=false",
    "--dry-run=false",
  ];
  const { command, args } = npmCommand();
  const { status, stderr } = spawnSync(command, [...args, "install", ...options, ...location], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    shell: command === "npm" && process.platform === "win32",
  });
  if (status === 0) return;
  const said = /^npm (?:error|ERR!) (?!(?:code|syscall|errno) )(.+)$/m.exec(stderr ?? "")?.[1];
  throw new BuildError(`npm could not install ${Object.keys(wanted).join(", ")}${said ? ` (${said})` : ""}`);
}

/** Returns the npm that runs this script, otherwise the npm that came with Node, otherwise the npm on PATH. */
function npmCommand() {
  const folder = dirname(realpathSync(process.execPath));
  const script = ["node_modules", "npm", "bin", "npm-cli.js"];
  const places = [process.env.npm_execpath, join(folder, "..", "lib", ...script), join(folder, ...script)];
  const found = places.find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  return found === undefined ? { command: "npm", args: [] } : { command: process.execPath, args: [found] };
}
