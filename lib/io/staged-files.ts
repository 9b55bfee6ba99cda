// A group of files. All of them are written before the first gets its final name.
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

/** Files written under temporary names until all of them are complete. */
export class StagedFiles {
  private staged: StagedFile[] = [];
  private readonly before = new Set<string>();
  private readonly behind = new Set<string>();
  private readonly emptyBehind = new Set<string>();

  async write(path: string, body: (sink: FileSink) => Promise<void>): Promise<void> {
    this.staged.push(await stageFile(path, body));
  }

  /** Whether a file for this path has been written. */
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
   * Removes a file, such as an index that readers open first, before the staged files get their final names. Until all files are renamed,
   * a reader then finds no index rather than a mix of old and new files.
   */
  removeBefore(path: string): void {
    this.before.add(path);
  }

  /** Removes a file after the staged files have got their final names. */
  removeBehind(path: string): void {
    this.behind.add(path);
  }

  /** Removes a folder after everything else, if it is empty. */
  removeEmptyBehind(path: string): void {
    this.emptyBehind.add(path);
  }

  /** Renames all files to their final names, in the order in which they were written. */
  async commit(): Promise<void> {
    for (const path of this.before) await remove(path);
    const folders = new Set([...this.before, ...this.behind].map((path) => dirname(path)));
    while (this.staged.length > 0) {
      await placeFile(this.staged[0]!);
      folders.add(dirname(this.staged.shift()!.place));
    }
    // The new files must be durable before the files that they replace are removed.
    for (const folder of folders) await syncFolder(folder);
    for (const path of this.behind) await remove(path);
    // rmdir fails if the folder contains other files or is a link. The folder then stays.
    for (const path of this.emptyBehind) await rmdir(path).catch(() => {});
    for (const folder of new Set([...this.behind].map((path) => dirname(path))))
      if (await exists(folder)) await syncFolder(folder);
  }

  /** Removes the files that are still under temporary names. */
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
 * Writes a group of files atomically. If `body` fails or the disk is full, no file is replaced. Only a crash during the final renames can
 * leave some files replaced and others not.
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
