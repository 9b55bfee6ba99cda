// Builds tries of the bytes of a vocabulary's tokens, laid out so that a walk reads memory sequentially.
import { unsupported } from "./limits.ts";

/** The properties of a tokenizer that constraints need. `Tokenizer` has them. */
export interface TokenSource {
  /** Highest id + 1. */
  readonly vocabSize: number;
  /** Added tokens. They match no text, unless the grammar lists their text as markup and the answer shows them. */
  readonly addedTokens: readonly {
    readonly id: number;
    readonly content?: string | undefined;
    readonly special?: boolean | undefined;
  }[];
  /** Whether the bytes of a sequence are the concatenated bytes of its tokens. */
  readonly joinsBytes: boolean;
  tokenBytes(id: number): Uint8Array;
}

/**
 * A trie in depth-first order. Node i reads `bytes[i]` at depth `depths[i]`, and its descendants are the nodes from i + 1 to before
 * `ends[i]`. `tokens[i]` is a token that ends at node i, or −1. `TokenTries.next` links further tokens with the same bytes.
 */
export interface TokenTree {
  readonly bytes: Uint8Array;
  readonly depths: Uint16Array;
  readonly ends: Int32Array;
  readonly tokens: Int32Array;
  /** Length of the longest token in bytes. */
  readonly longest: number;
}

/** A vocabulary's tokens in two tries: those that any JSON string may contain unescaped (plain), and the others. */
export interface TokenTries {
  /** Tokens that consist of complete characters, none of which must be escaped. */
  readonly plain: TokenTree;
  readonly other: TokenTree;
  /** The next token with the same bytes, per token; −1 for the last one. */
  readonly next: Int32Array;
  /** Plain tokens sorted by their number of characters. The first `plainUpTo[n]` have at most n characters. */
  readonly plainIds: Int32Array;
  readonly plainUpTo: Int32Array;
  readonly bytesOf: (token: number) => Uint8Array;
  /** Added tokens by their text. */
  readonly markup: ReadonlyMap<string, { readonly id: number; readonly isSpecial: boolean }>;
}

/** Maximum length of a token in bytes. Longer tokens are never allowed, because no text needs them. */
const LONGEST_TOKEN = 1024;
/** Number of tokens read between two yields. */
const STEPS = 1024;

/** Checks that the bytes of a tokenizer's tokens can be concatenated. @throws HeddleError UNSUPPORTED for other decoders */
export function checkTokens(source: TokenSource): void {
  if (!source.joinsBytes)
    throw unsupported(
      "responseFormat",
      "a tokenizer whose decoder changes tokens by their neighbors (WordPiece, Metaspace …)",
    );
}

/** Builds the tries of a vocabulary. It yields regularly: see `inSlices`. */
export function* makeTries(source: TokenSource): Generator<void, TokenTries, undefined> {
  const count = source.vocabSize;
  const hidden = new Set(source.addedTokens.map(({ id }) => id));
  const starts = new Int32Array(count + 1);
  const characters = new Int32Array(count).fill(-1);
  let all = new Uint8Array(count * 8);
  let end = 0;
  // Group tokens by their first two bytes, so that each sort below is short.
  const groups = new Map<number, number[]>();
  for (let id = 0; id < count; id++) {
    if (id % STEPS === STEPS - 1) yield;
    starts[id] = end;
    if (hidden.has(id)) continue;
    const bytes = source.tokenBytes(id);
    if (bytes.length === 0 || bytes.length > LONGEST_TOKEN) continue;
    if (end + bytes.length > all.length) {
      const larger = new Uint8Array(2 * all.length + bytes.length);
      larger.set(all);
      all = larger;
    }
    all.set(bytes, end);
    end += bytes.length;
    characters[id] = plainCharacters(bytes);
    const key = bytes[0]! * 257 + (bytes.length === 1 ? 0 : 1 + bytes[1]!);
    const group = groups.get(key);
    if (group) group.push(id);
    else groups.set(key, [id]);
  }
  starts[count] = end;
  const bytesOf = (token: number) => all.subarray(starts[token], starts[token + 1]);
  const next = new Int32Array(count).fill(-1);
  const plain = new TreeBuilder(next);
  const other = new TreeBuilder(next);
  for (const key of [...groups.keys()].sort((a, b) => a - b)) {
    yield;
    const sorted = groups.get(key)!.map((id) => ({ id, bytes: bytesOf(id) }));
    sorted.sort((a, b) => Buffer.compare(a.bytes, b.bytes) || b.id - a.id);
    for (const { id, bytes } of sorted) (characters[id]! < 0 ? other : plain).add(id, bytes);
  }
  yield;
  // Sort the plain tokens by their number of characters (a counting sort).
  let longest = 0;
  let plainCount = 0;
  for (const length of characters) {
    if (length > longest) longest = length;
    if (length >= 0) plainCount++;
  }
  const plainUpTo = new Int32Array(longest + 1);
  for (const length of characters) if (length >= 0) plainUpTo[length]!++;
  for (let n = 1; n <= longest; n++) plainUpTo[n]! += plainUpTo[n - 1]!;
  const places = plainUpTo.slice();
  const plainIds = new Int32Array(plainCount);
  for (let id = count - 1; id >= 0; id--) if (characters[id]! >= 0) plainIds[--places[characters[id]!]!] = id;
  yield;
  const markup = new Map<string, { id: number; isSpecial: boolean }>();
  for (const { id, content, special } of source.addedTokens)
    if (content) markup.set(content, { id, isSpecial: special !== false });
  return { plain: plain.finish(), other: other.finish(), next, plainIds, plainUpTo, bytesOf, markup };
}

/** Returns the number of characters of a token that can be inside a JSON string unescaped, or −1 for another token. */
function plainCharacters(bytes: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < bytes.length; count++) {
    const byte = bytes[i]!;
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c) return -1;
    // Overlong encodings, surrogates and code points above 10FFFF are not valid UTF-8 (RFC 3629).
    const length = byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0;
    if (length === 0 || i + length > bytes.length) return -1;
    for (let k = 1; k < length; k++) if ((bytes[i + k]! & 0xc0) !== 0x80) return -1;
    const second = bytes[i + 1]!;
    if (byte === 0xe0 && second < 0xa0) return -1;
    if (byte === 0xed && second > 0x9f) return -1;
    if (byte === 0xf0 && second < 0x90) return -1;
    if (byte === 0xf4 && second > 0x8f) return -1;
    i += length;
  }
  return count;
}

/**
 * Builds a trie from tokens that are added in the order of their bytes. A token reuses the nodes of the prefix that it
 * shares with the previous token.
 */
class TreeBuilder {
  private readonly next: Int32Array;
  private bytes = new Uint8Array(1024);
  private depths = new Uint16Array(1024);
  private ends = new Int32Array(1024);
  private tokens = new Int32Array(1024);
  private size = 0;
  private longest = 0;
  private before: Uint8Array = new Uint8Array();
  /** Nodes of the previous token, by depth. */
  private readonly path: number[] = [];

  constructor(next: Int32Array) {
    this.next = next;
  }

  add(id: number, bytes: Uint8Array): void {
    const { before, path } = this;
    const most = Math.min(before.length, bytes.length);
    let depth = 0;
    while (depth < most && before[depth] === bytes[depth]) depth++;
    this.leave(depth);
    for (; depth < bytes.length; depth++) {
      if (this.size === this.bytes.length) this.grow();
      const node = this.size++;
      this.bytes[node] = bytes[depth]!;
      this.depths[node] = depth;
      this.tokens[node] = -1;
      path.push(node);
    }
    const node = path.at(-1)!;
    this.next[id] = this.tokens[node]!;
    this.tokens[node] = id;
    this.before = bytes;
    this.longest = Math.max(this.longest, bytes.length);
  }

  finish(): TokenTree {
    this.leave(0);
    const { size, longest } = this;
    return {
      bytes: this.bytes.slice(0, size),
      depths: this.depths.slice(0, size),
      ends: this.ends.slice(0, size),
      tokens: this.tokens.slice(0, size),
      longest,
    };
  }

  /** Closes the nodes of the path from a depth on, because they have no more children. */
  private leave(depth: number): void {
    while (this.path.length > depth) this.ends[this.path.pop()!] = this.size;
  }

  private grow(): void {
    const larger = <T extends Uint8Array | Uint16Array | Int32Array>(array: T, out: T): T => {
      out.set(array);
      return out;
    };
    const size = 2 * this.bytes.length;
    this.bytes = larger(this.bytes, new Uint8Array(size));
    this.depths = larger(this.depths, new Uint16Array(size));
    this.ends = larger(this.ends, new Int32Array(size));
    this.tokens = larger(this.tokens, new Int32Array(size));
  }
}
