// Starts node on several ranks. Debian's openmpi-bin and mpich have the launchers.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test as vitestTest } from "vitest";
import type { Ended } from "./helpers.ts";

/** Launchers, with arguments for ranks on one machine that may have fewer CPUs. */
export const LAUNCHERS = {
  openMpi: {
    command: "mpirun.openmpi",
    version: /Open MPI/,
    debian: "openmpi-bin",
    args: ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,sm"],
  },
  mpich: { command: "mpirun.mpich", version: /HYDRA/, debian: "mpich", args: [] },
};

const missing = Object.values(LAUNCHERS).filter(
  ({ command, version }) => !version.test(spawnSync(command, ["--version"], { encoding: "utf8" }).stdout ?? ""),
);
if (missing.length > 0) {
  const names = missing.map(({ debian }) => debian).join(" ");
  const message = `Ranks on CPUs are not tested: apt-get install ${names}`;
  // .ci/run installs both.
  if (process.env.CI && process.platform === "linux") throw new Error(message);
  console.warn(message);
}
/** A test that needs both launchers. */
export const rankTest = vitestTest.skipIf(missing.length > 0);

/** Runs node on several ranks. `onLine` receives the lines of all ranks' stdout. */
export function mpirun(
  ranks: number,
  args: string[],
  onLine?: (line: string, mpirun: number) => void,
  launcher: { command: string; args: string[] } = LAUNCHERS.openMpi,
  onStart?: (mpirun: number) => void,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(launcher.command, ["-n", String(ranks), ...launcher.args, process.execPath, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    onStart?.(child.pid!);
    let [stdout, stderr, seen] = ["", "", 0];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      for (let end = stdout.indexOf("\n", seen); end >= 0; end = stdout.indexOf("\n", seen)) {
        onLine?.(stdout.slice(seen, end), child.pid!);
        seen = end + 1;
      }
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Returns the process id of a rank, started by the mpirun process `mpirun`. */
export function processOf(rank: number, mpirun: number): number {
  const found = processesOf(rank, mpirun);
  expect(found).toHaveLength(1);
  return found[0]!;
}

/** Returns the ids of a rank's processes among the descendants of `mpirun`. None before the rank has started. */
export function processesOf(rank: number, mpirun: number): number[] {
  const rows = spawnSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" }).stdout.trim().split("\n");
  const all = rows
    .map((row) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(row)!)
    .map(([, pid, parent, args]) => ({
      pid: Number(pid),
      parent: Number(parent),
      args: args!,
    }));
  const below = new Set([mpirun]);
  for (let grown = -1; grown !== below.size; ) {
    grown = below.size;
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid);
  }
  const isRank = (pid: number) =>
    readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .some((one) => [`OMPI_COMM_WORLD_RANK=${rank}`, `PMI_RANK=${rank}`].includes(one));
  return all
    .filter(({ pid, args }) => below.has(pid) && args.startsWith(process.execPath) && isRank(pid))
    .map(({ pid }) => pid);
}
