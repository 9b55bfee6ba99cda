// Streaming decode: converts ids to text one by one, and never splits a character.
import type { NativeDecoder } from "../binding/tokenizer.ts";

const MAX_ID = 2 ** 32 - 1;

/** Caches the texts of ids that add the same text in every context. Most tokens then cost one array lookup. */
export class SettledTexts {
  /** null: the text depends on the context. undefined: not looked up yet. */
  private readonly texts: (string | null | undefined)[];
  private readonly ask: (id: number) => string | undefined;

  constructor(size: number, ask: (id: number) => string | undefined) {
    this.texts = new Array(size);
    this.ask = ask;
  }

  /** Returns the text of an id, which is empty if the id is not in the vocabulary. Returns undefined if the text depends on the context. */
  textOf(id: number): string | undefined {
    // Look up numbers only, because the string "1" as an index would find the text of id 1.
    const known = typeof id === "number" ? this.texts[id] : null;
    if (known !== undefined) return known ?? undefined;
    if (!(Number.isInteger(id) && id >= 0 && id <= MAX_ID)) return undefined;
    if (id >= this.texts.length) return "";
    const text = this.ask(id);
    this.texts[id] = text ?? null;
    return text;
  }
}

/** Decodes ids one by one: see Tokenizer.decoder. */
export class TokenDecoder {
  private readonly native: NativeDecoder;
  private readonly texts: SettledTexts;
  private readonly copy: (of: NativeDecoder) => NativeDecoder;
  /** Whether the text of later ids is independent of the ids pushed so far. The cached texts are then valid. */
  private settled: boolean;

  /** @internal */
  constructor(native: NativeDecoder, texts: SettledTexts, copy: (of: NativeDecoder) => NativeDecoder) {
    this.native = native;
    this.texts = texts;
    this.copy = copy;
    this.settled = native.settled;
  }

  /** Returns the text that this id has made final. It is often empty in the middle of a character. */
  push(id: number): string {
    if (this.settled) {
      const own = this.texts.textOf(id);
      if (own !== undefined) return own;
    }
    const text = this.native.push(id);
    this.settled = this.native.settled;
    return text;
  }

  /** Returns the text that push held back. A partial character becomes U+FFFD. */
  flush(): string {
    const text = this.native.flush();
    this.settled = this.native.settled;
    return text;
  }

  /** @internal Returns a copy, which continues the text independently. */
  fork(): TokenDecoder {
    return new TokenDecoder(this.copy(this.native), this.texts, this.copy);
  }
}
