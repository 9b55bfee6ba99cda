import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument } from "../../core/errors.ts";
import type { CorpusTokenizer, DocumentEnds } from "../encode.ts";
import { TokenFile } from "../token-shards/token-file.ts";
import { ParquetDocuments } from "./parquet-documents.ts";
import { fileError, type SeparatorRule } from "./shards.ts";
import { TextDocuments } from "./text-documents.ts";
import { HEAD_BYTES, needText } from "./text-head.ts";

export interface EncodedDocument {
  tokens: Uint32Array;
  /** of its text in UTF-8 */
  bytes: number;
  /** false: a part of a longer document, which goes on in another one */
  closes: boolean;
}

export type Encode = (text: string, ends: DocumentEnds) => Promise<Uint32Array>;

/** Documents that are read together: the unit in which a corpus is shuffled and held in memory. */
export interface DocumentShard {
  readonly count: number;
  /** The documents are stored as tokens: reading one again costs nothing. */
  readonly isEncoded: boolean;
  /** The place of a document in its file: with the file its name for ever. */
  position(index: number): number;
  /** @throws HeddleError INVALID_FILE that names the file and the line, row or document */
  read(index: number, encode: Encode): Promise<EncodedDocument>;
}

/** A shard that is not read yet. */
export interface DocumentPart {
  /** What it takes in memory, about. */
  readonly bytes: number;
  open(): Promise<DocumentShard>;
}

/** A file of documents in one of the formats that a corpus reads. */
export interface DocumentFile {
  readonly path: string;
  /** bytes on disk */
  readonly size: number;
  /** Its documents in parts of about `shardBytes`, in order. */
  parts(shardBytes: number): DocumentPart[];
  close(): void;
}

export interface DocumentFileOptions {
  rule: SeparatorRule;
  textField: string;
  tokenizer: CorpusTokenizer;
}

/**
 * Opens a corpus's files by the ends of their names: `.jsonl` and `.ndjson`, `.parquet`, `.tokens` (and folders of those), all
 * else as text.
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
  needText(await headOf(path), path);
  return new TextDocuments({ path, size, format, rule }, options.textField);
}

async function headOf(path: string): Promise<Buffer> {
  try {
    const handle = await open(path);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}

async function shardsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(folder, error);
  });
  const shards = names.filter((name) => /\.tokens$/i.test(name) && !name.startsWith(".")).sort();
  if (shards.length === 0) throw invalidArgument("files", "paths of files, or folders of .tokens files", folder);
  return shards.map((name) => join(folder, name));
}
