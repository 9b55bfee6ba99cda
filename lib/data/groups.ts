import { documentCount, documentEnds, documentPosition, documentText } from "./documents.ts";
import { Pacer } from "./pacer.ts";
import { permutation, Stream, uniformAt } from "./random.ts";
import { type CorpusFile, planShards, readShard, type Shard, type ShardDocuments } from "./shards.ts";

/** Bytes of a file that are read at once. */
const SHARD_BYTES = 4 * 2 ** 20;
const SHUFFLE_BYTES = 64 * 2 ** 20;

export interface GroupOptions {
  seed?: number;
  shuffle?: boolean;
  textField?: string;
  split?: "train" | "eval";
  evalFraction?: number;
  splitSeed?: number;
  shuffleBytes?: number;
}

type Encode = (text: string, ends: { opens: boolean; closes: boolean }) => Promise<Uint32Array>;

/**
 * The order in which documents are read. In every epoch the shards of all files are put in a random order and taken in groups of
 * about `shuffleBytes`; a group is in memory as a whole and its documents are read in a random order. Both orders are pure
 * functions of seed, epoch and group, so any place can be gone to at once. A corpus smaller than a group is shuffled
 * perfectly, stays in memory, and is encoded only once.
 */
export class GroupReader {
  readonly groupCount: number;
  readonly groupBytes: number;
  readonly #files: readonly CorpusFile[];
  readonly #options: GroupOptions;
  readonly #shards: Shard[];
  readonly #shardsOfGroup: number;
  #open: { epoch: number; group: number; opened: Promise<Group> } | undefined;

  constructor(files: readonly CorpusFile[], options: GroupOptions) {
    this.#files = files;
    this.#options = options;
    this.groupBytes = options.shuffleBytes ?? SHUFFLE_BYTES;
    const shardBytes = Math.min(SHARD_BYTES, this.groupBytes);
    this.#shards = planShards(files, shardBytes);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const average = total / Math.max(1, this.#shards.length);
    const isWhole = total <= this.groupBytes;
    this.#shardsOfGroup = isWhole ? this.#shards.length : Math.max(1, Math.floor(this.groupBytes / average));
    this.groupCount = Math.ceil(this.#shards.length / Math.max(1, this.#shardsOfGroup));
  }

  /** The documents of a group, in their order of this epoch. */
  open(epoch: number, group: number): Promise<Group> {
    const known = this.#open;
    if (known?.group === group && known.epoch === epoch) return known.opened;
    // One group only: the documents are there already, encoded in part, and only their order is new.
    const loaded =
      known && this.groupCount === 1 ? known.opened.then((one) => one.documents) : this.#load(epoch, group);
    const opened = loaded.then(
      async (documents) => new Group(documents, await this.#orderOf(documents.length, epoch, group)),
    );
    this.#open = { epoch, group, opened };
    opened.catch(() => {
      if (this.#open?.opened === opened) this.#open = undefined; // a failure is reported, and tried again if asked again
    });
    return opened;
  }

  dispose(): void {
    this.#open = undefined;
  }

  async #load(epoch: number, group: number): Promise<StoredDocument[]> {
    const {
      shuffle = true,
      seed = 0,
      textField = "text",
      split = "train",
      evalFraction = 0,
      splitSeed = 0,
    } = this.#options;
    const count = this.#shards.length;
    const order = shuffle && this.groupCount > 1 ? await permutation(count, seed, Stream.shards, epoch) : undefined;
    const from = group * this.#shardsOfGroup;
    const documents: StoredDocument[] = [];
    const pacer = new Pacer();
    for (let i = from; i < Math.min(count, from + this.#shardsOfGroup); i++) {
      const shard = await readShard(this.#files, this.#shards[order ? order[i]! : i]!);
      for (let index = 0; index < documentCount(shard); index++) {
        if (pacer.isDue()) await pacer.rest();
        if (evalFraction > 0) {
          const isHeldOut = heldOutDraw(shard, index, splitSeed) < evalFraction;
          if (isHeldOut !== (split === "eval")) continue;
        }
        documents.push(new StoredDocument(shard, index, textField));
      }
    }
    return documents;
  }

  async #orderOf(count: number, epoch: number, group: number): Promise<Uint32Array | undefined> {
    const { shuffle = true, seed = 0 } = this.#options;
    return shuffle ? await permutation(count, seed, Stream.documents, epoch, group) : undefined;
  }
}

/** Uniform in [0, 1), by the place of the document on disk: neither order nor shard size moves it across the split. */
function heldOutDraw(shard: ShardDocuments, index: number, splitSeed: number): number {
  const position = documentPosition(shard, index);
  const high = Math.floor(position / 2 ** 32);
  return uniformAt(splitSeed, Stream.split + 16 * high, shard.fileIndex, position % 2 ** 32);
}

export class Group {
  readonly documents: readonly StoredDocument[];
  readonly #order: Uint32Array | undefined;

  constructor(documents: readonly StoredDocument[], order: Uint32Array | undefined) {
    this.documents = documents;
    this.#order = order;
  }

  get documentCount(): number {
    return this.documents.length;
  }

  /** The document at a place of the order, encoded. */
  async read(place: number, encode: Encode): Promise<{ tokens: Uint32Array; bytes: number }> {
    return await this.documents[this.#order ? this.#order[place]! : place]!.read(encode);
  }
}

/** A document of a group: its bytes until it is read first, its tokens from then on. */
class StoredDocument {
  readonly #shard: ShardDocuments;
  readonly #index: number;
  readonly #textField: string;
  #read: { tokens: Uint32Array; bytes: number } | undefined;

  constructor(shard: ShardDocuments, index: number, textField: string) {
    this.#shard = shard;
    this.#index = index;
    this.#textField = textField;
  }

  async read(encode: Encode): Promise<{ tokens: Uint32Array; bytes: number }> {
    if (!this.#read) {
      const text = await documentText(this.#shard, this.#index, this.#textField);
      const tokens = await encode(text, documentEnds(this.#shard, this.#index));
      this.#read = { tokens, bytes: Buffer.byteLength(text) };
    }
    return this.#read;
  }
}
