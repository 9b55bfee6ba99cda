import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** The timed work: a prompt of `tokens` tokens, or decoding `tokens` tokens per sequence after a short prompt. */
export interface Work {
  phase: "prefill" | "decode";
  tokens: number;
  sequences: number;
}

/** Compiles bench/peers/pin_threads.c. Returns undefined without a C compiler. */
function pinningShim(): string | undefined {
  const library = join(tmpdir(), "heddle-bench", "pin_threads.so");
  const source = fileURLToPath(new URL("pin_threads.c", import.meta.url));
  mkdirSync(dirname(library), { recursive: true });
  const { status } = spawnSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]);
  return status === 0 ? library : undefined;
}

/**
 * Opens one model file with node-llama-cpp, in a separate process on the first `threads` cores. One thread is pinned to each core (see
 * pin_threads.c), because unpinned decoding is several times slower on small models. Returns undefined if node-llama-cpp is not installed.
 */
export async function openLlamaCpp(file: string, threads: number): Promise<LlamaCppPeer | undefined> {
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  if (!folder || !existsSync(join(folder, "node_modules", "node-llama-cpp"))) return undefined;
  const script = fileURLToPath(new URL("llama_cpp.mjs", import.meta.url));
  const shim = pinningShim();
  const child = spawn("taskset", ["-c", `0-${threads - 1}`, process.execPath, script, folder, file, String(threads)], {
    stdio: ["pipe", "pipe", "ignore"],
    env: { ...process.env, ...(shim && { LD_PRELOAD: shim }) },
  });
  child.stdin.on("error", () => {}); // an early exit is detected by the missing line of output
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) return undefined;
  return new LlamaCppPeer(child, lines, shim !== undefined);
}

export class LlamaCppPeer {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncIterator<string>;
  /** Whether each thread is pinned to a core. */
  readonly pinned: boolean;
  constructor(child: ChildProcessByStdio<Writable, Readable, null>, lines: AsyncIterator<string>, pinned: boolean) {
    this.child = child;
    this.lines = lines;
    this.pinned = pinned;
  }
  private async ask(request: Record<string, unknown>): Promise<Record<string, unknown>> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.lines.next();
    if (line.done) throw new Error("node-llama-cpp ended before it answered");
    return JSON.parse(line.value);
  }
  /** Returns the seconds of the work. @param flash whether to use flash attention, which is not faster for all work */
  async time(work: Work, flash: boolean): Promise<number> {
    return (await this.ask({ ...work, flash })).seconds as number;
  }
  /** Returns the logits after the last id. */
  async logits(ids: readonly number[]): Promise<number[]> {
    return (await this.ask({ phase: "logits", ids })).logits as number[];
  }
  /** Returns the unnormalized vector of a text, or of ids that include the special tokens. For a ranking model, returns the scores. */
  async embed(input: string | readonly number[]): Promise<number[]> {
    const asked = typeof input === "string" ? { text: input } : { ids: input };
    return (await this.ask({ phase: "embed", ...asked })).vector as number[];
  }
  /** Returns a text's ids, without the special tokens around it. */
  async tokenize(text: string): Promise<number[]> {
    return (await this.ask({ phase: "tokenize", text })).ids as number[];
  }
  /** Opens another file instead of the previous one. Returns false if node-llama-cpp cannot load it. */
  async open(file: string): Promise<boolean> {
    return (await this.ask({ phase: "open", file })).ready as boolean;
  }
  close(): void {
    this.child.kill();
  }
}
