import { HeddleError } from "../core/errors.ts";
import { pause } from "../core/slices.ts";
import type { DocumentFile, DocumentPart, DocumentShard, Encode, EncodedDocument } from "./documents/document-file.ts";
import { permutation, Stream, uniformAt } from "./random.ts";

/** Size in bytes of a shard, which is read at once. Larger shards are used above 4 TiB, because of MAX_SHARDS. */
const SHARD_BYTES = 4 * 2 ** 20;
const SHUFFLE_BYTES = 64 * 2 ** 20;
/** Approximate maximum number of shards of all files, because each shard takes memory. */
const MAX_SHARDS = 2 ** 20;
/** Maximum total size of all files, 64 TiB. Shards of larger files would not fit in memory, and a sparse file can claim any size. */
const MAX_BYTES = 2 ** 46;

/** Options of `GroupReader`; see `CorpusOptions`. */
interface GroupOptions {
  seed?: number;
  shuffle?: boolean;
  split?: "train" | "eval";
  evalFraction?: number;
  splitSeed?: number;
  shuffleBytes?: number;
}

/** A shard of one of the files. */
interface Shard extends DocumentPart {
  /** Index into the list of files. */
  file: number;
}

/**
 * Determines the order in which documents are read. In every epoch, the shards of all files are shuffled and divided into groups of about
 * `shuffleBytes`. A group is in memory as a whole, and its documents are read in a random order. Both orders are pure functions of seed,
 * epoch and group, so any position can be reached directly. A corpus smaller than a group is shuffled perfectly, stays in memory, and is
 * encoded only once.
 */
export class GroupReader {
  readonly groupCount: number;
  readonly groupBytes: number;
  readonly paths: readonly string[];
  readonly #options: GroupOptions;
  readonly #shards: Shard[];
  readonly #shardsOfGroup: number;
  #open: { epoch: number; group: number; opened: Promise<Group> } | undefined;

  constructor(files: readonly DocumentFile[], options: GroupOptions) {
    this.#options = options;
    this.paths = files.map(({ path }) => path);
    this.groupBytes = options.shuffleBytes ?? SHUFFLE_BYTES;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (size > MAX_BYTES)
      throw new HeddleError("INVALID_FILE", `files: expected at most ${MAX_BYTES} bytes in all, got ${size}`);
    const shardBytes = Math.max(Math.min(SHARD_BYTES, this.groupBytes), Math.ceil(size / MAX_SHARDS));
    this.#shards = files.flatMap((file, i) =>
      file.parts(shardBytes).map((part) => ({ bytes: part.bytes, open: () => part.open(), file: i })),
    );
    const total = this.#shards.reduce((sum, { bytes }) => sum + bytes, 0);
    const average = total / Math.max(1, this.#shards.length);
    const isWhole = total <= this.groupBytes;
    this.#shardsOfGroup = isWhole ? this.#shards.length : Math.max(1, Math.floor(this.groupBytes / average));
    this.groupCount = Math.ceil(this.#shards.length / Math.max(1, this.#shardsOfGroup));
  }

  /** Whether some documents are held out. */
  get isSplit(): boolean {
    return (this.#options.evalFraction ?? 0) > 0;
  }

  /** Opens a group, with its documents in the order of this epoch. */
  open(epoch: number, group: number): Promise<Group> {
    const known = this.#open;
    if (known?.group === group && known.epoch === epoch) return known.opened;
    // With a single group, the documents are already loaded and partly encoded, and only their order changes.
    const loaded =
      known && this.groupCount === 1 ? known.opened.then((one) => one.documents) : this.#load(epoch, group);
    const opened = loaded.then(
      async (documents) => new Group(documents, await this.#orderOf(documents.count, epoch, group)),
    );
    this.#open = { epoch, group, opened };
    opened.catch(() => {
      if (this.#open?.opened === opened) this.#open = undefined; // an error is reported, and the next call retries
    });
    return opened;
  }

  dispose(): void {
    this.#open = undefined;
  }

  async #load(epoch: number, group: number): Promise<Documents> {
    const { shuffle = true, seed = 0, split = "train", evalFraction = 0, splitSeed = 0 } = this.#options;
    const count = this.#shards.length;
    const order = shuffle && this.groupCount > 1 ? await permutation(count, seed, Stream.shards, epoch) : undefined;
    const from = group * this.#shardsOfGroup;
    const documents = new Documents(this.groupCount === 1);
    for (let i = from; i < Math.min(count, from + this.#shardsOfGroup); i++) {
      const { file, open } = this.#shards[order ? order[i]! : i]!;
      const shard = await open();
      const kept: number[] = [];
      for (let index = 0; index < shard.count; index++) {
        const isHeldOut = evalFraction > 0 && heldOutDraw(file, shard.position(index), splitSeed) < evalFraction;
        if (isHeldOut === (split === "eval")) kept.push(index);
        const resumed = evalFraction > 0 ? pause() : undefined;
        if (resumed) await resumed;
      }
      documents.add(shard, kept);
    }
    return documents;
  }

  async #orderOf(count: number, epoch: number, group: number): Promise<Uint32Array | undefined> {
    const { shuffle = true, seed = 0 } = this.#options;
    return shuffle ? await permutation(count, seed, Stream.documents, epoch, group) : undefined;
  }
}

/**
 * Returns a uniform number in [0, 1) that depends on the document's position on disk. Neither the order nor the shard
 * size moves a whole document across the split. The parts of a cut document depend on the shard size.
 */
function heldOutDraw(file: number, position: number, splitSeed: number): number {
  // The high bits of the position select a stream. All numbers of `Stream` are below 16, so the streams are distinct.
  const high = Math.floor(position / 2 ** 32);
  return uniformAt(splitSeed, Stream.split + 16 * high, file, position % 2 ** 32);
}

/** The documents of a group in the order of an epoch. */
export class Group {
  readonly documents: Documents;
  readonly #order: Uint32Array | undefined;

  constructor(documents: Documents, order: Uint32Array | undefined) {
    this.documents = documents;
    this.#order = order;
  }

  get documentCount(): number {
    return this.documents.count;
  }

  /** Returns the document at an index of the order, encoded. */
  async read(place: number, encode: Encode): Promise<EncodedDocument> {
    return await this.documents.read(this.#documentAt(place), encode);
  }

  /** Returns the number of tokens of the document at an index of the order. Undefined if the document must be encoded first. */
  tokenCount(place: number): number | undefined {
    return this.documents.tokenCount(this.#documentAt(place));
  }

  #documentAt(place: number): number {
    return this.#order ? this.#order[place]! : place;
  }
}

/**
 * The documents of a group: the locations of their bytes and, for a corpus that stays in memory, their tokens once encoded. Documents
 * are not separate objects, because a group may have a million of them.
 */
class Documents {
  count = 0;
  readonly #shards: { shard: DocumentShard; kept: Uint32Array; first: number }[] = [];
  readonly #cache: TokenCache | undefined;
  #last: { document: number; encoded: EncodedDocument } | undefined;

  constructor(keepsTokens: boolean) {
    this.#cache = keepsTokens ? new TokenCache() : undefined;
  }

  /** Adds the documents of a shard. @param kept indices of its documents that belong to this side of the split */
  add(shard: DocumentShard, kept: number[]): void {
    if (kept.length > 0) this.#shards.push({ shard, kept: Uint32Array.from(kept), first: this.count });
    this.count += kept.length;
  }

  async read(document: number, encode: Encode): Promise<EncodedDocument> {
    if (this.#last?.document === document) return this.#last.encoded;
    let encoded = this.#cache?.get(document);
    if (!encoded) {
      const { shard, kept, first } = this.#shardOf(document);
      encoded = await shard.read(kept[document - first]!, encode);
      if (!shard.isEncoded) this.#cache?.set(document, encoded, this.count);
    }
    this.#last = { document, encoded };
    return encoded;
  }

  tokenCount(document: number): number | undefined {
    if (this.#last?.document === document) return this.#last.encoded.tokens.length;
    const cached = this.#cache?.get(document);
    if (cached) return cached.tokens.length;
    const { shard, kept, first } = this.#shardOf(document);
    return shard.tokenCount?.(kept[document - first]!);
  }

  /** Finds the shard of a document by binary search. */
  #shardOf(document: number) {
    let low = 0;
    let high = this.#shards.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#shards[middle]!.first <= document) low = middle;
      else high = middle - 1;
    }
    return this.#shards[low]!;
  }
}

/** Token ids of many documents, concatenated in a few large arrays. */
class TokenCache {
  static readonly #chunkTokens = 2 ** 18;
  readonly #chunks: Uint32Array[] = [];
  #free = 0; // start of the last chunk's unused part
  /** Five numbers per document: chunk + 1 (0: not encoded yet), offset, number of tokens, bytes, closes (0 or 1). */
  #index = new Uint32Array(0);

  get(document: number): EncodedDocument | undefined {
    const at = 5 * document;
    const chunk = this.#index[at];
    if (!chunk) return undefined;
    const offset = this.#index[at + 1]!;
    return {
      tokens: this.#chunks[chunk - 1]!.subarray(offset, offset + this.#index[at + 2]!),
      bytes: this.#index[at + 3]!,
      closes: this.#index[at + 4] === 1,
    };
  }

  set(document: number, { tokens, bytes, closes }: EncodedDocument, documentCount: number): void {
    if (this.#index.length === 0) this.#index = new Uint32Array(5 * documentCount);
    const last = this.#chunks.at(-1);
    if (!last || this.#free + tokens.length > last.length) {
      this.#chunks.push(new Uint32Array(Math.max(TokenCache.#chunkTokens, tokens.length)));
      this.#free = 0;
    }
    this.#chunks.at(-1)!.set(tokens, this.#free);
    this.#index.set([this.#chunks.length, this.#free, tokens.length, bytes, Number(closes)], 5 * document);
    this.#free += tokens.length;
  }
}
