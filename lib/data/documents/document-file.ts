import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { CorpusTokenizer, DocumentEnds } from "../encode.ts";
import { TokenFile } from "../token-shards/token-file.ts";
import { ParquetDocuments } from "./parquet-documents.ts";
import { fileError, type SeparatorRule } from "./shards.ts";
import { TextDocuments } from "./text-documents.ts";
import { needTextFile } from "./text-head.ts";

/** A document, or a part of a long document, as tokens. */
export interface EncodedDocument {
  tokens: Uint32Array;
  /** Size of its text in bytes of UTF-8. */
  bytes: number;
  /** Whether the document ends here. False for a part of a longer document that continues in another part. */
  closes: boolean;
}

/** Encodes the text of a document. */
export type Encode = (text: string, ends: DocumentEnds) => Promise<Uint32Array>;

/** A range of documents that is read as a unit. Corpora are shuffled and held in memory by shard. */
export interface DocumentShard {
  readonly count: number;
  /** Whether the documents are stored as tokens, so that reading one again costs nothing. */
  readonly isEncoded: boolean;
  /** Returns the position of a document in its file. File and position identify a document permanently. */
  position(index: number): number;
  /** Returns the number of a document's tokens without reading them. Absent if the number is known only after encoding. */
  tokenCount?(index: number): number;
  /** Returns a document, encoded. @throws HeddleError INVALID_FILE with the file and the line, row or document */
  read(index: number, encode: Encode): Promise<EncodedDocument>;
}

/** A shard that has not been read yet. */
export interface DocumentPart {
  /** Approximate size in memory, in bytes. */
  readonly bytes: number;
  open(): Promise<DocumentShard>;
}

/** A file of documents in one of the formats that a corpus reads. */
export interface DocumentFile {
  readonly path: string;
  /** Size on disk, in bytes. */
  readonly size: number;
  /** Returns the documents in parts of about `shardBytes`, in order. */
  parts(shardBytes: number): DocumentPart[];
  close(): void;
}

/** Options of `openDocumentFiles`. */
export interface DocumentFileOptions {
  rule: SeparatorRule;
  textField: string;
  tokenizer: CorpusTokenizer;
}

/**
 * Opens a corpus's files by their extensions: `.jsonl` and `.ndjson`, `.parquet`, and `.tokens`. All other files are text.
 * A path may also be a folder of `.tokens` files.
 *
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE, INVALID_ARGUMENT for a folder without token shards or for tokens of another tokenizer
 */
export async function openDocumentFiles(
  paths: readonly string[],
  options: DocumentFileOptions,
): Promise<DocumentFile[]> {
  const opened: DocumentFile[] = [];
  try {
    for (const path of paths) {
      const info = await stat(path).catch((error: unknown) => {
        throw fileError(path, error);
      });
      if (info.isFile()) opened.push(await openFile(path, info.size, options));
      else if (info.isDirectory())
        for (const shard of await shardsIn(path)) opened.push(TokenFile.open(shard, options));
      else throw invalidArgument("files", "paths of files", path);
    }
    return opened;
  } catch (error) {
    for (const file of opened) file.close();
    throw error;
  }
}

async function openFile(path: string, size: number, options: DocumentFileOptions): Promise<DocumentFile> {
  if (/\.tokens$/i.test(path)) return TokenFile.open(path, options);
  if (/\.parquet$/i.test(path)) return await ParquetDocuments.open(path, options.textField);
  const format = /\.(jsonl|ndjson)$/i.test(path) ? "jsonl" : "text";
  const rule: SeparatorRule = format === "jsonl" ? { kind: "lines" } : options.rule;
  await needTextFile(path).catch((error: unknown) => {
    throw error instanceof HeddleError ? error : fileError(path, error);
  });
  return new TextDocuments({ path, size, format, rule }, options.textField);
}

async function shardsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(folder, error);
  });
  const shards = names.filter((name) => /\.tokens$/i.test(name) && !name.startsWith(".")).sort();
  if (shards.length === 0) throw invalidArgument("files", "paths of files, or folders of .tokens files", folder);
  return shards.map((name) => join(folder, name));
}
