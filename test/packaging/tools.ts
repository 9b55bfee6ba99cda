// Tools of the packaging test: npm, other Node versions, a PATH without a compiler.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The environment of a user with only Node: no compiler on PATH, no settings of this repository. */
export function bareEnvironment(path: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(HEDDLE_|npm_|NODE_(?!EXTRA_CA_CERTS)|VITEST|INIT_CWD|CC$|CXX$|PATH$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), PATH: path };
}

/** A folder that contains only `node`, to be used as PATH. */
export function pathWithOnlyNode(folder: string, node: string): string {
  mkdirSync(folder, { recursive: true });
  symlinkSync(node, join(folder, "node"));
  return folder;
}

/** A folder with links to all programs on PATH except `hidden`, to be used as PATH. */
export function pathWithout(folder: string, hidden: readonly string[]): string {
  mkdirSync(folder, { recursive: true });
  // The first place on PATH wins.
  for (const place of (process.env.PATH ?? "").split(delimiter).filter((path) => existsSync(path)))
    for (const name of readdirSync(place))
      if (!hidden.includes(name) && !existsSync(join(folder, name))) symlinkSync(join(place, name), join(folder, name));
  return folder;
}

function npmCommand(): string {
  const command = process.env.npm_execpath;
  if (command?.endsWith(".js") && existsSync(command)) return command;
  return realpathSync(execFileSync("sh", ["-c", "command -v npm"], { encoding: "utf8" }).trim());
}

/** Runs npm and returns its stdout. Throws with npm's output if it fails. */
export function npm(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [npmCommand(), ...args], {
    cwd,
    env,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`npm ${args.join(" ")} ended with ${status}:\n${stderr}\n${stdout}`);
  return stdout;
}

/** Installs other Node versions from npm and returns their executables. */
export function installNodes(folder: string, versions: readonly number[]): string[] {
  mkdirSync(folder, { recursive: true });
  const platform = process.platform === "win32" ? "win" : process.platform;
  const dependencies = Object.fromEntries(
    versions.map((version) => [`node${version}`, `npm:node-${platform}-${process.arch}@${version}`]),
  );
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies }));
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder);
  return versions.map((version) => join(folder, "node_modules", `node${version}`, "bin", "node"));
}
