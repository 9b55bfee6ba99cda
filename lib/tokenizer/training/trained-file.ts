// Builds the contents of a trained tokenizer's files.
import type { JsonObject } from "../../io/json.ts";
import { byteTokenNames, characterOfByte } from "../byte-alphabet.ts";
import type { TokenizerConfig } from "../files/config.ts";
import { type AddedToken, placeIds, type TokenizerFile, type TokenizerModel } from "../files/tokenizer-file.ts";
import { namedPatterns } from "../pipeline/patterns.ts";
import { templateAround } from "../pipeline/template-processor.ts";
import type { CheckedOptions, TrainOptions } from "./train-options.ts";

type Form = Pick<TokenizerFile, "normalizer" | "preTokenizer" | "postProcessor" | "decoder">;

/** Returns the normalizer, pre-tokenizer, post-processor and decoder of an algorithm. Training splits texts with the first two. */
export function formOf(checked: CheckedOptions, options: TrainOptions): Form {
  const form = algorithmForm(checked, options);
  const { bosToken } = options;
  // BERT's template begins with [CLS] already. The other post-processors add no tokens.
  if (bosToken === undefined || form.postProcessor?.type === "TemplateProcessing") return form;
  const bos = { name: bosToken, id: checked.specials.indexOf(bosToken) };
  return { ...form, postProcessor: templateAround([bos], []) };
}

function algorithmForm(checked: CheckedOptions, options: TrainOptions): Form {
  if (checked.algorithm === "byteLevelBpe") return byteLevelForm(checked.pattern);
  if (checked.algorithm === "wordPiece") return bertForm(checked.specials, options.lowercase !== false);
  return sentencePieceForm(options.normalization === "nfkc");
}

function byteLevelForm(pattern: string): Form {
  const byteLevel: JsonObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const split: JsonObject = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  return {
    normalizer: null,
    preTokenizer:
      pattern === namedPatterns.gpt2
        ? byteLevel
        : { type: "Sequence", pretokenizers: [split, { ...byteLevel, use_regex: false }] },
    postProcessor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
  };
}

/**
 * Returns SentencePiece's components. Spaces become ▁, and one ▁ is added before the text. Each ▁ begins a word. Without NFKC, decoding
 * restores any text that does not contain ▁.
 */
function sentencePieceForm(usesNfkc: boolean): Form {
  const normalizers: JsonObject[] = [
    { type: "Prepend", prepend: "▁" },
    { type: "Replace", pattern: { String: " " }, content: "▁" },
  ];
  if (usesNfkc) normalizers.unshift({ type: "NFKC" });
  return {
    normalizer: { type: "Sequence", normalizers },
    preTokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: true },
    postProcessor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
  };
}

function bertForm(specials: readonly string[], lowercase: boolean): Form {
  const [cls, sep] = ["[CLS]", "[SEP]"].map((token) => specials.indexOf(token));
  const special = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  return {
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase,
    },
    preTokenizer: { type: "BertPreTokenizer" },
    postProcessor:
      cls! < 0 || sep! < 0
        ? null
        : {
            type: "TemplateProcessing",
            single: [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
            pair: [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
            special_tokens: {
              "[CLS]": { id: "[CLS]", ids: [cls!], tokens: ["[CLS]"] },
              "[SEP]": { id: "[SEP]", ids: [sep!], tokens: ["[SEP]"] },
            },
          },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  };
}

const special = (content: string, id: number): AddedToken => ({
  id,
  content,
  singleWord: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** Assembles a tokenizer file without truncation and padding. */
export function makeFile(form: Form, specials: readonly string[], model: TokenizerModel): TokenizerFile {
  return { ...form, added: specials.map(special), truncation: null, padding: null, model };
}

/**
 * Appends the names of merged tokens to `names`. Returns the left and right parts of the merges alternately.
 * @param names the tokens of the alphabet, indexed by the trainer's token numbers
 * @param merged three numbers per merge: left part, right part, merged token
 * @param prefix prefix of tokens inside a word, which a merged token drops from its right part
 */
function nameMerges(names: string[], merged: Uint32Array, prefix = ""): string[] {
  const merges: string[] = [];
  for (let i = 0; i < merged.length; i += 3) {
    const [left, right] = [names[merged[i]!]!, names[merged[i + 1]!]!];
    merges.push(left, right);
    names[merged[i + 2]!] = left + (prefix !== "" && right.startsWith(prefix) ? right.slice(prefix.length) : right);
  }
  return merges;
}

const model = (type: TokenizerModel["type"], all: string[], more: Partial<TokenizerModel>): TokenizerModel => {
  // Texts are cut at special tokens. A learned token may still have the text of a special token, for example after normalization. Keep only
  // one of the two.
  const tokens = [...new Set(all)];
  return {
    type,
    tokens,
    ids: placeIds(tokens),
    merges: [],
    unknownToken: undefined,
    byteFallback: false,
    fuseUnknown: false,
    ignoreMerges: false,
    ...more,
  };
};

/**
 * Returns the model. Ids are in the order of Hugging Face's trainer: special tokens, bytes by their characters' code points, merged
 * tokens in merge order.
 */
export function byteLevelModel(specials: readonly string[], merged: Uint32Array): TokenizerModel {
  const names = Array.from({ length: 256 }, (_, byte) => characterOfByte(byte));
  const bytes = names.toSorted();
  const merges = nameMerges(names, merged);
  return model("BPE", [...specials, ...bytes, ...names.slice(256)], { merges });
}

/**
 * Returns the model. Ids are in the order of SentencePiece's models: special tokens, bytes, merged tokens in merge order, characters by
 * frequency.
 */
export function sentencePieceModel(
  { specials, byteFallback }: CheckedOptions,
  unknownToken: string | undefined,
  alphabet: string[],
  merged: Uint32Array,
): TokenizerModel {
  const names = [...alphabet];
  const merges = nameMerges(names, merged);
  const tokens = [...specials, ...(byteFallback ? byteTokenNames : []), ...names.slice(alphabet.length), ...alphabet];
  return model("BPE", tokens, { merges, unknownToken, byteFallback, fuseUnknown: true });
}

/**
 * Returns the model. Ids are in this order: special tokens, the alphabet by frequency (which includes characters with "##"), merged
 * tokens.
 */
export function wordPieceModel(
  specials: readonly string[],
  unknownToken: string | undefined,
  alphabet: string[],
  merged: Uint32Array,
): TokenizerModel {
  const names = [...alphabet];
  nameMerges(names, merged, "##");
  return model("WordPiece", [...specials, ...names], { unknownToken, subwordPrefix: "##", maxWordCharacters: 100 });
}

/**
 * Returns the model. Ids are in this order: special tokens, bytes, pieces by score. Tokens that never match text have score 0, as in
 * SentencePiece's models.
 */
export function unigramModel(
  { specials, byteFallback }: CheckedOptions,
  unknownToken: string | undefined,
  pieces: string[],
  scores: Float64Array,
): TokenizerModel {
  const fixed = [...specials, ...(byteFallback ? byteTokenNames : [])];
  const taken = new Set(fixed);
  const kept = [...pieces.keys()].filter((i) => !taken.has(pieces[i]!));
  const made = model("Unigram", [...fixed, ...kept.map((i) => pieces[i]!)], { unknownToken, byteFallback });
  made.scores = Float64Array.from([...fixed.map(() => 0), ...kept.map((i) => scores[i]!)]);
  if (unknownToken !== undefined) made.unknownId = specials.indexOf(unknownToken);
  return made;
}

/**
 * Returns the configuration. If the options name no BOS and EOS, byteLevelBpe uses the first special token for both. sentencePieceBpe and
 * unigram use `<s>`, `</s>`, `<pad>` and `<unk>`, and wordPiece `[PAD]` and `[UNK]`, as far as these are special tokens.
 */
export function trainedConfig({ algorithm, specials }: CheckedOptions, options: TrainOptions): TokenizerConfig {
  const has = (token: string) => (specials.includes(token) ? token : undefined);
  const roles = {
    byteLevelBpe: { bos: specials[0], eos: specials[0], pad: undefined, unk: undefined },
    sentencePieceBpe: { bos: has("<s>"), eos: has("</s>"), pad: has("<pad>"), unk: has("<unk>") },
    unigram: { bos: has("<s>"), eos: has("</s>"), pad: has("<pad>"), unk: has("<unk>") },
    wordPiece: { bos: undefined, eos: undefined, pad: has("[PAD]"), unk: has("[UNK]") },
  }[algorithm];
  return {
    bosToken: options.bosToken ?? roles.bos,
    eosToken: options.eosToken ?? roles.eos,
    padToken: options.padToken ?? roles.pad,
    unkToken: options.unkToken ?? roles.unk,
    eosTokenIds: [],
    chatTemplates: options.chatTemplate === undefined ? {} : { default: options.chatTemplate },
  };
}
