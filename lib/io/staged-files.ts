// Files that belong together: all are written before the first of them gets its name.
import { rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import {
  discardFile,
  exists,
  type FileSink,
  ioError,
  placeFile,
  type StagedFile,
  stageFile,
  syncFolder,
} from "./atomic-files.ts";

/** Files that are written under temporary names until all of them are complete. */
export class StagedFiles {
  private staged: StagedFile[] = [];
  private readonly before = new Set<string>();
  private readonly behind = new Set<string>();
  private readonly emptyBehind = new Set<string>();

  async write(path: string, body: (sink: FileSink) => Promise<void>): Promise<void> {
    this.staged.push(await stageFile(path, body));
  }

  /** Whether a file of this path is among them. */
  has(path: string): boolean {
    return this.staged.some((file) => file.path === path);
  }

  async writeText(path: string, text: string): Promise<void> {
    await this.write(path, (sink) => sink.write(Buffer.from(text)));
  }

  async writeJson(path: string, value: unknown): Promise<void> {
    await this.writeText(path, `${JSON.stringify(value, null, 2)}\n`);
  }

  /**
   * Takes a file away before the others get their names: one that readers begin with. Whoever comes between finds nothing there, where it would lead them
   * to some files of before and some of these.
   */
  removeBefore(path: string): void {
    this.before.add(path);
  }

  /** Takes a file away once the others have their names. */
  removeBehind(path: string): void {
    this.behind.add(path);
  }

  /** Takes a folder away behind them, if nothing is left in it. */
  removeEmptyBehind(path: string): void {
    this.emptyBehind.add(path);
  }

  /** Gives all of them their names, in the order in which they were written. */
  async commit(): Promise<void> {
    for (const path of this.before) await remove(path);
    const folders = new Set([...this.before, ...this.behind].map((path) => dirname(path)));
    while (this.staged.length > 0) {
      await placeFile(this.staged[0]!);
      folders.add(dirname(this.staged.shift()!.place));
    }
    // On the disk before what they replace is gone.
    for (const folder of folders) await syncFolder(folder);
    for (const path of this.behind) await remove(path);
    // It holds other files, which the caller does not know, or is a link.
    for (const path of this.emptyBehind) await rmdir(path).catch(() => {});
    for (const folder of new Set([...this.behind].map((path) => dirname(path))))
      if (await exists(folder)) await syncFolder(folder);
  }

  /** Removes what has no name yet. */
  async discard(): Promise<void> {
    for (const staged of this.staged.splice(0)) await discardFile(staged);
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw ioError(error, path, "removed");
  });
}

/**
 * Writes files that appear together: all, or, where `body` fails or the disk is full, none, and what was there stays. Renames, which take a moment, are all
 * that can be interrupted.
 */
export async function writeTogether<T>(body: (files: StagedFiles) => Promise<T>): Promise<T> {
  const files = new StagedFiles();
  try {
    const result = await body(files);
    await files.commit();
    return result;
  } catch (error) {
    await files.discard();
    throw error;
  }
}
