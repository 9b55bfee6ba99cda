import type { Tokenizer } from "../tokenizer/index.ts";

/** Counts the UTF-16 units of tokens' texts. The first text loses its leading space where the vocabulary puts one there. */
export class TextOffsets {
  private readonly tokenizer: Tokenizer;
  private readonly special: ReadonlySet<number>;
  private units: number;
  private begun: boolean;

  /** @param after tokens before these, and the units of text before these that count */
  constructor(tokenizer: Tokenizer, after: { ids: readonly number[]; length: number } = { ids: [], length: 0 }) {
    this.tokenizer = tokenizer;
    this.special = new Set(tokenizer.specialTokens.values());
    this.units = after.length;
    this.begun = tokenizer.decode(after.ids, { skipSpecialTokens: true }) !== "";
  }

  /** Number of units before a token. Special tokens do not count. */
  next(id: number): number {
    const before = this.units;
    if (this.special.has(id)) return before;
    this.units += (this.begun ? this.tokenizer.tokenText(id) : this.tokenizer.decode([id])).length;
    this.begun ||= this.units > before;
    return before;
  }
}
