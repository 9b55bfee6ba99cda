import type { DocumentFile, DocumentPart, DocumentShard } from "./document-file.ts";
import { documentCount, documentEnds, documentPosition, documentText } from "./documents.ts";
import { type CorpusFile, planShards, readShard } from "./shards.ts";

/** A text file or a `.jsonl` file. Its shards are byte ranges. */
export class TextDocuments implements DocumentFile {
  readonly path: string;
  readonly size: number;
  readonly #file: CorpusFile;
  readonly #textField: string;

  constructor(file: CorpusFile, textField = "text") {
    this.path = file.path;
    this.size = file.size;
    this.#file = file;
    this.#textField = textField;
  }

  parts(shardBytes: number): DocumentPart[] {
    const files = [this.#file];
    return planShards(files, shardBytes).map((shard) => ({
      bytes: shard.end - shard.start,
      open: async (): Promise<DocumentShard> => {
        const found = await readShard(files, shard);
        return {
          count: documentCount(found),
          isEncoded: false,
          position: (index) => documentPosition(found, index),
          read: async (index, encode) => {
            const text = await documentText(found, index, this.#textField);
            const ends = documentEnds(found, index);
            return { tokens: await encode(text, ends), bytes: Buffer.byteLength(text), closes: ends.closes };
          },
        };
      },
    }));
  }

  close(): void {}
}
