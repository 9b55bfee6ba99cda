// Helpers for vocabularies in GGUF files: checked access to keys, special tokens, and the template around a text.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary, NativeStringList } from "../../binding/tokenizer.ts";
import type { JsonObject } from "../../io/json.ts";
import { stringList } from "../pipeline/pipeline.ts";
import { templateAround } from "../pipeline/template-processor.ts";
import { type AddedToken, invalidFile, isAdded, isSpecial, limits, TokenType } from "./tokenizer-file.ts";

/** GGUF metadata by key: strings, numbers, booleans, and arrays or typed arrays of them. */
export type GgufRecord = Readonly<Record<string, unknown>>;

/** Prefix of the tokenizer's keys. */
export const prefix = "tokenizer.ggml.";

/** Checked access to the tokenizer's keys, by their names without `prefix`. */
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

  /** Returns strings in native memory. The reader of GGUF files has usually stored them there already. */
  strings(name: string): NativeStringList | undefined {
    const value = this.value(name);
    if (value === undefined || value instanceof binding.NativeStringList) return value;
    if (!Array.isArray(value)) throw invalidFile(prefix + name, "strings", value);
    const other = value.find((item) => typeof item !== "string");
    if (other !== undefined) throw invalidFile(prefix + name, "strings", other);
    return stringList(value as string[]);
  }

  /** Returns an array of `count` numbers. A typed array is not copied, unless its elements are bigints. */
  numbers(name: string, count: number): Numbers | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const isArray = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
    if (!isArray) throw invalidFile(prefix + name, "numbers", value);
    const isTyped = ArrayBuffer.isView(value) && !(value instanceof BigInt64Array || value instanceof BigUint64Array);
    const numbers = isTyped ? (value as Float32Array) : Array.from(value as ArrayLike<unknown>, Number);
    if (numbers.length !== count) throw invalidFile(prefix + name, `${count} numbers`, numbers.length);
    return numbers;
  }

  /** Returns a token id; undefined if it is missing or outside the vocabulary. */
  id(name: string, count: number): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const id = Number(value);
    if (!Number.isInteger(id) || id < 0) throw invalidFile(prefix + name, `an id below ${count}`, value);
    // Converters write 2^32 - 1 or similar numbers for "none".
    return id < count ? id : undefined;
  }
}

/** An array of numbers, typed or not. */
type Numbers = readonly number[] | Float32Array | Uint8Array;

/** Converts token types to bytes. Unknown types become 0. */
export function tokenTypes(numbers: Numbers): Uint8Array {
  const types = new Uint8Array(numbers.length);
  const { byte } = TokenType;
  for (let i = 0; i < types.length; i++) {
    const type = numbers[i]!;
    if (type >= 0 && type <= byte) types[i] = type;
  }
  return types;
}

/** A vocabulary of a GGUF file, with its BOS and EOS. */
export interface Vocabulary {
  native: NativeJsonVocabulary;
  types: Uint8Array;
  bos: number | undefined;
  eos: number | undefined;
  addBos: boolean;
  addEos: boolean;
}

/**
 * Checks that special tokens are well-formed. Native memory holds UTF-8, in which every lone surrogate becomes U+FFFD, so two special
 * tokens could become equal.
 * @throws HeddleError INVALID_FILE
 */
export function checkSpecialNames(reader: VocabularyKeys, types: Uint8Array): void {
  const names = reader.value("tokens");
  if (!Array.isArray(names)) return;
  for (const [id, name] of (names as string[]).entries())
    if (isAdded(types[id]) && !name.isWellFormed())
      throw invalidFile(`${prefix}tokens[${id}]`, "well-formed Unicode", name);
}

/** Yields the ids of the tokens of a type. `indexOf` is faster than a loop. */
function* idsOf(type: number, types: Uint8Array): Generator<number, void, undefined> {
  for (let id = types.indexOf(type); id >= 0; id = types.indexOf(type, id + 1)) yield id;
}

/** Returns the control, unknown and user-defined tokens with text. @throws HeddleError INVALID_FILE beyond the limits */
export function addedTokens({ native, types }: Vocabulary): AddedToken[] {
  const added: AddedToken[] = [];
  for (const type of [TokenType.control, TokenType.unknown, TokenType.userDefined])
    for (const id of idsOf(type, types)) {
      const content = native.token(id)!;
      if (content === "") continue;
      if (added.length === limits.addedTokens)
        throw invalidFile(`${prefix}token_type`, `at most ${limits.addedTokens} special tokens`, added.length + 1);
      if (content.length > limits.addedTokenLength) {
        throw invalidFile(`${prefix}tokens[${id}]`, `at most ${limits.addedTokenLength} characters`, content.length);
      }
      const special = isSpecial(type);
      added.push({ id, content, singleWord: false, lstrip: false, rstrip: false, normalized: false, special });
    }
  return added.sort((a, b) => a.id - b.id);
}

/** Returns the template that adds the BOS and EOS that the file asks for; null without any. */
export function template({ native, bos, eos, addBos, addEos }: Vocabulary): JsonObject | null {
  const special = (id: number | undefined) => (id === undefined ? [] : [{ name: native.token(id)!, id }]);
  const before = special(addBos ? bos : undefined);
  const after = special(addEos ? eos : undefined);
  return before.length + after.length > 0 ? templateAround(before, after) : null;
}

/** Returns the score of each of `count` tokens. @throws HeddleError INVALID_FILE if scores are missing or NaN */
export function scoresOf(reader: VocabularyKeys, count: number): Float32Array | Float64Array {
  const numbers = reader.numbers("scores", count);
  if (!numbers) throw invalidFile(`${prefix}scores`, `${count} numbers`, undefined);
  const scores = numbers instanceof Float32Array ? numbers : new Float64Array(numbers);
  if (scores.includes(Number.NaN)) throw invalidFile(`${prefix}scores`, "numbers", Number.NaN);
  return scores;
}
