// Small tokenizers that cover every component of tokenizer.json.
import { generator, randomText, words } from "./generated-text.ts";

export { generator, randomText };

type Json = Record<string, unknown>;

const added = (id: number, content: string, flags: Json = {}): Json => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...flags,
});

const sequence = (list: string, parts: Json[]): Json => ({ type: "Sequence", [list]: parts });
const split = (pattern: Json, behavior: string, invert = false): Json => ({ type: "Split", pattern, behavior, invert });

function table(tokens: Iterable<string>): Record<string, number> {
  return Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
}

/** Returns all single characters of the words, then random parts of words, up to about `count` pieces. */
function pieces(random: () => number, count: number): string[] {
  const all = new Set(words.join("").toLowerCase().toWellFormed());
  const list = [...all];
  while (list.length < count) {
    const word = [...words[Math.floor(random() * words.length)]!.toLowerCase().toWellFormed()];
    const begin = Math.floor(random() * word.length);
    const piece = word.slice(begin, begin + 1 + Math.floor(random() * 5)).join("");
    if (piece !== "") list.push(piece);
  }
  return list.filter((piece) => piece !== "\u0000");
}

function wordPiece(random: () => number): Json {
  const parts = pieces(random, 600);
  const vocab = table(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ...parts, ...parts.map((part) => `##${part}`)]);
  return {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 12,
    vocab,
  };
}

function unigram(random: () => number, byteFallback: boolean): Json {
  const parts = pieces(random, 700).filter(() => random() < 0.8);
  const bytes = byteFallback
    ? Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)
    : [];
  const tokens = [...new Set(["<unk>", "<s>", "</s>", ...bytes, "▁", ...parts, ...parts.map((part) => `▁${part}`)])];
  const vocab = tokens.map((token) => [token, -Math.round(random() * 64) / 4 - [...token].length]);
  return { type: "Unigram", unk_id: 0, vocab, byte_fallback: byteFallback };
}

/** Every character is a token; merges join random neighbors. */
function bpe(random: () => number, options: Json = {}, suffix = "", prefix = ""): Json {
  const single = pieces(random, 0);
  const tokens = new Set(["<unk>", ...single, ...single.map((s) => s + suffix), ...single.map((s) => prefix + s)]);
  if (prefix && suffix) for (const s of single) tokens.add(prefix + s + suffix);
  const merges: [string, string][] = [];
  const seen = new Set<string>();
  for (let i = 0; i < 900; i++) {
    const word = [...words[Math.floor(random() * words.length)]!.toLowerCase().toWellFormed()];
    const at = Math.floor(random() * (word.length - 1));
    let left = (at > 0 ? prefix : "") + word[at]!;
    if (random() < 0.4 && merges.length > 20 && !prefix) left = merges[Math.floor(random() * merges.length)]!.join("");
    const right = word[at + 1];
    if (right === undefined || left.endsWith(suffix || "\u0001")) continue;
    const end = prefix + right + (at + 2 === word.length ? suffix : "");
    if (!tokens.has(end) || !tokens.has(left) || seen.has(`${left}\u0001${end}`)) continue;
    seen.add(`${left}\u0001${end}`);
    merges.push([left, end]);
    tokens.add(left + end.slice(prefix.length));
  }
  return {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    continuing_subword_prefix: prefix || null,
    end_of_word_suffix: suffix || null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: table(tokens),
    merges,
    ...options,
  };
}

const bertNormalizer = (flags: Json = {}): Json => ({
  type: "BertNormalizer",
  clean_text: true,
  handle_chinese_chars: true,
  strip_accents: null,
  lowercase: true,
  ...flags,
});
const bertTokens = [
  added(0, "[PAD]"),
  added(1, "[UNK]"),
  added(2, "[CLS]"),
  added(3, "[SEP]"),
  added(4, "[MASK]", { lstrip: true }),
];
const metaspace = (scheme: string, cuts = true, mark = "▁"): Json => ({
  type: "Metaspace",
  replacement: mark,
  prepend_scheme: scheme,
  split: cuts,
});
const byteLevel = (prefix = false, regex = true): Json => ({
  type: "ByteLevel",
  add_prefix_space: prefix,
  trim_offsets: false,
  use_regex: regex,
});

/** A precompiled charsmap of a few entries in SentencePiece's layout: a double array, then texts. */
export function charsmap(entries: [string, string][], size = 1 << 14): string {
  const texts: number[] = [];
  const keys = entries.map(([from, to]) => {
    const at = texts.length;
    texts.push(...Buffer.from(to), 0);
    return { bytes: [...Buffer.from(from)], at };
  });
  // Units are those of darts-clone: the label in bits 0 to 7, bit 8 for a node with a value, the offset from bit 10, and bit 31 for the
  // value itself.
  const units = new Uint32Array(size);
  const used = new Uint8Array(size);
  used[0] = 1;
  const bases = new Set<number>(); // no two nodes share one, or each would have the children of both
  const build = (node: number, list: typeof keys, depth: number) => {
    const leaf = list.find((key) => key.bytes.length === depth);
    const children = [...new Set(list.filter((key) => key.bytes.length > depth).map((key) => key.bytes[depth]!))];
    const labels = leaf ? [0, ...children] : children;
    if (labels.length === 0) return;
    let offset = 1;
    const taken = (base: number) => bases.has(base) || base > size - 256 || labels.some((label) => used[base ^ label]);
    while (taken(node ^ offset)) offset++;
    const base = node ^ offset;
    bases.add(base);
    units[node] = (units[node]! | (offset << 10) | (leaf ? 1 << 8 : 0)) >>> 0;
    for (const label of labels) used[base ^ label] = 1;
    if (leaf) units[base] = (leaf.at | (1 << 31)) >>> 0;
    for (const label of children) {
      units[base ^ label] = label;
      build(
        base ^ label,
        list.filter((key) => key.bytes.length > depth && key.bytes[depth] === label),
        depth + 1,
      );
    }
  };
  build(0, keys, 0);
  const head = Buffer.alloc(4 + 4 * size);
  head.writeUInt32LE(4 * size, 0);
  for (const [index, unit] of units.entries()) head.writeUInt32LE(unit, 4 + 4 * index);
  return Buffer.concat([head, Buffer.from(texts)]).toString("base64");
}

const nmtCharsmap = () =>
  charsmap([
    ["ﬁ", "fi"],
    ["ﬀ", "ff"],
    ["①", "1"],
    ["½", "1⁄2"],
    ["\u00a0", " "],
    ["\u3000", " "],
    ["\t", " "],
    ["\n", " "],
    ["e\u0301", "é"],
    ["\u200b", ""],
    ["©", "(c)"],
    ["！", "!"],
    ["K", "K"],
    ["가", "ga"],
    ["\u0007", ""],
    ["ß", "ss"],
  ]);

/** Tokenizers by name. The official library can load each of them. */
export function families(): Record<string, Json> {
  const random = generator(20261124);
  const make = (model: Json, parts: Json = {}): Json => ({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model,
    ...parts,
  });
  const bertModel = wordPiece(random);
  const uni = unigram(random, false);
  const uniBytes = unigram(random, true);
  const chars = bpe(random);
  const bert = (parts: Json = {}) =>
    make(bertModel, {
      added_tokens: bertTokens,
      normalizer: bertNormalizer(),
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: "[CLS]", type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
          { SpecialToken: { id: "[SEP]", type_id: 0 } },
        ],
        pair: [
          { SpecialToken: { id: "[CLS]", type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
          { SpecialToken: { id: "[SEP]", type_id: 0 } },
          { Sequence: { id: "B", type_id: 1 } },
          { SpecialToken: { id: "[SEP]", type_id: 1 } },
        ],
        special_tokens: {
          "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
          "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
        },
      },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      ...parts,
    });
  const normalized = (normalizer: Json, parts: Json = {}) =>
    make(chars, { normalizer, pre_tokenizer: { type: "WhitespaceSplit" }, decoder: { type: "Fuse" }, ...parts });
  const cut = (...parts: Json[]) =>
    make(bertModel, { pre_tokenizer: parts.length === 1 ? parts[0] : sequence("pretokenizers", parts) });
  // Ids as the library assigns them: the vocabulary's if present, otherwise the next free ones.
  const flaggedAfter = (model: Json) => {
    const vocab = model.vocab as Record<string, number>;
    const next = Object.keys(vocab).length;
    const ids = new Map<string, number>();
    const id = (token: string) => vocab[token] ?? ids.get(token) ?? ids.set(token, next + ids.size).get(token)!;
    const flagged: [string, Json][] = [
      ["the", { single_word: true, special: false }],
      ["日本", { lstrip: true, rstrip: true, special: false }],
      ["Café", { normalized: true, special: false, rstrip: true }],
      ["<s>", { rstrip: true }],
      ["</s>", { lstrip: true, normalized: true }],
      ["foo_bar", { single_word: true, normalized: true, special: false }],
    ];
    const tokens = flagged.map(([content, flags]) => added(id(content), content, flags));
    return tokens.sort((a, b) => Number(a.id) - Number(b.id));
  };
  const all: Record<string, Json> = {
    bert: bert(),
    "bert-cased": bert({ normalizer: bertNormalizer({ lowercase: false }) }),
    "bert-accents": bert({ normalizer: bertNormalizer({ strip_accents: false }) }),
    "bert-plain": bert({
      normalizer: bertNormalizer({
        clean_text: false,
        handle_chinese_chars: false,
        strip_accents: true,
        lowercase: false,
      }),
      post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
      decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    }),
    "added-flags": bert({ added_tokens: [bertTokens[1]!, ...flaggedAfter(bertModel)] }),
    "added-flags-bpe": make(chars, {
      added_tokens: flaggedAfter(chars),
      normalizer: sequence("normalizers", [{ type: "NFC" }, { type: "Lowercase" }]),
      pre_tokenizer: { type: "Whitespace" },
    }),
    "unigram-always": make(uni, { pre_tokenizer: metaspace("always"), decoder: metaspace("always") }),
    "unigram-first": make(uniBytes, {
      added_tokens: [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
      normalizer: { type: "Precompiled", precompiled_charsmap: nmtCharsmap() },
      pre_tokenizer: metaspace("first"),
      decoder: sequence("decoders", [{ type: "ByteFallback" }, metaspace("first")]),
    }),
    "unigram-never": make(uni, { pre_tokenizer: metaspace("never", false), decoder: metaspace("never", false) }),
    "unigram-xlm": make(uniBytes, {
      added_tokens: [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
      normalizer: sequence("normalizers", [
        { type: "Precompiled", precompiled_charsmap: nmtCharsmap() },
        { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
      ]),
      pre_tokenizer: sequence("pretokenizers", [{ type: "WhitespaceSplit" }, metaspace("always")]),
      decoder: metaspace("always"),
    }),
    "unigram-t5": make(uni, {
      normalizer: sequence("normalizers", [
        { type: "Nmt" },
        { type: "NFKC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
      ]),
      pre_tokenizer: sequence("pretokenizers", [{ type: "UnicodeScripts" }, metaspace("first", true, "_")]),
    }),
    "unigram-whole": make(uniBytes, { normalizer: { type: "Strip", strip_left: true, strip_right: true } }),
    nfc: normalized({ type: "NFC" }),
    nfd: normalized({ type: "NFD" }),
    nfkc: normalized({ type: "NFKC" }),
    nfkd: normalized({ type: "NFKD" }),
    lowercase: normalized({ type: "Lowercase" }),
    "strip-accents": normalized(
      sequence("normalizers", [{ type: "NFD" }, { type: "StripAccents" }, { type: "Lowercase" }]),
    ),
    "strip-left": normalized({ type: "Strip", strip_left: true, strip_right: false }, { pre_tokenizer: null }),
    "strip-right": normalized({ type: "Strip", strip_left: false, strip_right: true }, { pre_tokenizer: null }),
    nmt: normalized({ type: "Nmt" }, { pre_tokenizer: metaspace("first") }),
    precompiled: normalized({ type: "Precompiled", precompiled_charsmap: nmtCharsmap() }),
    prepend: normalized(sequence("normalizers", [{ type: "Lowercase" }, { type: "Prepend", prepend: "▁x" }])),
    "replace-empty": normalized({ type: "Replace", pattern: { Regex: "^|(?=b)" }, content: "▁" }),
    "replace-text": normalized({ type: "Replace", pattern: { String: "é" }, content: "ee" }),
    "byte-characters": normalized(sequence("normalizers", [{ type: "NFC" }, { type: "ByteLevel" }]), {
      decoder: byteLevel(),
    }),
    "word-level": make(
      {
        type: "WordLevel",
        vocab: table(["<unk>", ...pieces(random, 500), ...words.map((w) => w.toWellFormed())]),
        unk_token: "<unk>",
      },
      {
        pre_tokenizer: { type: "Whitespace" },
      },
    ),
    clip: make(bpe(random, {}, "</w>"), {
      normalizer: sequence("normalizers", [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
        { type: "Lowercase" },
      ]),
      pre_tokenizer: split(
        {
          Regex: "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
        },
        "Removed",
        true,
      ),
      decoder: { type: "BPEDecoder", suffix: "</w>" },
    }),
    "prefix-bpe": make(bpe(random, { fuse_unk: true }, "", "@@"), {
      pre_tokenizer: { type: "BertPreTokenizer" },
      decoder: { type: "CTC", pad_token: "a", word_delimiter_token: "|", cleanup: true },
    }),
    "fuse-unknown": make(bpe(random, { fuse_unk: true, ignore_merges: true }), {
      pre_tokenizer: { type: "WhitespaceSplit" },
    }),
    whitespace: cut({ type: "Whitespace" }),
    "whitespace-split": cut({ type: "WhitespaceSplit" }),
    "bert-pre": cut({ type: "BertPreTokenizer" }),
    digits: cut({ type: "Digits", individual_digits: false }, { type: "WhitespaceSplit" }),
    "each-digit": cut({ type: "Digits", individual_digits: true }, { type: "WhitespaceSplit" }),
    delimiter: cut({ type: "CharDelimiterSplit", delimiter: "a" }, { type: "WhitespaceSplit" }),
    scripts: cut({ type: "UnicodeScripts" }),
    "fixed-length": cut({ type: "FixedLength", length: 3 }),
    "byte-level-inside": make(chars, {
      pre_tokenizer: sequence("pretokenizers", [byteLevel(true), { type: "Digits", individual_digits: false }]),
      decoder: byteLevel(),
    }),
    "metaspace-inside": make(uni, {
      pre_tokenizer: sequence("pretokenizers", [{ type: "Whitespace" }, metaspace("first")]),
    }),
  };
  for (const behavior of ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]) {
    const name = behavior.toLowerCase();
    all[`punctuation-${name}`] = cut({ type: "Punctuation", behavior });
    all[`split-${name}`] = cut(split({ Regex: "[aeé\\s]" }, behavior));
    all[`split-text-${name}`] = cut(split({ String: "e" }, behavior, true));
    all[`split-inverted-${name}`] = cut(split({ Regex: "\\p{L}+|(?<=\\.)\\d*" }, behavior, true));
  }
  return all;
}
