// Names the command that installs a build tool on this system.
import { existsSync, readFileSync } from "node:fs";

/** Package managers of Linux, by the names of the distributions in /etc/os-release. */
const MANAGERS = [
  { systems: ["debian", "ubuntu"], install: "apt-get install -y", compiler: "g++" },
  { systems: ["alpine"], install: "apk add", compiler: "g++" },
  { systems: ["fedora", "rhel", "centos", "amzn"], install: "dnf install -y", compiler: "gcc-c++" },
  { systems: ["arch"], install: "pacman -S --needed", compiler: "gcc" },
  { systems: ["suse", "opensuse"], install: "zypper install -y", compiler: "gcc-c++" },
];
const NINJA = { debian: "ninja-build", fedora: "ninja-build" };
/** heddle needs the Clang of Visual Studio, because its kernels use vector types of GCC and Clang. */
const VISUAL_STUDIO =
  'winget install Microsoft.VisualStudio.2022.BuildTools --override "--passive --wait --add Microsoft.VisualStudio.Workload.VCTools --add Microsoft.VisualStudio.Component.VC.Llvm.Clang --add Microsoft.VisualStudio.Component.VC.Llvm.ClangToolset --includeRecommended"';

/** The system that this process runs on. */
function thisSystem() {
  const file = "/etc/os-release";
  return {
    platform: process.platform,
    osRelease: process.platform === "linux" && existsSync(file) ? readFileSync(file, "utf8") : "",
    root: process.getuid?.() === 0,
  };
}

/**
 * Returns the advice that completes "building from source needs a compiler: …".
 * @param tool "compiler", "cmake" or "ninja"
 */
export function installCommand(tool, { platform, osRelease, root } = thisSystem()) {
  if (platform === "darwin")
    return tool === "compiler" ? "run `xcode-select --install`" : `run \`brew install ${tool}\``;
  if (platform === "win32") {
    if (tool === "compiler") return `run \`${VISUAL_STUDIO}\``;
    return `run \`winget install ${tool === "cmake" ? "Kitware.CMake" : "Ninja-build.Ninja"}\``;
  }
  // ID is the distribution, ID_LIKE those that it derives from.
  const names = [...osRelease.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap(([, value]) => value.split(" "));
  const manager = MANAGERS.find(({ systems }) => systems.some((name) => names.includes(name)));
  if (manager === undefined) {
    return `install ${{ compiler: "GCC 9, Clang 10 or newer", cmake: "CMake 3.22 or newer", ninja: "ninja or make" }[tool]}`;
  }
  const name = { compiler: manager.compiler, cmake: "cmake", ninja: NINJA[manager.systems[0]] ?? "ninja" }[tool];
  return `run \`${root ? "" : "sudo "}${manager.install} ${name}\``;
}
