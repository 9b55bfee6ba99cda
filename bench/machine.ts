import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { deviceInfo } from "../lib/graph/index.ts";

/** Describes the machine. Figures are meaningless without it. */
export function describeMachine(threads: number) {
  const info = deviceInfo();
  let commit = "unknown";
  try {
    commit = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  } catch {
    // Outside a git checkout, the package's version has to do.
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    isa: info.cpu.isa,
    threads,
    node: process.versions.node,
    heddle: info.version,
    commit,
    date: new Date().toISOString(),
  };
}
