import { type CorpusTokenizer, encodeDocument, sliceEnd } from "./encode.ts";

/** Characters that go to native code at once: enough for all its threads. */
const BATCH_CHARACTERS = 2 ** 21;
/** Characters that may wait or be under way: then no more documents are read. */
const MOST_CHARACTERS = 2 ** 23;

interface Waiting {
  slice: string;
  resolve: (ids: Uint32Array) => void;
  reject: (error: unknown) => void;
}

/**
 * Encodes documents that are asked for at about the same time together, on several threads away from the event loop, where the
 * tokenizer can (`encodeBatch`). Each is cut into the slices of encodeDocument, so that its ids are the same.
 */
export class ParallelEncoder {
  readonly #tokenizer: CorpusTokenizer;
  readonly #signal: AbortSignal | undefined;
  #waiting: Waiting[] = [];
  #characters = 0;
  #underWay = 0;
  #timer: NodeJS.Immediate | undefined;

  constructor(tokenizer: CorpusTokenizer, signal?: AbortSignal) {
    this.#tokenizer = tokenizer;
    this.#signal = signal;
  }

  /** Back-pressure: whether more should be asked for now. */
  get hasRoom(): boolean {
    return this.#characters + this.#underWay < MOST_CHARACTERS;
  }

  /** As encodeDocument. Rejects with ABORTED. */
  async encode(text: string, ends: { opens: boolean; closes: boolean }): Promise<Uint32Array> {
    if (!this.#tokenizer.encodeBatch) return await encodeDocument(text, this.#tokenizer, ends);
    const slices: Promise<Uint32Array>[] = [];
    for (let from = 0; from < text.length; ) {
      const to = sliceEnd(text, from);
      slices.push(this.#ask(text.slice(from, to)));
      from = to;
    }
    const encoded = await Promise.all(slices);
    let next = 0;
    // The same slices again, whose ids are there now: encodeDocument puts BOS and EOS around them.
    return await encodeDocument(text, { ...rolesOf(this.#tokenizer), encode: () => encoded[next++]! }, ends);
  }

  #ask(slice: string): Promise<Uint32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ slice, resolve, reject });
      this.#characters += slice.length;
      if (this.#characters >= BATCH_CHARACTERS) this.#send();
      else this.#timer ??= setImmediate(() => this.#send());
    });
  }

  #send(): void {
    if (this.#timer) clearImmediate(this.#timer);
    this.#timer = undefined;
    const [batch, characters] = [this.#waiting, this.#characters];
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#characters = 0;
    this.#underWay += characters;
    const options = { addSpecialTokens: false, ...(this.#signal && { signal: this.#signal }) };
    this.#tokenizer.encodeBatch!(
      batch.map(({ slice }) => slice),
      options,
    )
      .then(
        (all) => {
          for (const [i, { resolve }] of batch.entries()) resolve(all[i]!);
        },
        (error: unknown) => {
          for (const { reject } of batch) reject(error);
        },
      )
      .finally(() => {
        this.#underWay -= characters;
      });
  }
}

/** A tokenizer's ids of its roles; some have them as accessors, which a copy of the object would lose. */
function rolesOf(tokenizer: CorpusTokenizer): Pick<CorpusTokenizer, "bosTokenId" | "eosTokenId" | "eosTokenIds"> {
  const { bosTokenId, eosTokenId, eosTokenIds } = tokenizer;
  return {
    ...(bosTokenId !== undefined && { bosTokenId }),
    ...(eosTokenId !== undefined && { eosTokenId }),
    ...(eosTokenIds !== undefined && { eosTokenIds }),
  };
}
