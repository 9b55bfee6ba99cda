import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A Python process with PyTorch, or undefined where there is none. HEDDLE_BENCH_PYTHON names the interpreter. */
export async function openTorch(threads: number): Promise<TorchPeer | undefined> {
  const python = process.env.HEDDLE_BENCH_PYTHON ?? "/usr/bin/python3";
  if (!existsSync(python)) return undefined;
  // Debian's pthread OpenBLAS fights libgomp (4 × slower): the OpenMP one is preferred, and threads are bound.
  const blas = "/usr/lib/x86_64-linux-gnu/openblas-openmp";
  const env = {
    ...process.env,
    OMP_NUM_THREADS: String(threads),
    OMP_PROC_BIND: "close",
    OMP_PLACES: "threads",
    MALLOC_TRIM_THRESHOLD_: "1073741824",
    MALLOC_MMAP_THRESHOLD_: "1073741824",
    ...(existsSync(blas) && { LD_LIBRARY_PATH: blas }),
  };
  // An OpenBLAS told to mistake this processor for another would not be the peer that users have.
  for (const name of ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"])
    delete (env as Record<string, string | undefined>)[name];
  const script = fileURLToPath(new URL("torch_ops.py", import.meta.url));
  const child = spawn(python, [script, String(threads)], {
    env,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) return undefined;
  return new TorchPeer(child, lines, JSON.parse(first.value).torch);
}

export class TorchPeer {
  readonly version: string;
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncIterator<string>;
  constructor(child: ChildProcessByStdio<Writable, Readable, null>, lines: AsyncIterator<string>, version: string) {
    this.child = child;
    this.lines = lines;
    this.version = version;
  }
  /** Seconds of one run of the case, the mean over `repeat`. */
  async time(benchCase: Record<string, unknown>, repeat: number): Promise<number> {
    this.child.stdin.write(`${JSON.stringify({ case: benchCase, repeat })}\n`);
    const line = await this.lines.next();
    if (line.done) throw new Error(`torch ended while it timed ${JSON.stringify(benchCase)}`);
    return JSON.parse(line.value).seconds;
  }
  close(): void {
    this.child.kill();
  }
}
