// Maps between ids and tokens as written in the vocabulary. The tables are built on first use.
import type { AddedToken, TokenizerFile } from "./files/tokenizer-file.ts";

/** Looks up tokens by id, and ids by token. */
export class TokenNames {
  readonly #file: TokenizerFile;
  readonly #size: number;
  #byId: (string | undefined)[] | undefined;
  #byName: Map<string, number> | undefined;
  #added: ReadonlyMap<string, number> | undefined;

  constructor(file: TokenizerFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  name(id: number): string | undefined {
    if (!this.#byId) {
      this.#byId = new Array(this.#size);
      const { tokens, ids } = this.#file.model;
      for (let i = 0; i < tokens.length; i++) this.#byId[ids[i]!] = tokens[i];
      for (const token of this.#file.added) this.#byId[token.id] = token.content;
    }
    return this.#byId[id];
  }

  id(name: string): number | undefined {
    this.#added ??= tokenIds(this.#file.added);
    const added = this.#added.get(name) ?? (name.isWellFormed() ? this.#file.model.native?.find(name) : undefined);
    if (added !== undefined || this.#file.model.native) return added;
    if (!this.#byName) {
      this.#byName = new Map();
      const { tokens, ids } = this.#file.model;
      for (let i = 0; i < tokens.length; i++) this.#byName.set(tokens[i]!, ids[i]!);
    }
    return this.#byName.get(name);
  }
}

/** Returns a map from the text of added tokens to their ids. */
export function tokenIds(tokens: readonly AddedToken[]): ReadonlyMap<string, number> {
  return new Map(tokens.map((token) => [token.content, token.id]));
}
