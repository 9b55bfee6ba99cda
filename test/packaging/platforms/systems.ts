// The systems that the packages are tested on. Each system installs the programs it needs, and throws if that fails.
import { spawnSync } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  debianPackages,
  foreignPackage,
  mustRun,
  npmPackage,
  onPath,
  toolsFolder,
} from "../../../scripts/platforms/tools.mjs";
import { buildMuslLibrary } from "./musl-library.ts";

export interface System {
  readonly name: string;
  /** The target whose binary it loads. */
  readonly target: string;
  /** Runs a script of the folder `consumer` on this system. `argument` is a path inside `consumer`. */
  run(consumer: string, script: string, argument: string, env?: Record<string, string>): void;
  /** Returns the command that starts Node in any folder of this machine, and its variables. Missing for Debian 12, which has another root. */
  node?(): Command;
}

export interface Command {
  readonly command: readonly string[];
  readonly env: Record<string, string>;
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

/** A system whose programs run in the folders of this machine. */
function inPlace(name: string, target: string, node: () => Command): System {
  return {
    name,
    target,
    node,
    run(consumer, script, argument, env) {
      const own = node();
      runIn(consumer, [...own.command, script, argument], { ...env, ...own.env });
    },
  };
}

const here = inPlace("this machine", "linux-x64-gnu", () => ({ command: [process.execPath], env: {} }));

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

const arm64 = inPlace("arm64 under qemu", "linux-arm64-gnu", () => {
  const libraries = "/usr/aarch64-linux-gnu";
  debianPackages(
    ["qemu-user", "libc6-arm64-cross", "libstdc++6-arm64-cross"],
    () => onPath("qemu-aarch64") && existsSync(join(libraries, "lib", "libstdc++.so.6")),
  );
  return { command: ["qemu-aarch64", "-cpu", "max", "-L", libraries, nodeOf("linux-arm64", 20)], env: {} };
});

/** npm has no Node for musl. Bun loads the same addon. */
const bunOf = (processor: string) => join(npmPackage(`@oven/bun-linux-${processor}-musl`, "1.4.4"), "bin", "bun");

const musl = inPlace("musl with Bun", "linux-x64-musl", () => {
  const libc = "/lib/ld-musl-x86_64.so.1";
  debianPackages(["musl", "g++"], () => existsSync(libc) && onPath("g++"));
  const bun = bunOf("x64");
  return { command: [bun], env: { LD_LIBRARY_PATH: buildMuslLibrary(bun, libc) } };
});

const arm64Musl = inPlace("arm64 musl with Bun under qemu", "linux-arm64-musl", () => {
  debianPackages(["qemu-user", "g++-aarch64-linux-gnu"], () => ["qemu-aarch64", "aarch64-linux-gnu-g++"].every(onPath));
  const system = foreignPackage("musl", "arm64");
  const bun = bunOf("aarch64");
  const libraries = buildMuslLibrary(bun, join(system, "lib", "ld-musl-aarch64.so.1"), "aarch64-linux-gnu-");
  const emulator = ["qemu-aarch64", "-cpu", "max", "-L", system, "-E", `LD_LIBRARY_PATH=${libraries}`];
  return { command: [...emulator, bun], env: {} };
});

const windows = (version: number) =>
  inPlace(`Windows Node ${version} under Wine`, "win32-x64", () => {
    debianPackages(["wine", "wine64"], () => onPath("wine"));
    const WINEPREFIX = join(toolsFolder, "wine");
    mkdirSync(WINEPREFIX, { recursive: true });
    return { command: ["wine", nodeOf("win-x64", version)], env: { WINEPREFIX, WINEDEBUG: "-all", LC_ALL: "C.UTF-8" } };
  });

export const systems: readonly System[] = [here, debian12, arm64, musl, arm64Musl, windows(20), windows(22)];
