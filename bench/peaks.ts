import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** 10⁹ operations per second of the processor's dot products, with all threads. */
export interface Peaks {
  int8?: number;
  bf16?: number;
}

let program: string | undefined;

/** Measured now, as the machine's speed drifts; empty without a C compiler or such instructions. */
export function measurePeaks(threads: number): Peaks {
  if (program === undefined) {
    const folder = join(tmpdir(), "heddle-bench");
    mkdirSync(folder, { recursive: true });
    const made = join(folder, "peaks");
    const source = fileURLToPath(new URL("peers/peaks.c", import.meta.url));
    const { status } = spawnSync("cc", ["-O2", "-march=native", "-pthread", "-o", made, source]);
    program = status === 0 ? made : "";
  }
  if (!program) return {};
  const { status, stdout } = spawnSync(program, [String(threads)], { encoding: "utf8" });
  return status === 0 ? JSON.parse(stdout) : {};
}
