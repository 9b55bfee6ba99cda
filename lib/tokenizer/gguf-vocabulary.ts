// What readers of all kinds of vocabularies in GGUF files share: keys, checked, special tokens, what goes around a text.
import { TokenType } from "./merges.ts";
import { type AddedToken, invalidFile, type JsonObject, limits } from "./tokenizer-file.ts";

/** GGUF metadata by key: strings, numbers, booleans, and arrays or typed arrays of them. */
export type GgufRecord = Readonly<Record<string, unknown>>;

export const prefix = "tokenizer.ggml.";

/** Keys of the tokenizer, without what they all begin with. */
export class VocabularyKeys {
  private readonly record: GgufRecord;
  constructor(record: GgufRecord) {
    this.record = record;
  }

  value(name: string): unknown {
    return Object.hasOwn(this.record, prefix + name) ? this.record[prefix + name] : undefined;
  }

  string(name: string): string | undefined {
    const value = this.value(name);
    if (value !== undefined && typeof value !== "string") throw invalidFile(prefix + name, "a string", value);
    return value;
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value !== undefined && typeof value !== "boolean") throw invalidFile(prefix + name, "true or false", value);
    return value;
  }

  strings(name: string): string[] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw invalidFile(prefix + name, "strings", value);
    const other = value.find((item) => typeof item !== "string");
    if (other !== undefined) throw invalidFile(prefix + name, "strings", other);
    return value as string[];
  }

  /** Numbers of any array, `count` of them: the array itself where it holds nothing else. */
  numbers(name: string, count: number): Numbers | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const isArray = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
    if (!isArray) throw invalidFile(prefix + name, "numbers", value);
    const itself = ArrayBuffer.isView(value) && !(value instanceof BigInt64Array || value instanceof BigUint64Array);
    const numbers = itself ? (value as Float32Array) : Array.from(value as ArrayLike<unknown>, Number);
    if (numbers.length !== count) throw invalidFile(prefix + name, `${count} numbers`, numbers.length);
    return numbers;
  }

  /** A token's id, checked against the vocabulary. */
  id(name: string, count: number): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const id = Number(value);
    if (!Number.isInteger(id) || id < 0) throw invalidFile(prefix + name, `an id below ${count}`, value);
    // Converters write 2^32 - 1 and the like for "none".
    return id < count ? id : undefined;
  }
}

/** An array, typed or not. */
export type Numbers = readonly number[] | Float32Array | Uint8Array;

export interface Vocabulary {
  tokens: string[];
  types: Numbers;
  bos: number | undefined;
  eos: number | undefined;
  addBos: boolean;
  addEos: boolean;
}

export function addedTokens({ tokens, types }: Vocabulary): AddedToken[] {
  const added: AddedToken[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const special = types[id] === TokenType.control || types[id] === TokenType.unknown;
    const content = tokens[id]!;
    if ((!special && types[id] !== TokenType.userDefined) || content === "") continue;
    if (content.length > limits.addedTokenLength) {
      throw invalidFile(`${prefix}tokens[${id}]`, `at most ${limits.addedTokenLength} characters`, content.length);
    }
    if (!content.isWellFormed()) throw invalidFile(`${prefix}tokens[${id}]`, "well-formed Unicode", content);
    added.push({ id, content, singleWord: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  if (added.length > limits.addedTokens) {
    throw invalidFile(`${prefix}token_type`, `at most ${limits.addedTokens} special tokens`, added.length);
  }
  return added;
}

/** Adds the BOS and EOS that the file asks for. */
export function template({ tokens, bos, eos, addBos, addEos }: Vocabulary): JsonObject | null {
  const before = addBos ? bos : undefined;
  const after = addEos ? eos : undefined;
  if (before === undefined && after === undefined) return null;
  const part = (id: number | undefined, type: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id]!, type_id: type } }];
  const specials: JsonObject = Object.fromEntries(
    [before, after]
      .filter((id) => id !== undefined)
      .map((id) => [tokens[id]!, { id: tokens[id]!, ids: [id], tokens: [tokens[id]!] }]),
  );
  const single = [...part(before, 0), { Sequence: { id: "A", type_id: 0 } }, ...part(after, 0)];
  const pair = [...single, ...part(before, 1), { Sequence: { id: "B", type_id: 1 } }, ...part(after, 1)];
  return { type: "TemplateProcessing", single, pair, special_tokens: specials };
}

export function scoresOf(reader: VocabularyKeys, count: number): Numbers {
  const scores = reader.numbers("scores", count);
  if (!scores) throw invalidFile(`${prefix}scores`, `${count} numbers`, undefined);
  if (scores.some(Number.isNaN)) throw invalidFile(`${prefix}scores`, "numbers", Number.NaN);
  return scores;
}
