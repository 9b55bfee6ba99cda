import { firstOf } from "../core/amounts.ts";
import { HeddleError } from "../core/errors.ts";
import { pause } from "../core/slices.ts";
import type { EncodedDocument } from "./documents/document-file.ts";
import { type CorpusTokenizer, encodeDocument } from "./encode.ts";
import type { Group, GroupReader } from "./groups.ts";

/** Maximum number of files that a message lists. */
const NAMED = 3;

/** The position of a token in the endless stream of documents. */
export interface StreamPosition {
  epoch: number;
  group: number;
  document: number;
  token: number;
}

/** The position of the first token. */
export const START: StreamPosition = { epoch: 0, group: 0, document: 0, token: 0 };

/** Iterates over the documents of a reader, epoch after epoch, from any position. */
export class DocumentCursor {
  readonly #reader: GroupReader;
  readonly #tokenizer: CorpusTokenizer;
  readonly #check: () => void;
  readonly #epochs: number;
  readonly #least: number;
  readonly #at: StreamPosition;
  /** Whether the current epoch has had no usable document yet. False if the cursor began within the epoch. */
  #wasEmpty: boolean;

  /**
   * @param check throws to stop the work
   * @param options.least minimum number of tokens of a usable document. An epoch without usable documents is an error, unless `epochs` is set
   */
  constructor(
    reader: GroupReader,
    tokenizer: CorpusTokenizer,
    from: StreamPosition,
    check: () => void,
    { epochs = Number.POSITIVE_INFINITY, least = 1 }: { epochs?: number; least?: number } = {},
  ) {
    this.#reader = reader;
    this.#tokenizer = tokenizer;
    const { epoch, group, document, token } = from;
    this.#at = { epoch, group, document, token };
    this.#check = check;
    this.#epochs = epochs;
    this.#least = least;
    this.#wasEmpty = group === 0 && document === 0 && token === 0;
  }

  get position(): StreamPosition {
    return { ...this.#at };
  }

  /**
   * Returns the document at the position; undefined after the last epoch.
   * @throws HeddleError INVALID_FILE if the files have no usable document
   */
  current(): Promise<EncodedDocument | undefined> {
    return this.#find(
      (group, place) => this.#read(group, place),
      ({ tokens }) => tokens.length,
    );
  }

  /**
   * Returns the number of tokens of the document at the position, and reads the document only if its group does not know the number.
   * Undefined after the last epoch.
   * @throws HeddleError INVALID_FILE if the files have no usable document
   */
  async currentLength(): Promise<number | undefined> {
    return await this.#find(
      async (group, place) => group.tokenCount(place) ?? (await this.#read(group, place)).tokens.length,
      (length) => length,
    );
  }

  #read(group: Group, place: number): Promise<EncodedDocument> {
    return group.read(place, (text, ends) => encodeDocument(text, this.#tokenizer, ends));
  }

  /** Moves to the first document at or after the position, and returns what `get` finds there. */
  async #find<T>(
    get: (group: Group, place: number) => Promise<T>,
    lengthOf: (found: T) => number,
  ): Promise<T | undefined> {
    const at = this.#at;
    for (;;) {
      this.#check();
      await pause();
      if (at.epoch >= this.#epochs) return undefined;
      if (at.group >= this.#reader.groupCount) {
        // A whole epoch had no usable document, so all other epochs would be empty too.
        if (this.#wasEmpty && this.#epochs === Number.POSITIVE_INFINITY) throw noDocuments(this.#reader);
        this.#wasEmpty = true;
        Object.assign(at, { ...START, epoch: at.epoch + 1 });
        continue;
      }
      const group = await this.#reader.open(at.epoch, at.group);
      this.#check();
      if (at.document >= group.documentCount) {
        Object.assign(at, { ...START, epoch: at.epoch, group: at.group + 1 });
        continue;
      }
      const found = await get(group, at.document);
      if (lengthOf(found) >= this.#least) this.#wasEmpty = false;
      return found;
    }
  }

  /** Skips `tokens` tokens of the current document. */
  skip(tokens: number): void {
    this.#at.token += tokens;
  }

  /** Moves to the start of the next document. */
  advance(): void {
    Object.assign(this.#at, { document: this.#at.document + 1, token: 0 });
  }
}

function noDocuments({ paths, isSplit }: GroupReader): HeddleError {
  const side = isSplit ? " on this side of the split" : "";
  return new HeddleError(
    "INVALID_FILE",
    `${firstOf(paths, NAMED)}: expected at least one document with text, got none${side}`,
  );
}
