import { type ChildProcessByStdio, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A process that answers every line on its stdin with a line of JSON. */
export class LineProcess {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[], options: Pick<SpawnOptions, "env"> = {}) {
    this.child = spawn(command, args, { ...options, stdio: ["pipe", "pipe", "ignore"] });
    this.child.on("error", () => {}); // if the program is missing, its stdout ends
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  /** Returns the next line's value. Undefined if the process has ended. */
  async read<T>(): Promise<T | undefined> {
    const line = await this.lines.next();
    return line.done ? undefined : (JSON.parse(line.value) as T);
  }
  async ask<T>(request: unknown): Promise<T> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    const answer = await this.read<T>();
    if (answer === undefined) throw new Error(`a peer process ended during the request ${JSON.stringify(request)}`);
    return answer;
  }
  close(): void {
    this.child.kill();
  }
}

/** Compiles bench/peers/<name>.c. Returns undefined if no C compiler can compile it. */
export function compileC(name: string, ...flags: string[]): string | undefined {
  const program = join(tmpdir(), "heddle-bench", name);
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  mkdirSync(dirname(program), { recursive: true });
  const { status } = spawnSync("cc", ["-O3", "-o", program, source, ...flags]);
  return status === 0 ? program : undefined;
}
