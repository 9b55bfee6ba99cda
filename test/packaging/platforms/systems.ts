// The systems that the packages are tried on. Each installs what it needs, and throws where it cannot.
import { spawnSync } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { debianPackages, mustRun, npmPackage, onPath, toolsFolder } from "../../../scripts/platforms/tools.mjs";
import { buildMuslLibrary } from "./musl-library.ts";

export interface System {
  readonly name: string;
  /** The target whose binary it loads. */
  readonly target: string;
  /** Runs a script of the folder `consumer` on this system. `argument` is a path inside `consumer`. */
  run(consumer: string, script: string, argument: string, env?: Record<string, string>): void;
}

/**
 * Runs a program in a folder. Its output goes to a file, because Node does not write to pipes under Wine.
 * Throws an error with the output if the program fails.
 */
function runIn(consumer: string, command: readonly string[], env: Record<string, string> = {}): void {
  const log = join(consumer, "output.txt");
  const file = openSync(log, "w");
  const [program, ...args] = command;
  const { status, signal, error } = spawnSync(program!, args, {
    cwd: consumer,
    // Pass only the variables that a system needs. The developer's HEDDLE_BINARY would replace the tested binary.
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", file, file],
    timeout: 1_200_000,
  });
  closeSync(file);
  if (error) throw error;
  if (status !== 0) throw new Error(`${script(command)} ended with ${signal ?? status}\n${readFileSync(log, "utf8")}`);
}

const script = (command: readonly string[]) => command.slice(-2).join(" ");

const nodeOf = (platform: string, version: number) =>
  join(npmPackage(`node-${platform}`, String(version)), "bin", platform.startsWith("win") ? "node.exe" : "node");

const here: System = {
  name: "this machine",
  target: "linux-x64-gnu",
  run: (consumer, script, argument, env) => runIn(consumer, [process.execPath, script, argument], env),
};

/** Debian 12 has glibc 2.36, older than that of the machine that compiles. */
const debian12: System = {
  name: "Debian 12",
  target: "linux-x64-gnu",
  run(consumer, script, argument, env) {
    const folder = join(toolsFolder, "debian-12");
    if (!existsSync(folder)) {
      debianPackages(["debootstrap"], () => onPath("debootstrap"));
      const unfinished = `${folder}.${process.pid}`;
      mustRun("debootstrap", ["--variant=minbase", "bookworm", unfinished]);
      renameSync(unfinished, folder);
    }
    const inside = join(folder, "trial");
    rmSync(inside, { recursive: true, force: true });
    cpSync(consumer, join(inside, "consumer"), { recursive: true });
    cpSync(nodeOf("linux-x64", 20), join(inside, "node"));
    const enter = ["chroot", folder, "/bin/sh", "-c", 'cd /trial/consumer && exec /trial/node "$0" "$1"'];
    try {
      runIn(consumer, [...enter, script, argument], env);
      cpSync(join(inside, "consumer", argument), join(consumer, argument), { recursive: true });
    } finally {
      rmSync(inside, { recursive: true, force: true });
    }
  },
};

const arm64: System = {
  name: "arm64 under qemu",
  target: "linux-arm64-gnu",
  run(consumer, script, argument, env) {
    const libraries = "/usr/aarch64-linux-gnu";
    debianPackages(
      ["qemu-user", "libc6-arm64-cross", "libstdc++6-arm64-cross"],
      () => onPath("qemu-aarch64") && existsSync(join(libraries, "lib", "libstdc++.so.6")),
    );
    runIn(consumer, ["qemu-aarch64", "-cpu", "max", "-L", libraries, nodeOf("linux-arm64", 20), script, argument], env);
  },
};

/** npm has no Node for musl. Bun loads the same addon. */
const musl: System = {
  name: "musl with Bun",
  target: "linux-x64-musl",
  run(consumer, script, argument, env) {
    debianPackages(["musl", "g++"], () => existsSync("/lib/ld-musl-x86_64.so.1") && onPath("g++"));
    const bun = join(npmPackage("@oven/bun-linux-x64-musl", "1.4.4"), "bin", "bun");
    runIn(consumer, [bun, script, argument], { ...env, LD_LIBRARY_PATH: buildMuslLibrary(bun) });
  },
};

const windows = (version: number): System => ({
  name: `Windows Node ${version} under Wine`,
  target: "win32-x64",
  run(consumer, script, argument, env) {
    debianPackages(["wine", "wine64"], () => onPath("wine"));
    const WINEPREFIX = join(toolsFolder, "wine");
    mkdirSync(WINEPREFIX, { recursive: true });
    runIn(consumer, ["wine", nodeOf("win-x64", version), script, argument], { ...env, WINEPREFIX, WINEDEBUG: "-all" });
  },
});

export const systems: readonly System[] = [here, debian12, arm64, musl, windows(20), windows(22)];
