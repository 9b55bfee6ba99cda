// Maps the components of tokenizer.json to their implementation. Native code has fast paths for common forms, and general steps for the
// rest.
import { binding } from "../../binding/index.ts";
import type { NativeStringList, NativeTokenizerSpec } from "../../binding/tokenizer.ts";
import { isObject } from "../../core/is-object.ts";
import type { JsonObject } from "../../io/json.ts";
import {
  type AddedToken,
  flatten,
  invalidFile,
  limits,
  type TokenizerFile,
  type TokenizerModel,
} from "../files/tokenizer-file.ts";
import { readDecoders } from "./decoders.ts";
import { readNormalizers } from "./normalizers.ts";
import { recognizeSplit, SplitKind, type SplitStage } from "./patterns.ts";
import { readPostProcessor } from "./post-processors.ts";
import { readPreTokenizers } from "./pre-tokenizers.ts";

/** How native code implements a tokenizer. */
export interface Plan {
  spec: NativeTokenizerSpec;
  /** Whether decoding runs steps over all ids together. Streaming then has to decode a window of ids. */
  decodesInSteps: boolean;
}

const spaceMark = "▁";
// The values of the enums in native/tokenizer/models/model.h.
const PrefixRule = { never: 0, always: 1, unlessThere: 2, firstUnlessThere: 3 } as const;
const DecodeKind = { bytes: 0, byteFallback: 1, steps: 2 } as const;
const ModelKind = { BPE: 0, WordPiece: 1, Unigram: 2, WordLevel: 3 } as const;

/** Returns the fast native form of the normalizer, or undefined if it has none. */
function nativeNormalizer(parts: JsonObject[]): Partial<NativeTokenizerSpec> | undefined {
  if (parts.length === 0) return {};
  const [first, second] = parts;
  const marks = (part: JsonObject | undefined) =>
    part?.type === "Replace" && isObject(part.pattern) && part.pattern.String === " " && part.content === spaceMark;
  if (parts.length === 1 && first!.type === "NFC") return { needsNfc: true };
  if (parts.length === 1 && marks(first)) return { spacesToMarks: true };
  if (parts.length === 2 && first!.type === "Prepend" && first!.prepend === spaceMark && marks(second)) {
    return { spacesToMarks: true, prefix: spaceMark, prefixRule: PrefixRule.always };
  }
  return undefined;
}

interface NativePreTokenizer {
  stages: SplitStage[];
  spec: Partial<NativeTokenizerSpec>;
}

/** Returns the fast native form of the pre-tokenizer, or undefined if it has none. */
function nativePreTokenizer(parts: JsonObject[], marked: boolean): NativePreTokenizer | undefined {
  const stages: SplitStage[] = [];
  const spec: Partial<NativeTokenizerSpec> = {};
  for (const [index, part] of parts.entries()) {
    if (part.type === "ByteLevel") {
      if (part.add_prefix_space !== false) {
        // Only the whole text may get a space in front, not each piece.
        if (index > 0) return undefined;
        Object.assign(spec, { prefix: " ", prefixRule: PrefixRule.unlessThere });
      }
      if (part.use_regex !== false) stages.push({ kind: SplitKind.gpt2, maxDigits: 0, contractions: true });
    } else if (part.type === "Split") {
      const pattern = isObject(part.pattern) ? part.pattern : {};
      // Gemma splits at spaces, but its normalizer has replaced them all.
      if (marked && pattern.String === " " && part.behavior === "MergedWithPrevious") continue;
      const { Regex: regex } = pattern;
      const stage = typeof regex === "string" ? recognizeSplit(regex, part.behavior, part.invert === true) : undefined;
      if (!stage) return undefined;
      stages.push(stage);
    } else if (part.type === "Digits") {
      stages.push({ kind: SplitKind.digits, maxDigits: part.individual_digits === true ? 1 : 0, contractions: true });
    } else if (part.type === "Metaspace") {
      if (parts.length > 1 || (part.replacement ?? spaceMark) !== spaceMark) return undefined;
      spec.spacesToMarks = true;
      const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
      if (scheme !== "never") {
        spec.prefix = spaceMark;
        spec.prefixRule = scheme === "first" ? PrefixRule.firstUnlessThere : PrefixRule.unlessThere;
      }
      if (part.split !== false) stages.push({ kind: SplitKind.eachSpace, maxDigits: 0, contractions: true });
    } else {
      return undefined;
    }
  }
  if (stages.length > 8) return undefined; // the limit of native/tokenizer/split/splitter.cc
  spec.wholeTextIsWord = stages.length === 0;
  return { stages, spec };
}

/** Returns the fast native form of the decoder, or undefined if it has none. */
function nativeDecoder(parts: JsonObject[]): Partial<NativeTokenizerSpec> | undefined {
  if (parts.length === 1 && parts[0]!.type === "ByteLevel") return { decodeKind: DecodeKind.bytes };
  const [replace, bytes, fuse, strip] = parts;
  const pattern = isObject(replace?.pattern) ? replace.pattern : {};
  const replaces = replace?.type === "Replace" && pattern.String === spaceMark && replace.content === " ";
  if (!replaces || bytes?.type !== "ByteFallback" || fuse?.type !== "Fuse" || parts.length > 4) return undefined;
  if (parts.length === 3) return { decodeKind: DecodeKind.byteFallback };
  const stripsOne = strip!.type === "Strip" && strip!.content === " " && strip!.start === 1 && strip!.stop === 0;
  return stripsOne ? { decodeKind: DecodeKind.byteFallback, stripFirstSpace: true } : undefined;
}

function vocabularyOf(model: TokenizerModel): Partial<NativeTokenizerSpec> {
  if (model.native) return { vocabulary: model.native };
  const vocab = joinTexts(model.tokens);
  const merges = joinTexts(model.merges);
  return {
    tokens: vocab.text,
    tokenLengths: vocab.lengths,
    tokenIds: model.ids,
    merges: merges.text,
    mergeLengths: merges.lengths,
    mergeRanks: model.mergeRanks,
  };
}

/** Joins texts into one, because one string crosses to native code faster than many. */
function joinTexts(texts: string[]): { text: string; lengths: Uint32Array } {
  const lengths = new Uint32Array(texts.length);
  for (let i = 0; i < texts.length; i++) lengths[i] = texts[i]!.length;
  return { text: texts.join(""), lengths };
}

/** Copies texts to native memory. Lone surrogates become U+FFFD. */
export function stringList(texts: string[]): NativeStringList {
  const list = new binding.NativeStringList();
  const { text, lengths } = joinTexts(texts);
  list.add(text, lengths);
  return list;
}

/** Joins lists of ids into one array, with the length of each list. */
export function joinIds(lists: readonly Uint32Array[]): { ids: Uint32Array; counts: Uint32Array } {
  const counts = Uint32Array.from(lists, (list) => list.length);
  const ids = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    ids.set(list, at);
    at += list.length;
  }
  return { ids, counts };
}

/** Matches added tokens that look like markup, such as `<tool_call>`. Text of chat messages is not encoded as such a token, even if it is not special. */
const markup = /^[<[|{].*[>\]|}]$/su;

/**
 * Matches HTML tags that are tokens of Gemma. They are not guarded: they are ordinary text, and the model was trained on their tokens.
 */
const html =
  /^<\/?(?:a|b|bbox|blockquote|body|caption|code|div|em|footer|h[1-6]|html|i|iframe|img|li|ol|p|pre|s|span|strong|su[bp]|t[dhr]|table|tbody|tfoot|thead|u|ul)>$/u;

function guardedToken(token: AddedToken) {
  const { special, content } = token;
  return { ...token, guarded: special || (markup.test(content) && !html.test(content)) };
}

/** Maps the components of a tokenizer to native code. @throws HeddleError INVALID_FILE */
export function makePlan(file: TokenizerFile): Plan {
  const { model } = file;
  const normalizers = flatten(file.normalizer, "normalizers", "normalizer");
  const preTokenizers = flatten(file.preTokenizer, "pretokenizers", "pre_tokenizer");
  const decoders = flatten(file.decoder, "decoders", "decoder");
  const added = file.added.map(guardedToken);
  // Without a normalizer, searches for added tokens before and after normalization see the same text. Make it one search.
  if (normalizers.length === 0 && added.every((token) => token.normalized)) {
    for (const token of added) token.normalized = false;
  }
  const twoSearches = added.some((token) => token.normalized);

  const normalizer = nativeNormalizer(normalizers);
  const preTokenizer = nativePreTokenizer(preTokenizers, normalizer?.spacesToMarks === true);
  // A normalizer's prefix is added before the second search for added tokens, and a pre-tokenizer's after it. The fast
  // path adds every prefix before the second search.
  const prefixConflict = preTokenizer?.spec.prefix !== undefined && (twoSearches || normalizer?.prefix !== undefined);
  const marksConflict = preTokenizer?.spec.spacesToMarks === true && twoSearches;
  // If ByteLevel comes last, the vocabulary is read as bytes. In any other place, ByteLevel is a step that maps bytes to characters.
  const byteLevels = preTokenizers.filter((part) => part.type === "ByteLevel").length;
  const bpeOfBytes = model.type === "BPE" && !model.subwordPrefix && !model.wordSuffix && !model.byteFallback;
  const byteLevel = bpeOfBytes && byteLevels === 1 && preTokenizers.at(-1)!.type === "ByteLevel";
  const knownBytes = byteLevel || byteLevels === 0;
  // The fast pre-tokenizer works after any normalizer, unless the pre-tokenizer changes the text too.
  const changesText = preTokenizer?.spec.prefix !== undefined || preTokenizer?.spec.spacesToMarks === true;
  const fits = normalizer !== undefined || !changesText;
  const native = knownBytes && preTokenizer && fits && !prefixConflict && !marksConflict;

  const decoder = nativeDecoder(decoders);
  const steps = native ? [] : readPreTokenizers(preTokenizers, !byteLevel);
  const { beginIds, endIds } = readPostProcessor(file);
  let unknown: number | undefined;
  if (model.unknownId !== undefined) {
    unknown = model.unknownId;
  } else if (model.unknownToken !== undefined) {
    if (model.native) unknown = model.native.find(model.unknownToken);
    else unknown = model.ids[model.tokens.indexOf(model.unknownToken)];
    if (unknown === undefined && model.type === "BPE")
      throw invalidFile("model.unk_token", "a token of the vocabulary", model.unknownToken);
  }
  const total = added.reduce((sum, token) => sum + token.content.length, 0);
  // Tokens may have 32 characters on average.
  if (total > limits.addedTokens * 32) throw invalidFile("added_tokens", "at most 2 MB of text", total);

  const spec: NativeTokenizerSpec = {
    ...vocabularyOf(model),
    added,
    stages: Uint32Array.from(
      (native ? preTokenizer.stages : []).flatMap((s) => [s.kind, s.maxDigits, +s.contractions]),
    ),
    normalizer: readNormalizers(normalizers),
    usesNormalizer: !native || normalizer === undefined,
    wholeTextIsWord: preTokenizers.length === 0,
    preTokenizer: steps,
    decoder: decoder ? [] : readDecoders(decoders),
    kind: ModelKind[model.type],
    subwordPrefix: model.subwordPrefix,
    wordSuffix: model.wordSuffix,
    maxWordCharacters: model.maxWordCharacters,
    scores: model.native ? undefined : model.scores,
    singlePrecision: model.singlePrecision,
    // Hide the ids of special tokens from the model. Otherwise Unigram would produce special tokens from ordinary text.
    hidden: Uint32Array.from([...(model.hidden ?? []), ...added.filter((token) => token.special).map(({ id }) => id)]),
    beginIds,
    endIds,
    byteLevel,
    ignoreMerges: model.ignoreMerges,
    byteFallback: model.byteFallback,
    fuseUnknown: model.fuseUnknown,
    unknown,
    ...(native ? { ...normalizer, ...preTokenizer.spec } : {}),
    ...(decoder ?? { decodeKind: DecodeKind.steps }),
  };
  return { spec, decodesInSteps: decoder === undefined };
}
