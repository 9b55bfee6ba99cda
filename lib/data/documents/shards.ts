import { open } from "node:fs/promises";
import { HeddleError } from "../../core/errors.ts";
import { pause } from "../../core/slices.ts";
import { isMissing } from "../../io/is-missing.ts";

/**
 * Cuts files into shards, and shards into documents. A shard is a byte range of one file. Shards can be read alone, in any order:
 * reading one takes its bytes and a bounded number of bytes before and after it. Memory is therefore bounded by the shard, and a
 * position in the data is a few integers.
 */

/** How the documents of a text file are separated. See `CorpusOptions.documentSeparator`. */
export type SeparatorRule =
  | { kind: "lines" }
  | { kind: "none" }
  | { kind: "blank" }
  | { kind: "marker"; bytes: Buffer };

/** A text file or JSONL file of a corpus. */
export interface CorpusFile {
  path: string;
  /** Size in bytes. */
  size: number;
  format: "text" | "jsonl";
  rule: SeparatorRule;
}

/** A byte range of a file, which is read as a unit. */
interface Shard {
  /** Index into the list of files. */
  file: number;
  /** Offset of the first byte. */
  start: number;
  /** Offset of the byte after the last. */
  end: number;
  /**
   * How far in bytes a document may extend beyond the shard's end before it is cut. It is the same for all shards of a file; see
   * readShard.
   */
  reach: number;
}

/** The documents of a shard as ranges of `bytes`. */
export interface ShardDocuments {
  file: CorpusFile;
  fileIndex: number;
  bytes: Buffer;
  /** Offset of `bytes[0]` in the file. */
  origin: number;
  /** Pairs of offsets in `bytes`: a document's first byte, and the byte after its last. */
  ranges: number[];
  /** Whether the first document began in the previous shard, and whether the last one continues in the next shard. */
  continues: { first: boolean; last: boolean };
}

/** Maximum length in bytes of a line that is a document. */
const MAX_LINE_BYTES = 16 * 2 ** 20;
const NEWLINE = 0x0a;

/**
 * Divides every file into ranges of `shardBytes`. A file without separators gets smaller ranges, a 64th of the file but
 * at least 64 KiB, so that it can be shuffled and split.
 */
export function planShards(files: readonly CorpusFile[], shardBytes: number): Shard[] {
  const shards: Shard[] = [];
  files.forEach((file, index) => {
    const step = shardBytesOf(file, shardBytes);
    for (let start = 0; start < file.size; start += step) {
      shards.push({ file: index, start, end: Math.min(file.size, start + step), reach: step >> 2 });
    }
  });
  return shards;
}

function shardBytesOf(file: CorpusFile, shardBytes: number): number {
  return file.rule.kind === "none" ? Math.min(shardBytes, Math.max(2 ** 16, Math.ceil(file.size / 64))) : shardBytes;
}

/**
 * Reads the documents of a shard: those that follow a separator in the shard, and the first document of the file. A document is read to its
 * end, which may be beyond the shard. A document of a text file is cut if it extends beyond the shard by more than `reach`. `cutAfter`
 * chooses the place of the cut, and the rest belongs to the next shard. Both shards see the same bytes, and so agree on the place.
 * A line of a JSONL file is never cut. A line of more than MAX_LINE_BYTES is an error.
 *
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE
 */
export async function readShard(files: readonly CorpusFile[], shard: Shard): Promise<ShardDocuments> {
  const file = files[shard.file]!;
  const handle = await open(file.path, "r").catch((error: unknown) => {
    throw fileError(file.path, error);
  });
  const window = new Window(file, Math.max(0, shard.start - LOOK_BACK), async (buffer, position) => {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position).catch((error: unknown) => {
      throw fileError(file.path, error);
    });
    return bytesRead;
  });
  try {
    await window.ensure(shard.end);
    const found = file.rule.kind === "lines" ? await findLines(window, shard) : await findDocuments(window, shard);
    return { file, fileIndex: shard.file, bytes: window.bytes, origin: window.origin, ...found };
  } finally {
    await handle.close();
  }
}

type Found = Pick<ShardDocuments, "ranges" | "continues">;

/** Finds every line that starts in the shard and is not blank. */
async function findLines(window: Window, { start, end }: Shard): Promise<Found> {
  const ranges: number[] = [];
  let line = window.firstLineStart(start, end);
  while (line < end) {
    const resumed = pause();
    if (resumed) await resumed;
    const next = window.knownNextLine(line) ?? (await window.nextLine(line, line + MAX_LINE_BYTES));
    if (next - line > MAX_LINE_BYTES) throw await window.lineTooLong(line);
    const stop = window.lineEnd(line, next);
    if (!window.isBlank(line, stop)) ranges.push(line - window.origin, stop - window.origin);
    line = next;
  }
  return { ranges, continues: { first: false, last: false } };
}

/** Finds the documents between separator lines. */
async function findDocuments(window: Window, { start, end, reach }: Shard): Promise<Found> {
  const ranges: number[] = [];
  const rule = window.file.rule;
  const startCut = start > 0 ? await cutAfter(window, start, reach) : undefined;
  const endCut = end < window.file.size ? await cutAfter(window, end, reach) : undefined;
  // Lines before the first separator in this shard belong to the previous shard, unless a document was cut near this
  // shard's start.
  let isOwn = start === 0 || startCut !== undefined;
  let line = start === 0 ? 0 : (startCut ?? window.firstLineStart(start, end));
  let documentStart = -1;
  let documentEnd = -1;
  let isContinuation = startCut !== undefined && !followsSeparator(window, startCut, rule);
  let firstContinues = false;
  const close = () => {
    if (documentStart < 0) return;
    if (ranges.length === 0) firstContinues = isContinuation;
    ranges.push(documentStart - window.origin, documentEnd - window.origin);
    documentStart = -1;
  };
  while (line < window.file.size) {
    if (endCut !== undefined && line >= endCut) {
      // The document continues in the next shard, so keep its last line break.
      if (documentStart >= 0) documentEnd = endCut;
      const last = documentStart >= 0;
      close();
      return { ranges, continues: { first: firstContinues, last } };
    }
    if (!isOwn && line >= end) break;
    const limit = endCut ?? window.file.size;
    const resumed = pause();
    if (resumed) await resumed;
    const next = Math.min(window.knownNextLine(line) ?? (await window.nextLine(line, limit)), limit);
    const stop = window.lineEnd(line, next);
    if (window.isWholeLine(line, next) && isSeparator(window, line, stop, rule)) {
      close();
      isContinuation = false;
      if (line >= end) break;
      isOwn = true;
    } else if (isOwn) {
      if (documentStart < 0) documentStart = line;
      documentEnd = stop;
    }
    line = next;
  }
  close();
  return { ranges, continues: { first: firstContinues, last: false } };
}

/**
 * Returns where to cut the document that crosses `boundary`, or undefined if a separator or the end of the file follows within `reach`.
 * It prefers places where every tokenizer ends a token: before the first line that does not begin with a blank, else before a single
 * space. Without such a place it cuts before the first line that begins in [boundary, boundary + reach), or else before the first
 * whole UTF-8 character at or after `boundary`.
 */
async function cutAfter(window: Window, boundary: number, reach: number): Promise<number | undefined> {
  const limit = boundary + reach;
  if (limit >= window.file.size) return undefined;
  await window.ensure(limit + 4);
  let first: number | undefined;
  let clean: number | undefined;
  for (let line = window.firstLineStart(boundary, limit); line < limit; ) {
    first ??= line;
    if (!isBlankByte(window.at(line))) clean ??= line;
    const next = window.knownNextLine(line) ?? (await window.nextLine(line, limit + SEPARATOR_BYTES));
    if (isSeparator(window, line, window.lineEnd(line, next), window.file.rule)) return undefined;
    line = next;
  }
  const found = clean ?? window.singleSpace(boundary, limit) ?? first;
  if (found !== undefined) return found;
  let cut = boundary;
  while (cut < boundary + 3 && (window.at(cut) & 0xc0) === 0x80) cut++; // a UTF-8 continuation byte is inside a character
  return cut;
}

function isBlankByte(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** Maximum length in bytes of a separator line. Longer lines are text, so they need not be read to their end. */
const SEPARATOR_BYTES = 4096;
/**
 * Number of bytes that are read before a shard: the longest separator line with its line break, and the line break
 * before it.
 */
const LOOK_BACK = SEPARATOR_BYTES + 3;

function isSeparator(window: Window, line: number, stop: number, rule: SeparatorRule): boolean {
  if (stop - line > SEPARATOR_BYTES) return false;
  if (rule.kind === "blank") return window.isBlank(line, stop);
  if (rule.kind !== "marker" || stop - line !== rule.bytes.length) return false;
  return window.bytes.subarray(line - window.origin, stop - window.origin).equals(rule.bytes);
}

/** Whether the line before `position` is a separator, so that a document begins at `position`. */
function followsSeparator(window: Window, position: number, rule: SeparatorRule): boolean {
  const line = window.lineBefore(position);
  return line !== undefined && isSeparator(window, line, window.lineEnd(line, position), rule);
}

/** The part of a file that has been read, addressed by positions in the file. */
class Window {
  bytes: Buffer = Buffer.alloc(0);
  readonly file: CorpusFile;
  readonly origin: number;
  readonly #read: (buffer: Buffer, position: number) => Promise<number>;

  constructor(file: CorpusFile, origin: number, read: (buffer: Buffer, position: number) => Promise<number>) {
    this.file = file;
    this.origin = origin;
    this.#read = read;
  }

  at(position: number): number {
    return this.bytes[position - this.origin] ?? 0;
  }

  /** Reads more, so that the window contains everything before `end` or the end of the file. */
  async ensure(end: number): Promise<void> {
    const wanted = Math.min(end, this.file.size) - this.origin;
    if (wanted <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(wanted);
    this.bytes.copy(grown);
    let filled = this.bytes.length;
    while (filled < wanted) {
      const count = await this.#read(grown.subarray(filled), this.origin + filled);
      if (count === 0) {
        throw new HeddleError(
          "IO",
          `${this.file.path}: changed while it was read, expected ${this.file.size} bytes, got ${this.origin + filled}`,
        );
      }
      filled += count;
    }
    this.bytes = grown;
  }

  /** Returns the first start of a line in [from, end), or `end`. If `from` > 0, the window must contain `from - 1`. */
  firstLineStart(from: number, end: number): number {
    if (from === 0) return 0;
    const found = this.bytes.indexOf(NEWLINE, from - 1 - this.origin);
    return found < 0 ? end : Math.min(end, found + 1 + this.origin);
  }

  /** Returns the first space in [from, end) without a blank on either side. The window must contain `from - 1`. */
  singleSpace(from: number, end: number): number | undefined {
    const bytes = this.bytes;
    for (
      let at = bytes.indexOf(0x20, from - this.origin);
      at >= 0 && at + this.origin < end;
      at = bytes.indexOf(0x20, at + 1)
    )
      if (!isBlankByte(bytes[at - 1] ?? 0x20) && !isBlankByte(bytes[at + 1] ?? 0x20)) return at + this.origin;
    return undefined;
  }

  /** Returns the start of the line after `line`, if its line break has been read already. */
  knownNextLine(line: number): number | undefined {
    const found = this.bytes.indexOf(NEWLINE, line - this.origin);
    return found < 0 ? undefined : found + 1 + this.origin;
  }

  /**
   * Returns the start of the line after `line`, or the end of the file. For a line that extends beyond the position `limit` it
   * returns some position above `limit`.
   */
  async nextLine(line: number, limit: number): Promise<number> {
    let from = line - this.origin;
    for (;;) {
      const found = this.bytes.indexOf(NEWLINE, from);
      if (found >= 0) return found + 1 + this.origin;
      const known = this.origin + this.bytes.length;
      if (known >= this.file.size) return this.file.size;
      if (known > limit) return known;
      from = this.bytes.length;
      await this.ensure(known + Math.max(2 ** 16, this.bytes.length >> 1));
    }
  }

  /** Returns the start of the line whose line break ends at `position`, or undefined if the window does not contain such a line. */
  lineBefore(position: number): number | undefined {
    if (this.at(position - 1) !== NEWLINE) return undefined;
    const end = position - 1 - this.origin;
    const found = end === 0 ? -1 : this.bytes.lastIndexOf(NEWLINE, end - 1);
    if (found < 0 && this.origin > 0) return undefined;
    return found + 1 + this.origin;
  }

  /** Returns the end of a line without its line break, "\n" or "\r\n". */
  lineEnd(line: number, next: number): number {
    let stop = next;
    if (stop > line && this.at(stop - 1) === NEWLINE) {
      stop--;
      if (stop > line && this.at(stop - 1) === 0x0d) stop--;
    }
    return stop;
  }

  /** Whether [line, next) is a whole line. It is a part of a line if `cutAfter` cut the line. */
  isWholeLine(line: number, next: number): boolean {
    const begins = line === 0 || this.at(line - 1) === NEWLINE;
    return begins && (next === this.file.size || this.at(next - 1) === NEWLINE);
  }

  isBlank(line: number, stop: number): boolean {
    for (let position = line; position < stop; position++) {
      const byte = this.at(position);
      if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
    }
    return true;
  }

  async lineTooLong(line: number): Promise<HeddleError> {
    const number = await lineNumber(this.file.path, line);
    return new HeddleError(
      "INVALID_FILE",
      `${this.file.path}:${number}: line is too long, expected at most ${MAX_LINE_BYTES} bytes`,
    );
  }
}

/** Returns the number, from 1, of the line that starts at `position`. It reads the file again, and is called only for error messages. */
export async function lineNumber(path: string, position: number): Promise<number> {
  const handle = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(2 ** 18);
    let lines = 1;
    for (let at = 0; at < position; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, position - at), at);
      if (bytesRead === 0) break;
      for (let i = buffer.indexOf(NEWLINE); i >= 0 && i < bytesRead; i = buffer.indexOf(NEWLINE, i + 1)) lines++;
      at += bytesRead;
    }
    return lines;
  } finally {
    await handle.close();
  }
}

/** Converts a file system error to a HeddleError. */
export function fileError(path: string, error: unknown): HeddleError {
  if (isMissing(error)) return new HeddleError("NOT_FOUND", `${path}: no such file`, { cause: error });
  const { code } = error as NodeJS.ErrnoException;
  return new HeddleError("IO", `${path}: cannot be read (${code ?? String(error)})`, { cause: error });
}
