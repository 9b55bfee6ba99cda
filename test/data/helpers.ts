import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { CorpusTokenizer } from "../../lib/data/encode.ts";

/** One id per byte, so that texts can be recovered. */
export const byteTokenizer: CorpusTokenizer & { decode(ids: Iterable<number>): string } = {
  bosTokenId: 256,
  eosTokenId: 257,
  encode: (text) => Uint32Array.from(Buffer.from(text)),
  decode: (ids) => {
    const parts: string[] = [];
    let bytes: number[] = [];
    const flush = () => {
      parts.push(Buffer.from(bytes).toString());
      bytes = [];
    };
    for (const id of ids) {
      if (id < 256) bytes.push(id);
      else {
        flush();
        parts.push(id === 256 ? "<" : ">");
      }
    }
    flush();
    return parts.join("");
  },
};

/** A folder that is removed after the file's tests. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), "heddle-data-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder,
    write(name: string, content: string | Buffer): string {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    },
  };
}
