// What a folder of token shards is made of, written beside them, so that a run that was stopped goes on and no other does.
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { HeddleError } from "../errors.ts";
import { ioError, writeJson } from "../formats/io.ts";
import { TokenFile } from "./token-file.ts";
import type { TokenShard, WriteTokenShardsOptions } from "./write-token-shards.ts";

const NAME = "shards.json";

export const shardPath = (folder: string, index: number) =>
  join(folder, `shard-${String(index).padStart(5, "0")}.tokens`);

/** Everything that the shards' bytes follow from. */
async function describeRun(options: WriteTokenShardsOptions, fingerprint: string): Promise<Record<string, unknown>> {
  const { files, shardTokens, shuffle, seed, shuffleBytes, documentSeparator, textField } = options;
  const names = typeof files === "string" ? [files] : files;
  const sources = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(name).catch((error: unknown) => {
        throw ioError(error, name, "read");
      });
      return { path: resolve(name), bytes: size, modified: Math.floor(mtimeMs) };
    }),
  );
  const chosen = { shardTokens, shuffle, seed, shuffleBytes, documentSeparator, textField };
  return { sources, tokenizer: fingerprint, options: JSON.parse(JSON.stringify(chosen)) };
}

/**
 * The shards that an earlier run of the very same work has finished, in order; none for a folder without any, which gets its record.
 * What that run was writing when it was stopped is removed.
 * @throws HeddleError INVALID_ARGUMENT where the folder is of other files, options or another tokenizer
 */
export async function resumeShards(options: WriteTokenShardsOptions, fingerprint: string): Promise<TokenShard[]> {
  const { outputDir } = options;
  const path = join(outputDir, NAME);
  const wanted = await describeRun(options, fingerprint);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw ioError(error, path, "read");
  });
  const names = await readdir(outputDir);
  if (text === undefined) {
    if (names.some((name) => /^shard-\d+\.tokens$/u.test(name)))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${outputDir}: expected ${NAME} beside the shards to resume from, got none`,
      );
    await writeJson(path, wanted);
    return [];
  }
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (cause) {
    throw new HeddleError("INVALID_FILE", `${path}: ${(cause as Error).message}`, { cause });
  }
  for (const key of Object.keys(wanted)) {
    const [here, there] = [wanted[key], (found as Record<string, unknown> | null)?.[key]].map((part) =>
      JSON.stringify(part),
    );
    if (here !== there)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${outputDir}: expected shards of the same ${key} to resume from, got ${String(there).slice(0, 200)}`,
      );
  }
  for (const name of names) {
    if (/^\.shard-\d+\.tokens\..*\.tmp$/u.test(name)) await rm(join(outputDir, name), { force: true });
  }
  const shards: TokenShard[] = [];
  for (let index = 0; names.includes(`shard-${String(index).padStart(5, "0")}.tokens`); index++) {
    const file = TokenFile.open(shardPath(outputDir, index));
    try {
      if (file.fingerprint !== fingerprint)
        throw new HeddleError("INVALID_ARGUMENT", `${file.path}: expected tokens of the same tokenizer, got another's`);
      const { tokenCount: tokens, documentCount: documents, textBytes: bytes } = file;
      shards.push({ path: file.path, tokens, documents, bytes });
    } finally {
      file.close();
    }
  }
  return shards;
}
