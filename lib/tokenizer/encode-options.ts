// Options of encode, and their conversion to native options.
import type { NativeEncodeExtras } from "../binding/tokenizer.ts";
import { checkSeed, describe, HeddleError, invalidArgument } from "../core/errors.ts";
import { checkFlag } from "../core/option-values.ts";
import { atOnce, type Slices } from "../core/slices.ts";
import { checkNames, type Names } from "../core/unknown-options.ts";

/** Options of `encode` and related methods. */
export interface EncodeOptions {
  /** Whether to add special tokens around the text, such as BOS. Default true. */
  addSpecialTokens?: boolean | undefined;
  /**
   * Whether to add the tokenizer's space before the text: SentencePiece's ▁, or ByteLevel's `add_prefix_space`. Set it to false for a
   * text that continues another one. It has no effect if the tokenizer adds none. Default true.
   */
  addPrefixSpace?: boolean | undefined;
  /**
   * Special tokens that are recognized in the text: all, none, or those named. Default none: text that users write cannot end or forge a
   * turn (like tiktoken's encode_ordinary). `true` behaves like Hugging Face's libraries, and is meant for text that the program itself
   * has assembled. The option also covers other added tokens that look like markup (`<tool_call>`). Added tokens that are plain words are
   * always recognized.
   */
  allowSpecial?: boolean | readonly string[] | undefined;
  /**
   * Special tokens that throw INVALID_ARGUMENT if they occur in the text and are not allowed: all, none, or those named. Default none.
   */
  forbidSpecial?: boolean | readonly string[] | undefined;
  /**
   * BPE dropout for training (Provilkov et al. 2020): the probability of skipping a merge, from 0 to below 1; 0.1 is usual. The same
   * `seed` gives the same ids. Each text of a batch has its own random numbers.
   */
  dropout?: number | undefined;
  /** Seed of the dropout, an integer from 0 to 2^53 - 1. Default 0. */
  seed?: number | undefined;
}

/** Option names of synchronous calls. */
export const ENCODE_NAMES: Names<EncodeOptions> = {
  addSpecialTokens: true,
  addPrefixSpace: true,
  allowSpecial: true,
  forbidSpecial: true,
  dropout: true,
  seed: true,
};
/** Option names of asynchronous calls. */
export const BATCH_NAMES: Names<EncodeOptions & { signal?: AbortSignal }> = { ...ENCODE_NAMES, signal: true };

/** Flags of native encoding: see NativeTokenizer. */
export const Flag = { addSpecial: 1, allowSpecial: 2, offsets: 4, byteOffsets: 8, noPrefix: 16 } as const;

/** The added tokens that the options cover, from text to id. */
type Guarded = ReadonlyMap<string, number>;

/** Options in native form. `extras` has those that flags cannot express, and is undefined if flags express all of them. */
export interface NativeOptions {
  flags: number;
  extras: NativeEncodeExtras | undefined;
  /** Forbidden ids, with their texts. */
  forbidden: ReadonlyMap<number, string> | undefined;
}

/** Returns the flags of options that need no extras, else undefined. @throws HeddleError INVALID_ARGUMENT for an unknown option */
export function plainFlags(options: EncodeOptions | undefined): number | undefined {
  if (options === undefined) return Flag.addSpecial;
  checkNames(options, ENCODE_NAMES);
  return flagsOf(options);
}

function flagsOf(options: EncodeOptions): number | undefined {
  const { addSpecialTokens, addPrefixSpace, allowSpecial, forbidSpecial, dropout } = options;
  checkFlag("addSpecialTokens", addSpecialTokens);
  checkFlag("addPrefixSpace", addPrefixSpace);
  if (forbidSpecial !== undefined || dropout !== undefined) return undefined;
  if (allowSpecial !== undefined && typeof allowSpecial !== "boolean") return undefined;
  return switchesOf(options);
}

/** Returns the flags of the boolean options. */
function switchesOf({ addSpecialTokens, addPrefixSpace, allowSpecial }: EncodeOptions): number {
  return (
    (addSpecialTokens === false ? 0 : Flag.addSpecial) |
    (addPrefixSpace === false ? Flag.noPrefix : 0) |
    (allowSpecial === true ? Flag.allowSpecial : 0)
  );
}

/** Converts options to their native form. @param isBpe whether the model supports dropout */
export function nativeOptions(options: EncodeOptions = {}, guarded: () => Guarded, isBpe: boolean): NativeOptions {
  const flags = flagsOf(options);
  if (flags !== undefined) return { flags, extras: undefined, forbidden: undefined };
  const { allowSpecial = false, forbidSpecial = false, dropout = 0, seed = 0 } = options;
  if (!(typeof dropout === "number" && dropout >= 0 && dropout < 1)) {
    throw invalidArgument("dropout", "a number from 0, below 1", dropout);
  }
  checkSeed(seed);
  if (dropout > 0 && !isBpe)
    throw new HeddleError("UNSUPPORTED", "dropout: expected a tokenizer of byte pair encoding");
  const allowed = named("allowSpecial", allowSpecial, guarded);
  const forbidden = named("forbidSpecial", forbidSpecial, guarded).filter(
    ([, id]) => !allowed.some((a) => a[1] === id),
  );
  // Have native code recognize forbidden tokens too, so that checkForbidden finds their ids. A text without forbidden tokens gets the same ids as
  // without the option.
  const ids = Uint32Array.from([...allowed, ...forbidden], ([, id]) => id);
  return {
    flags: switchesOf(options),
    extras: { allowed: ids, dropout, seed },
    forbidden: forbidden.length > 0 ? new Map(forbidden.map(([text, id]) => [id, text])) : undefined,
  };
}

function named(name: string, value: boolean | readonly string[], guarded: () => Guarded): [string, number][] {
  if (value === false) return [];
  if (value === true) return [...guarded()];
  if (!Array.isArray(value)) throw invalidArgument(name, "true, false or an array of special tokens", value);
  return value.map((text) => {
    const id = guarded().get(text);
    if (id === undefined) throw invalidArgument(name, "texts of special tokens", text);
    return [text, id];
  });
}

/**
 * Checks that a text contains no forbidden token. @param around numbers of special ids before and after the text, which are not checked
 */
export function checkForbidden(...args: Parameters<typeof forbiddenSearch>): void {
  atOnce(forbiddenSearch(...args));
}

/** Number of ids to check between two yields. */
const SLICE_IDS = 1 << 16;

/** Like checkForbidden, in slices for long texts: see `inSlices`. */
export function* forbiddenSearch(
  ids: Uint32Array,
  { forbidden }: NativeOptions,
  around: { before: number; after: number },
  name = "text",
): Slices<void> {
  if (!forbidden) return;
  for (let i = around.before; i < ids.length - around.after; i++) {
    if (i % SLICE_IDS === SLICE_IDS - 1) yield;
    const text = forbidden.get(ids[i]!);
    if (text !== undefined) throw invalidArgument(name, "no forbidden special token", text);
  }
}

/** Requires a string. @throws HeddleError INVALID_ARGUMENT */
export function checkText(text: unknown): asserts text is string {
  if (typeof text !== "string")
    throw new HeddleError("INVALID_ARGUMENT", `text: expected a string, got ${describe(text)}`);
}
