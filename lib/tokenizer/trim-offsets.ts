// What a byte-level or RoBERTa's post-processor does to offsets: blanks that a token begins or ends with are no part of its stretch.
import { flatten, type TokenizerFile } from "./tokenizer-file.ts";

/** Blanks of a token as the vocabulary writes it: Ġ is a space of the byte-level alphabet. */
const LEADING = /^[\u0120\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const TRAILING = /[\u0120\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/;

interface Blanks {
  leading: number;
  trailing: number;
  /** The first of the leading ones alone. */
  first: number;
}
const NONE: Blanks = { leading: 0, trailing: 0, first: 0 };

/** Shortens the stretches of a tokenizer's tokens as its tokenizer.json says (`trim_offsets`). */
export class OffsetTrimmer {
  /** One a step, whether the text's first token keeps the space that was put before it. */
  private readonly steps: readonly { keepsPrefix: boolean }[];
  private readonly known = { utf16: new Map<number, Blanks>(), bytes: new Map<number, Blanks>() };
  private readonly nameOf: (id: number) => string | undefined;
  private readonly isAdded: (id: number) => boolean;

  /** @param names.isAdded of tokens that take blanks of the text beside them (`lstrip`, `rstrip`) */
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
   * Changes offsets in place, as Hugging Face's `process_offsets` does.
   * @param offsets two numbers a token @param own the text's own tokens: the first, and the one behind the last
   */
  trim(
    text: string,
    { ids, offsets }: { ids: Uint32Array; offsets: Uint32Array },
    { from, to }: { from: number; to: number },
    units: "utf16" | "bytes",
  ): void {
    if (this.steps.length === 0) return;
    const source = units === "utf16" ? text : Buffer.from(text);
    for (let t = from; t < to; t++) {
      const id = ids[t]!;
      let [begin, end] = [offsets[2 * t]!, offsets[2 * t + 1]!];
      const { leading, trailing, first } = this.isAdded(id)
        ? blanksOf(source.slice(begin, end).toString(), units)
        : this.blanks(id, units);
      if (leading === 0 && trailing === 0) continue;
      for (const { keepsPrefix } of this.steps) {
        const isFirst = t === from || begin === 0;
        begin = Math.min(begin + leading - (isFirst && keepsPrefix ? first : 0), end);
        if (end >= trailing) end = Math.max(end - trailing, begin);
      }
      offsets[2 * t] = begin;
      offsets[2 * t + 1] = end;
    }
  }

  private blanks(id: number, units: "utf16" | "bytes"): Blanks {
    const known = this.known[units].get(id);
    if (known) return known;
    const made = blanksOf(this.nameOf(id) ?? "", units);
    this.known[units].set(id, made);
    return made;
  }
}

function blanksOf(name: string, units: "utf16" | "bytes"): Blanks {
  // The byte-level space is one byte of the text.
  const length = (text: string) =>
    units === "utf16" ? text.length : Buffer.byteLength(text.replaceAll("\u0120", " "));
  const leading = LEADING.exec(name)?.[0] ?? "";
  const trailing = TRAILING.exec(name)?.[0] ?? "";
  if (leading === "" && trailing === "") return NONE;
  return { leading: length(leading), trailing: length(trailing), first: length(leading.slice(0, 1)) };
}
