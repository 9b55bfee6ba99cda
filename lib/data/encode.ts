import { pause } from "../core/slices.ts";

/** The options that a corpus gives its tokenizer. */
export interface CorpusEncodeOptions {
  /** Whether to add special tokens such as BOS. */
  addSpecialTokens?: boolean | undefined;
  /** Whether the tokenizer may add its prefix space. False for a text that continues another text. */
  addPrefixSpace?: boolean | undefined;
}

/**
 * The tokenizer methods that a corpus needs. `Tokenizer` has them. If there are several end-of-sequence tokens, the corpus uses the
 * first.
 */
export interface CorpusTokenizer {
  /** Returns the token ids of a text. The corpus adds special tokens between documents itself. */
  encode(text: string, options?: CorpusEncodeOptions): Uint32Array | readonly number[];
  /** Encodes many texts off the JavaScript thread. If present, it is used for long documents and for token shards. */
  encodeBatch?:
    | ((
        texts: readonly string[],
        options?: CorpusEncodeOptions & { signal?: AbortSignal | undefined },
      ) => Promise<Uint32Array[]>)
    | undefined;
  /** Id of the token that begins a text, if there is one. */
  readonly bosTokenId?: number | null | undefined;
  /** Id of the token that ends a text, if there is one. */
  readonly eosTokenId?: number | null | undefined;
  /** Ids that end a text. The first one separates documents. */
  readonly eosTokenIds?: readonly number[] | undefined;
  /** Exclusive upper bound of the ids. Token files store it, and their tokens are checked against it. */
  readonly vocabSize?: number | undefined;
  /** Returns the text of a token id, or undefined. Token files use it to identify the tokenizer. */
  idToToken?: ((id: number) => string | undefined) | undefined;
}

/** Whether a text contains the beginning (`opens`) and the end (`closes`) of its document. */
export interface DocumentEnds {
  opens: boolean;
  closes: boolean;
}

/** Maximum number of characters per encode call on the JavaScript thread: 8 ms at 4 MB/s, a slow tokenizer. */
const SLICE_CHARACTERS = 2 ** 15;
/**
 * Maximum number of characters per encode call off the JavaScript thread. It bounds the memory of a call, about 8 bytes per character.
 */
const WHOLE_CHARACTERS = 2 ** 24;

/** A part of a document that is encoded in one call. */
export interface DocumentSlice {
  text: string;
  /** Whether other text of the document precedes it. */
  continues: boolean;
}

/**
 * Cuts a document into slices that are encoded in one call each. A tokenizer with threads takes up to 2^24 characters
 * at once, so most documents stay whole. For other tokenizers, slices are short, so that they do not block the event
 * loop. Slices end after a line break, or else before a space. At these places, the ids of ordinary text do not depend
 * on the text that follows. A long text without such a place is cut at the maximum length, and its ids there may differ.
 */
export function documentSlices(
  text: string,
  tokenizer: Pick<CorpusTokenizer, "encodeBatch">,
  { opens }: Pick<DocumentEnds, "opens">,
): DocumentSlice[] {
  const most = tokenizer.encodeBatch ? WHOLE_CHARACTERS : SLICE_CHARACTERS;
  const slices: DocumentSlice[] = [];
  for (let from = 0; from < text.length; ) {
    const to = sliceEnd(text, from, most);
    const isWhole = from === 0 && to === text.length;
    slices.push({ text: isWhole ? text : text.slice(from, to), continues: from > 0 || !opens });
    from = to;
  }
  return slices;
}

/** Returns the options for encoding a slice. */
export function sliceOptions({ continues }: Pick<DocumentSlice, "continues">): CorpusEncodeOptions {
  return { addSpecialTokens: false, ...(continues && { addPrefixSpace: false }) };
}

/**
 * Encodes a document of any length without blocking the event loop.
 *
 * @returns its ids, with BOS at the start (`ends.opens`) and EOS at the end (`ends.closes`), if the tokenizer has them. If both are the same
 * token, as in GPT-2, it is only at the start.
 */
export async function encodeDocument(
  text: string,
  tokenizer: CorpusTokenizer,
  ends: DocumentEnds,
): Promise<Uint32Array> {
  const parts: (Uint32Array | readonly number[])[] = [];
  for (const slice of documentSlices(text, tokenizer, ends)) {
    const options = sliceOptions(slice);
    // For a short text, the transfer to a thread would take longer than encoding.
    if (tokenizer.encodeBatch && slice.text.length > SLICE_CHARACTERS)
      parts.push((await tokenizer.encodeBatch([slice.text], options))[0]!);
    else parts.push(tokenizer.encode(slice.text, options));
    await pause();
  }
  return joinDocument(parts, tokenizer, ends);
}

/** Joins the ids of a document's slices, with BOS before and EOS after them as in encodeDocument. */
export function joinDocument(
  slices: readonly (Uint32Array | readonly number[])[],
  tokenizer: CorpusTokenizer,
  { opens, closes }: DocumentEnds,
): Uint32Array {
  const { bosTokenId, eosTokenId = tokenizer.eosTokenIds?.[0] } = tokenizer;
  const begin = opens && bosTokenId != null ? [bosTokenId] : [];
  const end = closes && eosTokenId != null && eosTokenId !== bosTokenId ? [eosTokenId] : [];
  const parts = [begin, ...slices, end];
  const ids = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let filled = 0;
  for (const part of parts) {
    ids.set(part, filled);
    filled += part.length;
  }
  return ids;
}

/**
 * Returns the token that both begins and ends documents, if BOS and EOS are the same. An encoded document then does not end with it,
 * because the next document begins with it. With best-fit packing it must be the target of a document's last token.
 */
export function sharedEnd(tokenizer: CorpusTokenizer): number | undefined {
  const { bosTokenId, eosTokenId = tokenizer.eosTokenIds?.[0] } = tokenizer;
  return eosTokenId != null && eosTokenId === bosTokenId ? eosTokenId : undefined;
}

/** Returns the end of the slice that begins at `from`. It has at most `most` UTF-16 units. Only the last slice may have fewer than half. */
export function sliceEnd(text: string, from: number, most = SLICE_CHARACTERS): number {
  const limit = from + most;
  if (limit >= text.length) return text.length;
  const line = text.lastIndexOf("\n", limit - 1) + 1;
  // Do not cut between two line breaks, nor between a line break and the spaces that tokenizers join to it.
  if (line > from + most / 2 && /\S/.test(text[line]!)) return line;
  for (let at = limit; at > from + most / 2; at--) {
    if (text[at] === " " && /\S/.test(text[at - 1]!) && /\S/.test(text[at + 1] ?? " ")) return at;
  }
  const unit = text.charCodeAt(limit);
  return unit >= 0xdc00 && unit <= 0xdfff ? limit - 1 : limit; // do not cut a surrogate pair
}
