// Trims offsets like byte-level and RoBERTa post-processors: white space at a token's ends is excluded.

import type { Slices } from "../core/slices.ts";
import { isHighSurrogate, isLowSurrogate } from "../core/surrogates.ts";
import { flatten, type TokenizerFile } from "./files/tokenizer-file.ts";

/** White space in a token's vocabulary entry. Ġ is the space of the byte-level alphabet. */
const BLANK = /[\u0120\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Number of tokens processed between two yields. */
const SLICE_TOKENS = 4096;

/** Numbers of white-space characters at the ends of a token. */
interface Blanks {
  leading: number;
  trailing: number;
}

/** Trims the offsets of tokens if tokenizer.json has `trim_offsets`. */
export class OffsetTrimmer {
  /** The post-processors that trim, in order. `keepsPrefix`: whether the first token keeps the added prefix space. */
  private readonly steps: readonly { keepsPrefix: boolean }[];
  private readonly known = new Map<number, Blanks>();
  private readonly nameOf: (id: number) => string | undefined;
  private readonly isAdded: (id: number) => boolean;

  /** @param names.isAdded whether a token is an added token, which may include adjacent white space of the text (`lstrip`, `rstrip`) */
  constructor(
    file: TokenizerFile,
    names: { nameOf: (id: number) => string | undefined; isAdded: (id: number) => boolean },
  ) {
    this.steps = flatten(file.postProcessor, "processors", "post_processor")
      .filter(
        ({ type, trim_offsets: trims }) => (type === "ByteLevel" || type === "RobertaProcessing") && trims === true,
      )
      .map((part) => ({ keepsPrefix: part.add_prefix_space === true }));
    this.nameOf = names.nameOf;
    this.isAdded = names.isAdded;
  }

  /**
   * Trims offsets in place, like Hugging Face's `process_offsets`. It yields regularly: see `inSlices`.
   * @param offsets two numbers per token @param own range of the text's own tokens, without special tokens around it
   */
  *trim(
    text: string,
    { ids, offsets }: { ids: Uint32Array; offsets: Uint32Array },
    { from, to }: { from: number; to: number },
    units: "utf16" | "bytes",
  ): Slices<void> {
    if (this.steps.length === 0) return;
    const source = units === "utf16" ? text : Buffer.from(text);
    for (let t = from; t < to; t++) {
      if (t % SLICE_TOKENS === SLICE_TOKENS - 1) yield;
      const id = ids[t]!;
      let [begin, end] = [offsets[2 * t]!, offsets[2 * t + 1]!];
      const { leading, trailing } = this.isAdded(id) ? blanksOf(source.slice(begin, end).toString()) : this.blanks(id);
      if (leading === 0 && trailing === 0) continue;
      for (const { keepsPrefix } of this.steps) {
        const isFirst = t === from || begin === 0;
        // A prefix space is added only to a text that begins without a space, so several blanks are from the text itself.
        const isPrefix = isFirst && keepsPrefix && leading === 1;
        begin = Math.min(isPrefix ? begin : forward(source, begin, leading), end);
        end = Math.max(backward(source, end, trailing) ?? end, begin);
      }
      offsets[2 * t] = begin;
      offsets[2 * t + 1] = end;
    }
  }

  private blanks(id: number): Blanks {
    const known = this.known.get(id);
    if (known) return known;
    const made = blanksOf(this.nameOf(id) ?? "");
    this.known.set(id, made);
    return made;
  }
}

/** Counts the blanks in linear time: a regular expression anchored at the end takes quadratic time in a run of blanks. */
function blanksOf(name: string): Blanks {
  let leading = 0;
  while (leading < name.length && BLANK.test(name[leading]!)) leading++;
  let end = name.length;
  while (end > 0 && BLANK.test(name[end - 1]!)) end--;
  return { leading, trailing: name.length - end };
}

/** Whether an index is inside a character, in UTF-16 or UTF-8. */
function isInside(source: string | Uint8Array, at: number): boolean {
  if (typeof source !== "string") return (source[at]! & 0xc0) === 0x80;
  return isLowSurrogate(source.charCodeAt(at)) && isHighSurrogate(source.charCodeAt(at - 1));
}

/**
 * Moves `at` forward by whole characters. It counts characters, not bytes or code units, because a blank in the vocabulary may be a wider
 * character in the text.
 */
function forward(source: string | Uint8Array, at: number, characters: number): number {
  for (let n = 0; n < characters && at < source.length; n++) {
    at++;
    while (at < source.length && isInside(source, at)) at++;
  }
  return at;
}

/** Moves `at` back by whole characters. Returns undefined if the text has too few. */
function backward(source: string | Uint8Array, at: number, characters: number): number | undefined {
  for (let n = 0; n < characters; n++) {
    if (at === 0) return undefined;
    at--;
    while (at > 0 && isInside(source, at)) at--;
  }
  return at;
}
