// Installs the programs for building and testing other platforms, from npm and Debian, in a folder outside node_modules.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { root } from "./targets.mjs";

/** The folder of the programs. HEDDLE_TOOLS names one for several checkouts to share. */
export const toolsFolder = process.env.HEDDLE_TOOLS ?? join(root, ".cmake", "tools");

/** Runs a program. Throws an error with its output if it fails. */
export function mustRun(program, args, options = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
  });
  if (error) throw new Error(`${program} could not be started: ${error.message}`);
  if (status !== 0) {
    const output = [stdout, stderr].filter(Boolean).join("\n").slice(-4000);
    throw new Error(`${program} ${args[0]} ended with ${signal ?? `exit status ${status}`}\n${output}`);
  }
  return stdout ?? "";
}

/** Installs a package from npm if it is missing, and returns its folder. Packages for other systems and processors are allowed. */
export function npmPackage(name, version) {
  const folder = join(toolsFolder, `${name.replace(/\W+/g, "-").replace(/^-/, "")}-${version}`);
  const installed = join(folder, "node_modules", name);
  if (!existsSync(join(installed, "package.json"))) {
    mkdirSync(folder, { recursive: true });
    const options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--force", "--loglevel=error"];
    mustRun("npm", ["install", "--prefix", folder, ...options, `${name}@${version}`]);
  }
  return installed;
}

/** Installs Debian packages if `isThere()` is false. Throws if it is still false afterwards. */
export function debianPackages(names, isThere) {
  if (isThere()) return;
  const sudo = process.getuid() === 0 ? [] : ["sudo"];
  const apt = (...args) => {
    const [program, ...rest] = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
    mustRun(program, rest);
  };
  apt("update");
  apt("install", "-y", "--no-install-recommends", ...names);
  if (!isThere()) throw new Error(`${names.join(", ")} did not install what is needed`);
}

/** Downloads a Debian package of another processor if it is missing, and returns the folder with its files. The system does not change. */
export function foreignPackage(name, architecture) {
  const folder = join(toolsFolder, `${name}-${architecture}`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.${process.pid}`;
  const state = join(unfinished, "apt");
  mkdirSync(join(state, "lists", "partial"), { recursive: true });
  mkdirSync(join(state, "archives", "partial"), { recursive: true });
  const options = {
    "APT::Architecture": architecture,
    "APT::Architectures": architecture,
    "Dir::State::lists": join(state, "lists"),
    "Dir::Cache": state,
  };
  const apt = (command, ...args) => {
    const settings = Object.entries(options).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    mustRun("apt-get", [command, ...settings, ...args], { cwd: state });
  };
  apt("update");
  apt("download", name);
  const [archive] = readdirSync(state).filter((file) => file.endsWith(".deb"));
  mustRun("dpkg", ["--extract", join(state, archive), unfinished]);
  rmSync(state, { recursive: true });
  // Packages have libraries in usr/lib. Programs name their loader in lib, which is a link on a system.
  if (!existsSync(join(unfinished, "lib"))) symlinkSync("usr/lib", join(unfinished, "lib"));
  renameSync(unfinished, folder);
  return folder;
}

/** Returns whether a program is on PATH. */
export function onPath(program) {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}
