// Caches the effect of a tokenizer's normalizer on each character of messages.

/** Flag: a guarded token may begin with the character's normalized form. */
export const BEGINS = 1;
/** Flag: the normalizer may change the character. */
export const CHANGES = 2;
/** Flag: a guarded token may begin with the normalized form of the character and the combining characters after it. */
export const COMPOSES = 4;
/** Flag of the cache: the character's other flags have been looked up. */
const KNOWN = 8;

/** Looks up the flags of characters, and caches them. */
export class GuardCharacters {
  private readonly ask: (text: string) => Uint8Array;
  /** Flags of the characters of the basic multilingual plane; 0 if unknown. */
  private readonly basic = new Uint8Array(1 << 16);
  private readonly others = new Map<number, number>();

  /** @param ask returns the flags of each character of a well-formed text */
  constructor(ask: (text: string) => Uint8Array) {
    this.ask = ask;
  }

  /** Looks up the flags of a well-formed text's characters, which `of` then returns. */
  learn(text: string): void {
    const unknown = new Set<number>();
    for (let at = 0; at < text.length; ) {
      const code = text.codePointAt(at)!;
      if (this.known(code) === undefined) unknown.add(code);
      at += code < 0x10000 ? 1 : 2;
    }
    if (unknown.size === 0) return;
    const codes = [...unknown];
    const classes = this.ask(String.fromCodePoint(...codes));
    for (const [i, code] of codes.entries()) {
      if (code < 0x10000) this.basic[code] = classes[i]! | KNOWN;
      else this.others.set(code, classes[i]!);
    }
  }

  /** Returns the flags of a character that `learn` has seen. */
  of(code: number): number {
    return (this.known(code) ?? 0) & ~KNOWN;
  }

  private known(code: number): number | undefined {
    if (code >= 0x10000) return this.others.get(code);
    const found = this.basic[code]!;
    return found === 0 ? undefined : found;
  }
}
