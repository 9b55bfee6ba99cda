import {
  type CorpusTokenizer,
  type DocumentEnds,
  type DocumentSlice,
  documentSlices,
  encodeDocument,
  joinDocument,
  sliceOptions,
} from "./encode.ts";

/** Number of characters passed to native code at once, enough for all its threads. */
const BATCH_CHARACTERS = 2 ** 21;
/** Maximum number of pending characters. At this limit, no more documents are read. */
const MAX_CHARACTERS = 2 ** 23;

interface Waiting {
  slice: DocumentSlice;
  resolve: (ids: Uint32Array) => void;
  reject: (error: unknown) => void;
}

/**
 * Encodes documents on several threads off the event loop, if the tokenizer has `encodeBatch`. Documents that are requested in the same
 * turn of the event loop form one batch. The ids equal those of encodeDocument.
 */
export class ParallelEncoder {
  readonly #tokenizer: CorpusTokenizer;
  readonly #signal: AbortSignal | undefined;
  #waiting: Waiting[] = [];
  #waitingCharacters = 0;
  #pendingCharacters = 0;
  #timer: NodeJS.Immediate | undefined;

  constructor(tokenizer: CorpusTokenizer, signal?: AbortSignal) {
    this.#tokenizer = tokenizer;
    this.#signal = signal;
  }

  /** Backpressure: whether more documents may be requested now. */
  get hasRoom(): boolean {
    return this.#waitingCharacters + this.#pendingCharacters < MAX_CHARACTERS;
  }

  /** Encodes a document like encodeDocument. Rejects with ABORTED if the signal fires. */
  async encode(text: string, ends: DocumentEnds): Promise<Uint32Array> {
    if (!this.#tokenizer.encodeBatch) return await encodeDocument(text, this.#tokenizer, ends);
    const slices = documentSlices(text, this.#tokenizer, ends);
    return joinDocument(await Promise.all(slices.map((slice) => this.#ask(slice))), this.#tokenizer, ends);
  }

  #ask(slice: DocumentSlice): Promise<Uint32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ slice, resolve, reject });
      this.#waitingCharacters += slice.text.length;
      if (this.#waitingCharacters >= BATCH_CHARACTERS) this.#send();
      else this.#timer ??= setImmediate(() => this.#send());
    });
  }

  #send(): void {
    if (this.#timer) clearImmediate(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingCharacters = 0;
    // All texts of a call share one set of options.
    for (const continues of [false, true]) {
      const batch = waiting.filter(({ slice }) => slice.continues === continues);
      if (batch.length > 0) void this.#encode(batch, continues);
    }
  }

  async #encode(batch: readonly Waiting[], continues: boolean): Promise<void> {
    const texts = batch.map(({ slice }) => slice.text);
    const characters = texts.reduce((sum, { length }) => sum + length, 0);
    this.#pendingCharacters += characters;
    try {
      const signal = this.#signal && { signal: this.#signal };
      const all = await this.#tokenizer.encodeBatch!(texts, { ...sliceOptions({ continues }), ...signal });
      for (const [i, { resolve }] of batch.entries()) resolve(all[i]!);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      this.#pendingCharacters -= characters;
    }
  }
}
