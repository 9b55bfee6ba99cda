// A mock of node:fs/promises that counts changes to files, and can fail one of them, or all from a given one on.
import type * as fs from "node:fs/promises";

type Call = (...args: never[]) => Promise<unknown>;

/** Functions that change files. A test can make any of them fail, or simulate a kill at it. */
const CHANGES = ["mkdir", "open", "rename", "rm", "cp", "writeFile", "appendFile", "truncate"] as const;
const HANDLE_CHANGES = ["write", "sync", "truncate", "writeFile", "appendFile"] as const;

export interface Change {
  name: string;
  path: string;
}

class Faults {
  /** The changes since `watch`. */
  changes: Change[] = [];
  private failIndex = Number.POSITIVE_INFINITY;
  private path = "";
  private code: string | undefined;

  /** Restarts counting and lets all changes succeed. */
  watch(): void {
    this.changes = [];
    this.failIndex = Number.POSITIVE_INFINITY;
    this.path = "";
  }

  /** Fails the change of this index, from 0, with a system error. Counts only changes of paths that include `path`. */
  failAt(index: number, code: string, path = ""): void {
    this.watch();
    [this.failIndex, this.code, this.path] = [index, code, path];
  }

  /** Rejects all changes from this index on, cleanup included, so the disk looks as after a kill. */
  killAt(index: number): void {
    this.watch();
    [this.failIndex, this.code] = [index, undefined];
  }

  /** Returns the changes of paths that include `path`. */
  changesOf(path: string): Change[] {
    return this.changes.filter((change) => change.path.includes(path));
  }

  /** Counts a change, and throws if it has to fail. */
  record(name: string, path: string): void {
    this.changes.push({ name, path });
    if (!path.includes(this.path)) return;
    const number = this.changesOf(this.path).length - 1;
    if (number < this.failIndex) return;
    if (this.code === undefined) throw Object.assign(new Error("killed"), { code: "EKILLED" });
    if (number === this.failIndex)
      throw Object.assign(new Error(`${this.code}: refused, ${name} '${path}'`), { code: this.code });
  }
}

export const faults = new Faults();

function wrapHandle(handle: fs.FileHandle, path: string): fs.FileHandle {
  return new Proxy(handle, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function") return member;
      return async (...args: never[]) => {
        if ((HANDLE_CHANGES as readonly unknown[]).includes(name)) faults.record(`file.${String(name)}`, path);
        return (member as Call).apply(target, args);
      };
    },
  });
}

/** Wraps the real module, for `vi.mock("node:fs/promises", async (original) => failing(await original()))`. */
export function failing(real: typeof fs) {
  const counted =
    (name: (typeof CHANGES)[number]) =>
    async (...args: never[]) => {
      const [path, flags = "r"] = args as unknown as [string, unknown];
      const reads = name === "open" && (flags === "r" || typeof flags === "number");
      if (!reads) faults.record(name, String(path));
      const result = await (real[name] as Call)(...args);
      return name === "open" ? wrapHandle(result as fs.FileHandle, String(path)) : result;
    };
  return { ...real, ...Object.fromEntries(CHANGES.map((name) => [name, counted(name)])) };
}
