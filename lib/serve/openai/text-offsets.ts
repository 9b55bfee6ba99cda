import type { Tokenizer } from "../../tokenizer/index.ts";

/** Computes the offset of each token in a text, in UTF-16 units. A leading space that the tokenizer adds does not count. */
export class TextOffsets {
  private readonly tokenizer: Tokenizer;
  private readonly special: ReadonlySet<number>;
  private units: number;
  private begun: boolean;

  /** @param after the preceding tokens, and the offset to start from */
  constructor(tokenizer: Tokenizer, after: { ids: readonly number[]; length: number } = { ids: [], length: 0 }) {
    this.tokenizer = tokenizer;
    this.special = new Set(tokenizer.specialTokens.values());
    this.units = after.length;
    this.begun = tokenizer.decode(after.ids, { skipSpecialTokens: true }) !== "";
  }

  /** Returns the offset of a token in UTF-16 units. Special tokens do not count. */
  next(id: number): number {
    const before = this.units;
    if (this.special.has(id)) return before;
    this.units += (this.begun ? this.tokenizer.tokenText(id) : this.tokenizer.decode([id])).length;
    this.begun ||= this.units > before;
    return before;
  }
}
