// Streaming decode: ids in, text out that never splits a character.
import type { NativeDecoder } from "../binding/tokenizer.ts";

/** Texts of ids that add the same to any text, filled in as they come: most tokens then cost a look into an array. */
export class SettledTexts {
  private readonly texts: (string | undefined)[];
  private readonly ask: (id: number) => string | undefined;

  constructor(size: number, ask: (id: number) => string | undefined) {
    this.texts = new Array(size);
    this.ask = ask;
  }

  known(id: number): string | undefined {
    return this.texts[id];
  }

  find(id: number): string | undefined {
    const text = this.ask(id);
    if (text !== undefined) this.texts[id] = text;
    return text;
  }
}

/** Bytes that make no character for so long are given out as they are. */
const maxPending = 256;

/** See Tokenizer.decoder. */
export class TokenDecoder {
  private readonly pushOne: (id: number) => string;
  private readonly flushAll: () => string;

  private constructor(push: (id: number) => string, flush: () => string) {
    this.pushOne = push;
    this.flushAll = flush;
  }

  /** @internal */
  static native(decoder: NativeDecoder, texts: SettledTexts): TokenDecoder {
    let settled = decoder.settled;
    const pushOther = (id: number) => {
      const own = settled ? texts.find(id) : undefined;
      if (own !== undefined) return own;
      const text = decoder.push(id);
      settled = decoder.settled;
      return text;
    };
    return new TokenDecoder(
      (id) => (settled && typeof id === "number" ? texts.known(id) : undefined) ?? pushOther(id),
      () => {
        const text = decoder.flush();
        settled = decoder.settled;
        return text;
      },
    );
  }

  /**
   * Over any decode function: decodes the ids that are not settled yet together with those before them, and gives out
   * what is new, as long as it does not end inside a character or after an id that is `open`: one whose text may yet
   * change with the ids that follow.
   * @internal
   */
  static overWindow(decode: (ids: number[]) => string, open: (id: number) => boolean): TokenDecoder {
    let context: number[] = []; // its text is out already
    let pending: number[] = [];
    const advance = (final: boolean): string => {
      const last = pending.at(-1);
      if (last === undefined) return "";
      if (!final && open(last)) return "";
      const now = decode([...context, ...pending]);
      if (!final && now.endsWith("\ufffd") && pending.length < maxPending) return "";
      const text = now.slice(decode(context).length);
      context = pending;
      pending = [];
      return text;
    };
    return new TokenDecoder(
      (id) => {
        pending.push(id);
        return advance(false);
      },
      () => advance(true),
    );
  }

  /** The text that has become certain with this id; often empty in the middle of a character. */
  push(id: number): string {
    return this.pushOne(id);
  }

  /** What push held back. A partial character becomes U+FFFD. */
  flush(): string {
    return this.flushAll();
  }
}
