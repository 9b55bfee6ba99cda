import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

export interface InferenceTiming {
  /** Seconds of the prompt, and of the decoded tokens after it. */
  prefill: number;
  decode: number;
}

/**
 * node-llama-cpp over one model file, in a process of its own on the first `threads` cores; undefined where it is not
 * installed. Its threads are not pinned one to a core, which costs it much of its decode speed on small models: say so beside the figure.
 */
export async function openLlamaCpp(file: string, threads: number): Promise<LlamaCppPeer | undefined> {
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  if (!folder || !existsSync(join(folder, "node_modules", "node-llama-cpp"))) return undefined;
  const script = fileURLToPath(new URL("llama_cpp.mjs", import.meta.url));
  const child = spawn("taskset", ["-c", `0-${threads - 1}`, process.execPath, script, folder, file, String(threads)], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) return undefined;
  return new LlamaCppPeer(child, lines);
}

export class LlamaCppPeer {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncIterator<string>;
  constructor(child: ChildProcessByStdio<Writable, Readable, null>, lines: AsyncIterator<string>) {
    this.child = child;
    this.lines = lines;
  }
  async time(prompt: number, decode: number): Promise<InferenceTiming> {
    this.child.stdin.write(`${JSON.stringify({ prompt, decode })}\n`);
    const line = await this.lines.next();
    if (line.done) throw new Error("node-llama-cpp ended while it was timed");
    return JSON.parse(line.value);
  }
  close(): void {
    this.child.kill();
  }
}
