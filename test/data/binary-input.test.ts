// Readers of text reject binary files, and the error names the file's type.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCorpus } from "../../lib/data/corpus.ts";
import { linesOf } from "../../lib/data/lines.ts";
import { readRows } from "../../lib/data/rows.ts";
import { byteTokenizer } from "./helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-binary-input-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function drained(iterable: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of iterable) count++;
  return count;
}

describe.each<[string, string, Buffer, RegExp]>([
  [
    "gzip",
    "corpus.txt.gz",
    gzipSync("A text.\n"),
    /: expected a text in UTF-8, got a gzip file, which gunzip unpacks$/,
  ],
  ["gzip with the extension .jsonl.gz", "rows.jsonl.gz", gzipSync('{"text":"a"}\n'), /got a gzip file/],
  ["Zstandard", "corpus.zst", Buffer.from("28b52ffd2408410000", "hex"), /got a Zstandard file/],
  ["xz", "corpus.xz", Buffer.from("fd377a585a000004", "hex"), /got an xz file/],
  ["bzip2", "corpus.bz2", Buffer.from("BZh91AY&SY\x19\xfe", "latin1"), /got a bzip2 file/],
  ["zip", "corpus.zip", Buffer.from("PK\x03\x04\x14\x00", "latin1"), /got a zip file/],
  [
    "Parquet with another extension",
    "corpus.pq",
    Buffer.from("PAR1\x15\x04", "latin1"),
    /got a Parquet file, whose name/,
  ],
  ["UTF-16", "corpus.txt", Buffer.from("\ufeffA text.\n", "utf16le"), /got UTF-16$/],
  ["big-endian UTF-16", "big.txt", Buffer.from("\ufeffA text.", "utf16le").swap16(), /got UTF-16$/],
])("a file of type %s", (_, name, bytes, message) => {
  const refusal = { code: "INVALID_FILE", message: expect.stringMatching(message) };

  test("is rejected by corpus, line and row readers", async () => {
    const path = join(folder, name);
    await writeFile(path, bytes);
    const open = openCorpus({ files: path, tokenizer: byteTokenizer, maxSeqLength: 4, batchSize: 1 });
    await expect(open).rejects.toMatchObject(refusal);
    await expect(drained(linesOf(path))).rejects.toMatchObject(refusal);
    await expect(drained(readRows(path))).rejects.toMatchObject(refusal);
  });
});

test("reads texts that begin like a binary type, with a byte order mark or with invalid bytes", async () => {
  const path = join(folder, "text.txt");
  for (const text of ["PK is a name.\n", "PAR is not PAR1\n", "BZh\n", "\ufeffA text.\n"]) {
    await writeFile(path, text);
    expect(await drained(linesOf(path))).toBe(1);
  }
  await writeFile(path, Buffer.from([0x80, 0x81, 0x0a]));
  expect(await drained(linesOf(path))).toBe(1);
});
