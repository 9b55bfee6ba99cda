// Streaming decode: converts ids to text one by one, and never splits a character.
import type { NativeDecoder } from "../binding/tokenizer.ts";

/** Caches the texts of ids that add the same text in every context. Most tokens then cost one array lookup. */
export class SettledTexts {
  private readonly texts: (string | undefined)[];
  private readonly ask: (id: number) => string | undefined;

  constructor(size: number, ask: (id: number) => string | undefined) {
    this.texts = new Array(size);
    this.ask = ask;
  }

  /** Returns the cached text of an id. */
  known(id: number): string | undefined {
    return this.texts[id];
  }

  /** Looks up and caches the text of an id. Returns undefined if the text depends on the context. */
  find(id: number): string | undefined {
    const text = this.ask(id);
    if (text !== undefined) this.texts[id] = text;
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
      const own = (typeof id === "number" ? this.texts.known(id) : undefined) ?? this.texts.find(id);
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
