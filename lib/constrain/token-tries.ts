// The bytes of a vocabulary's tokens as trees, laid out so that a walk reads memory from the beginning to the end.
import { unsupported } from "./limits.ts";

/** What of a tokenizer is needed here: `Tokenizer` is one. */
export interface TokenSource {
  /** Highest id + 1. */
  readonly vocabSize: number;
  /** Tokens that stand for no text of their own. */
  readonly addedTokens: readonly { readonly id: number }[];
  /** Whether the bytes of several tokens are those of each, one after the other. */
  readonly joinsBytes: boolean;
  tokenBytes(id: number): Uint8Array;
}

/**
 * Tokens in the order of a depth-first walk. Node i reads `bytes[i]`, what lies below it are the nodes up to `ends[i]`, and `tokens[i]` ends
 * there (−1: none; others of the same bytes follow in `next`).
 */
export interface TokenTree {
  readonly bytes: Uint8Array;
  readonly depths: Uint16Array;
  readonly ends: Int32Array;
  readonly tokens: Int32Array;
  readonly longest: number;
}

/** A vocabulary's tokens, apart: those that any string of JSON may hold as they are, and the others. */
export interface TokenTries {
  /** Whole characters only, none of which needs a backslash. */
  readonly plain: TokenTree;
  readonly other: TokenTree;
  /** For each token the next one of the same bytes, −1: none. */
  readonly next: Int32Array;
  /** Plain tokens by their number of characters: those of at most n are the first `plainUpTo[n]`. */
  readonly plainIds: Int32Array;
  readonly plainUpTo: Int32Array;
  readonly bytesOf: (token: number) => Uint8Array;
}

/** Longer tokens are left out: no text needs them. */
const LONGEST_TOKEN = 1024;
const STEPS = 1024;

/** @throws HeddleError UNSUPPORTED for a tokenizer whose decoder does not simply join its tokens */
export function checkTokens(source: TokenSource): void {
  if (!source.joinsBytes)
    throw unsupported(
      "responseFormat",
      "a tokenizer whose decoder changes tokens by their neighbours (WordPiece, Metaspace …)",
    );
}

/** Yields every thousand steps: see `inSlices`. */
export function* makeTries(source: TokenSource): Generator<void, TokenTries, undefined> {
  const count = source.vocabSize;
  const hidden = new Set(source.addedTokens.map(({ id }) => id));
  const starts = new Int32Array(count + 1);
  const plain = new TreeBuilder(count);
  const other = new TreeBuilder(count);
  const characters = new Int32Array(count).fill(-1);
  let all = new Uint8Array(count * 8);
  let end = 0;
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
    const length = plainCharacters(bytes);
    characters[id] = length;
    if (length < 0) other.add(id, bytes);
    else plain.add(id, bytes);
  }
  starts[count] = end;
  yield;
  // Sorted by counting.
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
  const next = new Int32Array(count);
  for (let id = 0; id < count; id++) next[id] = Math.max(plain.next[id]!, other.next[id]!);
  return {
    plain: yield* plain.finish(),
    other: yield* other.finish(),
    next,
    plainIds,
    plainUpTo,
    bytesOf: (token) => all.subarray(starts[token], starts[token + 1]),
  };
}

/** How many characters a token is that strings of JSON hold as they are; −1: it is none. */
function plainCharacters(bytes: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < bytes.length; count++) {
    const byte = bytes[i]!;
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c) return -1;
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

class TreeBuilder {
  readonly next: Int32Array;
  private child = new Int32Array(1024).fill(-1);
  private sibling = new Int32Array(1024).fill(-1);
  private token = new Int32Array(1024).fill(-1);
  private byte = new Uint8Array(1024);
  private size = 1;
  private longest = 0;

  constructor(tokens: number) {
    this.next = new Int32Array(tokens).fill(-1);
  }

  add(id: number, bytes: Uint8Array): void {
    let node = 0;
    for (const byte of bytes) {
      let before = -1;
      let at = this.child[node]!;
      while (at >= 0 && this.byte[at]! < byte) {
        before = at;
        at = this.sibling[at]!;
      }
      if (at < 0 || this.byte[at]! !== byte) {
        const made = this.make(byte, at);
        if (before < 0) this.child[node] = made;
        else this.sibling[before] = made;
        at = made;
      }
      node = at;
    }
    this.next[id] = this.token[node]!;
    this.token[node] = id;
    this.longest = Math.max(this.longest, bytes.length);
  }

  private make(byte: number, sibling: number): number {
    if (this.size === this.byte.length) this.grow();
    const node = this.size++;
    this.byte[node] = byte;
    this.sibling[node] = sibling;
    return node;
  }

  private grow(): void {
    const larger = (array: Int32Array) => {
      const out = new Int32Array(2 * array.length).fill(-1, array.length);
      out.set(array);
      return out;
    };
    [this.child, this.sibling, this.token] = [larger(this.child), larger(this.sibling), larger(this.token)];
    const bytes = new Uint8Array(2 * this.byte.length);
    bytes.set(this.byte);
    this.byte = bytes;
  }

  *finish(): Generator<void, TokenTree, undefined> {
    const nodes = this.size - 1;
    const bytes = new Uint8Array(nodes);
    const depths = new Uint16Array(nodes);
    const ends = new Int32Array(nodes);
    const tokens = new Int32Array(nodes);
    const path: number[] = [];
    const places: number[] = [];
    let at = this.child[0]!;
    let place = 0;
    for (;;) {
      while (at >= 0) {
        bytes[place] = this.byte[at]!;
        depths[place] = path.length;
        tokens[place] = this.token[at]!;
        path.push(at);
        places.push(place);
        at = this.child[at]!;
        if (++place % STEPS === 0) yield;
      }
      if (path.length === 0) break;
      ends[places.pop()!] = place;
      at = this.sibling[path.pop()!]!;
    }
    return { bytes, depths, ends, tokens, longest: this.longest };
  }
}
