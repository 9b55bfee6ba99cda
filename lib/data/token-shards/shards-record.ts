// Reads and writes the record in a folder of token shards: the inputs of the shards, and the number of finished shards. Every run writes it,
// so that only a run with the same inputs can resume.
import { readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { removeLeft } from "../../core/temp-files.ts";
import { exists, ioError, readJson, writeJson } from "../../io/atomic-files.ts";
import { realPathIfAny } from "../../io/real-path.ts";
import { TokenFile } from "./token-file.ts";
import type { TokenShard } from "./write-token-shards.ts";

const NAME = "shards.json";
const SHARD = /^shard-(\d{5,})\.tokens$/u;

/** A finished token file, with the number of its records. A long document has several records. */
export interface RecordedShard extends TokenShard {
  records: number;
}

/** Returns the path of the shard with this index, from 0. */
export const shardPath = (folder: string, index: number) =>
  join(folder, `shard-${String(index).padStart(5, "0")}.tokens`);

/** Everything that determines the bytes of the shards. */
interface ShardsWork {
  /** Paths of the input files. A folder is replaced by its files. */
  files: readonly string[];
  tokenizer: string;
  /** The options, including defaults. */
  options: Record<string, string | number | boolean>;
}

/**
 * The record of one run: its inputs and the number of finished shards. It is updated after each shard, so that a resumed run does not
 * mistake shards of another run for its own.
 */
export class ShardsRecord {
  readonly #folder: string;
  readonly #work: Record<string, unknown>;

  private constructor(folder: string, work: Record<string, unknown>) {
    this.#folder = folder;
    this.#work = work;
  }

  /** Makes the record of a run. @throws HeddleError INVALID_ARGUMENT if an input file is one of the output files */
  static async of(folder: string, { files, tokenizer, options }: ShardsWork): Promise<ShardsRecord> {
    const sources = await Promise.all(
      files.map(async (name) => {
        const { size, mtimeMs } = await stat(name).catch((error: unknown) => {
          throw ioError(error, name, "read");
        });
        return { path: resolve(name), bytes: size, modified: Math.floor(mtimeMs) };
      }),
    );
    // Compare real paths: a symbolic link must not lead a run to overwrite its input.
    const [outputDir, ...paths] = await Promise.all([folder, ...sources.map(({ path }) => path)].map(realPathIfAny));
    const overwritten = paths.find((path) => dirname(path) === outputDir && SHARD.test(basename(path)));
    if (overwritten) throw invalidArgument("outputDir", "a folder other than that of the input shards", overwritten);
    return new ShardsRecord(folder, { sources, tokenizer, options });
  }

  /** Records that no shard of the folder is finished. */
  begin(): Promise<void> {
    return this.#write(0);
  }

  /** Records that the first `count` shards are on disk, and removes all other shards, which earlier runs wrote. */
  async finished(count: number): Promise<void> {
    await this.#write(count);
    await this.clean(count);
  }

  /**
   * Returns the finished shards of earlier runs with exactly the same inputs, in order. For a folder without a record and without shards, it
   * calls `begin` and returns none.
   * @throws HeddleError INVALID_ARGUMENT if the folder has shards without a record, or shards of other files, options or another tokenizer
   */
  async resume(): Promise<RecordedShard[]> {
    const path = join(this.#folder, NAME);
    if (!(await exists(path))) {
      if ((await this.#names()).some((name) => SHARD.test(name)))
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${this.#folder}: resume: expected ${NAME} in the folder of the shards, got none`,
        );
      await this.begin();
      return [];
    }
    const found = (await readJson(path)) as Record<string, unknown> | null;
    for (const [key, wanted] of Object.entries(this.#work)) {
      const there = JSON.stringify(found?.[key]);
      if (JSON.stringify(wanted) !== there)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${this.#folder}: expected shards of the same ${key} to resume from, got ${String(there).slice(0, 200)}`,
        );
    }
    const finished = found?.finished;
    if (!isWhole(finished))
      throw new HeddleError(
        "INVALID_FILE",
        `${path}: finished: expected a number of shards, got ${JSON.stringify(finished)}`,
      );
    const names = new Set(await this.#names());
    const shards: RecordedShard[] = [];
    for (let index = 0; index < (finished as number); index++) {
      const shard = shardPath(this.#folder, index);
      if (!names.has(basename(shard))) break; // work resumes from here
      shards.push(this.#read(shard));
    }
    return shards;
  }

  /** Removes the shards after the first `count`, and partial files of a killed run. */
  async clean(count: number): Promise<void> {
    for (const name of await this.#names()) {
      const index = SHARD.exec(name)?.[1];
      if (index !== undefined && Number(index) >= count) await rm(join(this.#folder, name), { force: true });
    }
    await removeLeft(this.#folder, ({ stem }) => /^\.shard-\d+\.tokens$/u.test(stem));
  }

  #read(path: string): RecordedShard {
    const file = TokenFile.open(path);
    try {
      if (file.fingerprint !== this.#work.tokenizer)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${path}: expected tokens of the same tokenizer, got those of another tokenizer`,
        );
      const { tokenCount: tokens, documentCount: records, textBytes: bytes } = file;
      return { path, tokens, documents: file.countWholeDocuments(), bytes, records };
    } finally {
      file.close();
    }
  }

  async #write(finished: number): Promise<void> {
    await writeJson(join(this.#folder, NAME), { ...this.#work, finished });
  }

  async #names(): Promise<string[]> {
    return await readdir(this.#folder).catch((error: unknown) => {
      throw ioError(error, this.#folder, "read");
    });
  }
}
