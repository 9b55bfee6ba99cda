// Small tokenizer.json files made by hand.
import { Tokenizer, type TokenizerTexts } from "../../lib/tokenizer/index.ts";

const printable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** GPT-2's name of each byte. */
export const byteNames: readonly string[] = (() => {
  let other = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : other++));
})();

export const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
export const splitBy = (regex: string) => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
    { ...byteLevel, use_regex: false },
  ],
});

type Overrides = Record<string, unknown>;

/** A byte-level tokenizer.json: ids 0 to 255 are the bytes, followed by one id per merge. Each merge lists its two parts. */
export function byteLevelJson(merges: [string, string][], overrides: Overrides = {}, model: Overrides = {}) {
  const vocab: Record<string, number> = {};
  for (const [byte, name] of byteNames.entries()) vocab[name] = byte;
  for (const [left, right] of merges) vocab[left + right] ??= Object.keys(vocab).length;
  return {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges, ...model },
    ...overrides,
  };
}

export const added = (id: number, content: string, overrides: Overrides = {}) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...overrides,
});

export const llamaNormalizer = {
  type: "Sequence",
  normalizers: [
    { type: "Prepend", prepend: "▁" },
    { type: "Replace", pattern: { String: " " }, content: "▁" },
  ],
};
export const llamaDecoder = {
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
};

/** A SentencePiece-style tokenizer.json: <unk>, <s>, </s>, 256 byte tokens from id 3, then `pieces` from 259. */
export function sentencePieceJson(pieces: string[], merges: [string, string][], overrides: Overrides = {}) {
  const vocab: Record<string, number> = { "<unk>": 0, "<s>": 1, "</s>": 2 };
  for (let byte = 0; byte < 256; byte++) vocab[`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`] = 3 + byte;
  for (const piece of pieces) vocab[piece] ??= Object.keys(vocab).length;
  return {
    version: "1.0",
    added_tokens: [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
    normalizer: llamaNormalizer,
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: llamaDecoder,
    model: { type: "BPE", vocab, merges, unk_token: "<unk>", byte_fallback: true, fuse_unk: true },
    ...overrides,
  };
}

export function fromJson(json: unknown, config?: Overrides): Tokenizer {
  const texts: TokenizerTexts = { tokenizer: JSON.stringify(json) };
  if (config) texts.tokenizerConfig = JSON.stringify(config);
  return Tokenizer.fromFiles(texts);
}

/** Returns a text's ids as an array, without BOS and EOS. */
export function plain(tokenizer: Tokenizer, text: string): number[] {
  return [...tokenizer.encode(text, { addSpecialTokens: false, allowSpecial: true })];
}
