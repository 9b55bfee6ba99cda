import { Pacer } from "./pacer.ts";

/** What a corpus needs of a tokenizer: `Tokenizer` has it. Of several tokens that end a text the corpus sets the first. */
export interface CorpusTokenizer {
  /** Token ids of a text. The corpus asks for no special tokens and sets those between documents itself. */
  encode(text: string, options?: { addSpecialTokens?: boolean | undefined }): Uint32Array | readonly number[];
  /** Of many texts, on threads of its own. Where it is there, token shards are written with it. */
  encodeBatch?:
    | ((
        texts: readonly string[],
        options?: { addSpecialTokens?: boolean | undefined; signal?: AbortSignal | undefined },
      ) => Promise<Uint32Array[]>)
    | undefined;
  readonly bosTokenId?: number | null | undefined;
  readonly eosTokenId?: number | null | undefined;
  readonly eosTokenIds?: readonly number[] | undefined;
  /** Ids are below it. Of token files: what they are checked against. */
  readonly vocabSize?: number | undefined;
  /** A token by its id, undefined where there is none. Of token files: what tells one tokenizer's from another's. */
  idToToken?: ((id: number) => string | undefined) | undefined;
}

/** Characters that are encoded in one call: at 4 MB/s, the slowest tokenizer seen, 8 ms. */
const SLICE_CHARACTERS = 2 ** 15;

/**
 * Encodes a document of any length without blocking the event loop: in slices that end after a line break, else before a space,
 * so that the ids of ordinary text are those of one call.
 *
 * @returns its ids, with BOS in front and EOS behind where asked for and where the tokenizer has them. Where both are
 *   the same token, as in GPT-2, it stands in front only.
 */
export async function encodeDocument(
  text: string,
  tokenizer: CorpusTokenizer,
  { opens, closes }: { opens: boolean; closes: boolean },
  pacer: Pacer = new Pacer(),
): Promise<Uint32Array> {
  const parts: (Uint32Array | readonly number[])[] = [];
  const { bosTokenId, eosTokenId = tokenizer.eosTokenIds?.[0] } = tokenizer;
  if (opens && bosTokenId != null) parts.push([bosTokenId]);
  for (let from = 0; from < text.length; ) {
    const to = sliceEnd(text, from);
    parts.push(
      tokenizer.encode(from === 0 && to === text.length ? text : text.slice(from, to), { addSpecialTokens: false }),
    );
    from = to;
    if (pacer.isDue()) await pacer.rest();
  }
  if (closes && eosTokenId != null && eosTokenId !== bosTokenId) parts.push([eosTokenId]);
  const ids = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let filled = 0;
  for (const part of parts) {
    ids.set(part, filled);
    filled += part.length;
  }
  return ids;
}

/**
 * The one token that begins documents and ends them, where a tokenizer has one for both. An encoded document does not end with it then: the
 * next one, set behind it, begins with it. Where documents do not see each other it has to be the last one's target.
 */
export function sharedEnd(tokenizer: CorpusTokenizer): number | undefined {
  const { bosTokenId, eosTokenId = tokenizer.eosTokenIds?.[0] } = tokenizer;
  return eosTokenId != null && eosTokenId === bosTokenId ? eosTokenId : undefined;
}

/** Where the slice that begins at `from` ends. */
export function sliceEnd(text: string, from: number): number {
  const limit = from + SLICE_CHARACTERS;
  if (limit >= text.length) return text.length;
  const line = text.lastIndexOf("\n", limit - 1) + 1;
  // Not between two line breaks, nor between a line break and the spaces that tokenizers join to it.
  if (line > from + SLICE_CHARACTERS / 2 && /\S/.test(text[line]!)) return line;
  for (let at = limit; at > from + SLICE_CHARACTERS / 2; at--) {
    if (text[at] === " " && /\S/.test(text[at - 1]!) && /\S/.test(text[at + 1] ?? " ")) return at;
  }
  const unit = text.charCodeAt(limit);
  return unit >= 0xdc00 && unit <= 0xdfff ? limit - 1 : limit; // not inside a surrogate pair
}
