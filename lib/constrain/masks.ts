// Computes which tokens may come next, by walking the vocabulary's tries along the automaton.
import { HeddleError } from "../core/errors.ts";
import { type Automaton, type State, tooAmbiguous } from "./automaton.ts";
import type { TokenTree, TokenTries } from "./token-tries.ts";

/** The tokens that may come next, or those that may not, whichever list is shorter. Ids are in ascending order. */
export type Mask = { readonly allowed: Int32Array } | { readonly forbidden: Int32Array };

/** Maximum number of ids in all cached masks together: 16 MB. */
const MAX_IDS = 4 << 20;
/** Maximum number of cached masks. */
const MAX_MASKS = 4096;
/** Number of trie nodes visited between two yields. */
const STEPS = 512;
/** Units of `Automaton.work` between two yields. They take about as much time as STEPS steps to cached states. */
const LOOKS = 256;

/** The work that the masks of one document may still cost, in units of `Automaton.work`. */
export interface Allowance {
  looks: number;
}

/** Computes and caches the masks of one grammar for one vocabulary and its end tokens. */
export class Masks {
  private readonly automaton: Automaton;
  private readonly tries: TokenTries;
  private readonly vocabSize: number;
  private readonly ends: readonly number[];
  /** Cached masks, least recently used first. */
  private readonly known = new Map<State, Mask>();
  /** Number of ids in the cached masks. */
  private held = 0;
  /** 1 for each plain token, else 0. */
  private readonly plain: Uint8Array;
  /** Added tokens that the grammar matches by their text, with the bytes of the text. */
  private readonly markup = new Map<number, Uint8Array>();

  /**
   * @param of.vocabSize the model's vocabulary size; ids beyond are never allowed
   * @param of.ends tokens that end a document. They are allowed only if the document is complete
   * @param of.visible special tokens that are part of the text
   */
  constructor(
    automaton: Automaton,
    tries: TokenTries,
    { vocabSize, ends, visible }: { vocabSize: number; ends: readonly number[]; visible: readonly number[] },
  ) {
    this.automaton = automaton;
    this.tries = tries;
    this.vocabSize = vocabSize;
    this.ends = ends.filter((id) => id < vocabSize);
    this.plain = new Uint8Array(vocabSize);
    for (const id of tries.plainIds) if (id < vocabSize) this.plain[id] = 1;
    for (const text of automaton.grammar.markup ?? []) {
      const token = tries.markup.get(text);
      if (!token || token.id >= vocabSize || ends.includes(token.id)) continue;
      if (!token.isSpecial || visible.includes(token.id)) this.markup.set(token.id, Buffer.from(text));
    }
  }

  /** Returns the mask of a state if it is cached. */
  cached(state: State): Mask | undefined {
    const mask = this.known.get(state);
    if (!mask) return undefined;
    this.known.delete(state);
    this.known.set(state, mask);
    return mask;
  }

  /**
   * Computes the mask of a state. It yields regularly: see `inSlices`.
   * @param allowance the document's remaining work; the work of this mask is subtracted
   * @throws HeddleError UNSUPPORTED if no token of the vocabulary can continue the document, or if the allowance is exceeded
   */
  *make(state: State, allowance: Allowance): Generator<void, Mask, undefined> {
    const { tries, vocabSize } = this;
    const room = this.automaton.freeCharacters(state);
    let flags: Uint8Array;
    if (room === undefined) {
      flags = new Uint8Array(vocabSize);
      yield* this.walk(tries.plain, state, flags, allowance);
    } else {
      // Inside a string all plain tokens are allowed, except those that are too long.
      flags = this.plain.slice();
      const { plainIds, plainUpTo } = tries;
      if (room < plainUpTo.length - 1)
        for (let i = plainUpTo[Math.max(0, room)]!; i < plainIds.length; i++) flags[plainIds[i]!] = 0;
    }
    yield* this.walk(tries.other, state, flags, allowance);
    for (const id of this.markup.keys()) if (this.after(state, id)) flags[id] = 1;
    for (const id of this.ends) flags[id] = state.whole ? 1 : 0;
    const mask = maskOf(flags.subarray(0, vocabSize));
    if ("allowed" in mask && mask.allowed.length === 0)
      throw new HeddleError(
        "UNSUPPORTED",
        "responseFormat: no token of the vocabulary can continue the document (its characters have no tokens, or stop excludes them)",
      );
    this.remember(state, mask);
    return mask;
  }

  /** Returns the state after a token other than an end token; null if it is not allowed. */
  after(state: State, token: number): State | null {
    const { automaton, markup, tries } = this;
    const text = markup.get(token);
    // Inside a string, markup is plain text: the model must write it with ordinary tokens.
    if (text) return automaton.freeCharacters(state) === undefined ? automaton.read(state, text) : null;
    const bytes = tries.bytesOf(token);
    return bytes.length === 0 ? null : automaton.read(state, bytes);
  }

  private *walk(
    tree: TokenTree,
    start: State,
    flags: Uint8Array,
    allowance: Allowance,
  ): Generator<void, void, undefined> {
    const { automaton, vocabSize } = this;
    const { next } = this.tries;
    const { bytes, depths, ends, tokens } = tree;
    const path: State[] = [start];
    const count = bytes.length;
    let looked = 0;
    for (let i = 0, turn = 0; i < count; turn++) {
      if (turn === STEPS) {
        turn = 0;
        yield;
      }
      const depth = depths[i]!;
      const from = path[depth]!;
      const byte = bytes[i]!;
      let state = from.next[byte];
      if (state === undefined) {
        // Computing a new state takes as much time as many steps to cached states. Other documents advance `automaton.work` only during
        // yields, so the difference is the work of this document.
        const before = automaton.work;
        state = automaton.step(from, byte);
        looked += automaton.work - before;
        if (looked > LOOKS) {
          allowance.looks -= looked;
          looked = 0;
          if (allowance.looks < 0) throw tooAmbiguous();
          yield;
        }
      }
      if (state === null) {
        i = ends[i]!;
        continue;
      }
      if (tree === this.tries.plain && this.automaton.isFree(state, tree.longest)) {
        // Any characters may follow inside the string, so all tokens below this node are allowed.
        for (const end = ends[i]!; i < end; i++)
          for (let token = tokens[i]!; token >= 0; token = next[token]!) if (token < vocabSize) flags[token] = 1;
        continue;
      }
      path[depth + 1] = state;
      for (let token = tokens[i]!; token >= 0; token = next[token]!) if (token < vocabSize) flags[token] = 1;
      i++;
    }
  }

  private remember(state: State, mask: Mask): void {
    const size = (of: Mask) => ("allowed" in of ? of.allowed : of.forbidden).length;
    // Concurrent calls may compute the same mask.
    const before = this.known.get(state);
    if (before) this.held -= size(before);
    this.known.set(state, mask);
    this.held += size(mask);
    for (const [oldest, of] of this.known) {
      if (oldest === state || (this.held <= MAX_IDS && this.known.size <= MAX_MASKS)) break;
      this.known.delete(oldest);
      this.held -= size(of);
    }
  }
}

function maskOf(flags: Uint8Array): Mask {
  let count = 0;
  for (let i = 0; i < flags.length; i++) count += flags[i]!;
  const wanted = 2 * count <= flags.length ? 1 : 0;
  const ids = new Int32Array(wanted === 1 ? count : flags.length - count);
  for (let i = 0, place = 0; i < flags.length; i++) if (flags[i] === wanted) ids[place++] = i;
  return wanted === 1 ? { allowed: ids } : { forbidden: ids };
}
