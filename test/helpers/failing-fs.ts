// A file system that fails on demand: node:fs/promises with a count of what changes files, one of which is refused, or is the last that happens.
import type * as fs from "node:fs/promises";

type Call = (...args: never[]) => Promise<unknown>;

/** What changes files. A kill comes before or after one of them, and a system may refuse any. */
const CHANGES = ["mkdir", "open", "rename", "rm", "cp", "writeFile", "appendFile", "truncate"] as const;
const OF_HANDLES = ["write", "sync", "truncate", "writeFile", "appendFile"] as const;

export interface Change {
  name: string;
  path: string;
}

class Faults {
  /** What happened since `watch`. */
  changes: Change[] = [];
  private at = Number.POSITIVE_INFINITY;
  private code: string | undefined;

  /** Counts from here on, and lets everything happen. */
  watch(): void {
    this.changes = [];
    this.at = Number.POSITIVE_INFINITY;
  }

  /** The change of this number, from 0, is refused with a system's error. */
  failAt(at: number, code: string): void {
    this.watch();
    [this.at, this.code] = [at, code];
  }

  /** From the change of this number on nothing happens any more, what clears up included: to the disk that is a kill. */
  killAt(at: number): void {
    this.watch();
    [this.at, this.code] = [at, undefined];
  }

  take(name: string, path: string): void {
    const number = this.changes.push({ name, path }) - 1;
    if (number < this.at) return;
    if (this.code === undefined) throw Object.assign(new Error("killed"), { code: "EKILLED" });
    if (number === this.at)
      throw Object.assign(new Error(`${this.code}: refused, ${name} '${path}'`), { code: this.code });
  }
}

export const faults = new Faults();

function followed(handle: fs.FileHandle, path: string): fs.FileHandle {
  return new Proxy(handle, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function") return member;
      return async (...args: never[]) => {
        if ((OF_HANDLES as readonly unknown[]).includes(name)) faults.take(`file.${String(name)}`, path);
        return (member as Call).apply(target, args);
      };
    },
  });
}

/** For `vi.mock("node:fs/promises", async (original) => failing(await original()))`. */
export function failing(real: typeof fs) {
  const counted =
    (name: (typeof CHANGES)[number]) =>
    async (...args: never[]) => {
      const [path, flags = "r"] = args as unknown as [string, unknown];
      const reads = name === "open" && (flags === "r" || typeof flags === "number");
      if (!reads) faults.take(name, String(path));
      const result = await (real[name] as Call)(...args);
      return name === "open" ? followed(result as fs.FileHandle, String(path)) : result;
    };
  return { ...real, ...Object.fromEntries(CHANGES.map((name) => [name, counted(name)])) };
}
