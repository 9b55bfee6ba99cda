// GGUF's `tokenizer.*` keys → the content of tokenizer.json and tokenizer_config.json.
import { HeddleError } from "../errors.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import { TOKEN_TYPE } from "./gguf-tokenizer-write.ts";
import { parseJson } from "./io.ts";
import { GPT2_PATTERN, KNOWN_PRE_TOKENIZERS, patternOfPre, QWEN2_PATTERN } from "./tokenizer-patterns.ts";

const MAX_PIECE_CHARACTERS = 512;
/** Sum of the squared lengths, which the work follows: ten times what 262,144 usual pieces need. */
const MAX_WORK = 500_000_000;

type Json = Record<string, unknown>;

export interface GgufTokenizer {
  /** tokenizer.json */
  tokenizer: Json;
  /** tokenizer_config.json: special tokens and the chat template. */
  config: Json;
}

/**
 * The tokenizer of a GGUF file in Hugging Face's form: its `tokenizer.huggingface.json` if it carries one, else made from
 * the vocabulary (models "llama", that is SentencePiece BPE, and "gpt2", that is byte-level BPE). undefined without one.
 * Errors: INVALID_FILE, UNSUPPORTED (another kind).
 */
export function tokenizerFromGguf(meta: GgufMetadata): GgufTokenizer | undefined {
  const tokens = meta.strings("tokenizer.ggml.tokens");
  if (tokens === undefined) return undefined;
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${meta.path}: ${message}`);
  const model = meta.string("tokenizer.ggml.model") ?? "llama";
  const vocabulary = readVocabulary(meta, tokens);
  const config = tokenizerConfig(meta, vocabulary);
  const whole = meta.string("tokenizer.huggingface.json");
  if (whole !== undefined) {
    const path = `${meta.path}: tokenizer.huggingface.json`;
    const tokenizer = parseJson(Buffer.from(whole), path);
    if (typeof tokenizer !== "object" || tokenizer === null || Array.isArray(tokenizer)) {
      throw new HeddleError("INVALID_FILE", `${path}: expected a JSON object`);
    }
    return { tokenizer: tokenizer as Json, config };
  }
  if (model === "llama") return { tokenizer: sentencePiece(meta, vocabulary), config };
  if (model === "gpt2") return { tokenizer: byteLevel(meta, vocabulary, unsupported), config };
  throw unsupported(`tokenizer.ggml.model ${JSON.stringify(model.slice(0, 60))} is not known (known: llama, gpt2)`);
}

interface Vocabulary {
  tokens: string[];
  types: ArrayLike<number | bigint>;
  vocab: Map<string, number>;
  bos: string | undefined;
  eos: string | undefined;
  unknown: string | undefined;
  addBos: boolean;
  addEos: boolean;
}

function readVocabulary(meta: GgufMetadata, tokens: string[]): Vocabulary {
  const types = meta.numbers("tokenizer.ggml.token_type") ?? new Int32Array(tokens.length).fill(TOKEN_TYPE.normal);
  if (types.length !== tokens.length) {
    throw new HeddleError(
      "INVALID_FILE",
      `${meta.path}: tokenizer.ggml.token_type: expected ${tokens.length} entries, got ${types.length}`,
    );
  }
  const vocab = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    if (Number(types[id]) !== TOKEN_TYPE.unused && !vocab.has(token)) vocab.set(token, id);
  }
  const named = (key: string, otherwise?: number) => {
    const id = meta.number(`tokenizer.ggml.${key}`) ?? otherwise;
    if (id === undefined) return undefined;
    if (!Number.isInteger(id) || id < 0 || id >= tokens.length) {
      throw new HeddleError(
        "INVALID_FILE",
        `${meta.path}: tokenizer.ggml.${key}: expected below ${tokens.length}, got ${id}`,
      );
    }
    return tokens[id];
  };
  const spm = (meta.string("tokenizer.ggml.model") ?? "llama") === "llama";
  const pre = meta.string("tokenizer.ggml.pre") ?? "";
  return {
    tokens,
    types,
    vocab,
    bos: named("bos_token_id"),
    eos: named("eos_token_id"),
    unknown: named("unknown_token_id", spm && tokens.length > 0 ? 0 : undefined),
    // What llama.cpp assumes where the file does not say.
    addBos: meta.boolean("tokenizer.ggml.add_bos_token") ?? (spm || ["llama-bpe", "llama3", "llama-v3"].includes(pre)),
    addEos: meta.boolean("tokenizer.ggml.add_eos_token") ?? false,
  };
}

function tokenizerConfig(meta: GgufMetadata, { bos, eos, unknown, addBos, addEos }: Vocabulary): Json {
  const template = meta.string("tokenizer.chat_template");
  return {
    ...(bos !== undefined && { bos_token: bos }),
    ...(eos !== undefined && { eos_token: eos }),
    ...(unknown !== undefined && { unk_token: unknown }),
    add_bos_token: addBos,
    add_eos_token: addEos,
    ...(template !== undefined && { chat_template: template }),
    clean_up_tokenization_spaces: false,
    tokenizer_class: "PreTrainedTokenizerFast",
  };
}

function addedTokens({ tokens, types }: Vocabulary): Json[] {
  const added: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = Number(types[id]);
    const special = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
    if (!special && type !== TOKEN_TYPE.userDefined) continue;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return added;
}

/** TemplateProcessing that adds the BOS and EOS the file asks for; null when it asks for none. */
function template({ vocab, bos, eos, addBos, addEos }: Vocabulary): Json | null {
  const before = addBos ? bos : undefined;
  const after = addEos ? eos : undefined;
  if (before === undefined && after === undefined) return null;
  const wrap = (sequence: string, type_id: number): Json[] => [
    ...(before === undefined ? [] : [{ SpecialToken: { id: before, type_id } }]),
    { Sequence: { id: sequence, type_id } },
    ...(after === undefined ? [] : [{ SpecialToken: { id: after, type_id } }]),
  ];
  const special: Json = {};
  for (const token of [before, after]) {
    if (token !== undefined) special[token] = { id: token, ids: [vocab.get(token)], tokens: [token] };
  }
  return {
    type: "TemplateProcessing",
    single: wrap("A", 0),
    pair: [...wrap("A", 0), ...wrap("B", 1)],
    special_tokens: special,
  };
}

const head = { version: "1.0", truncation: null, padding: null };

function sentencePiece(meta: GgufMetadata, vocabulary: Vocabulary): Json {
  const prefix = meta.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const space = "\u2581";
  const replace = { type: "Replace", pattern: { String: " " }, content: space };
  const decoders: Json[] = [
    { type: "Replace", pattern: { String: space }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return {
    ...head,
    added_tokens: addedTokens(vocabulary),
    normalizer: prefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: space }, replace] } : replace,
    pre_tokenizer: null,
    post_processor: template(vocabulary),
    decoder: { type: "Sequence", decoders },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: vocabulary.unknown ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(vocabulary.vocab),
      merges: mergesFromScores(meta, vocabulary),
    },
  };
}

/**
 * The merge list that a SentencePiece BPE vocabulary amounts to: every split of a piece into two pieces, ordered by the
 * piece's score, best first (transformers' generate_merges). Only pieces that text can be made of take part.
 */
export function mergesFromScores(meta: GgufMetadata, { tokens, types, vocab }: Vocabulary): [string, string][] {
  const scores = meta.numbers("tokenizer.ggml.scores");
  if (scores === undefined || scores.length !== tokens.length) {
    throw new HeddleError(
      "INVALID_FILE",
      `${meta.path}: tokenizer.ggml.scores: expected ${tokens.length} entries, got ${scores?.length ?? "nothing"}`,
    );
  }
  const merges: { left: string; right: string; score: number; leftId: number; rightId: number }[] = [];
  let budget = MAX_WORK;
  for (const [id, piece] of tokens.entries()) {
    if (Number(types[id]) !== TOKEN_TYPE.normal || vocab.get(piece) !== id) continue;
    if (piece.length > MAX_PIECE_CHARACTERS) {
      throw new HeddleError(
        "INVALID_FILE",
        `${meta.path}: token ${id}: expected at most ${MAX_PIECE_CHARACTERS} characters, got ${piece.length}`,
      );
    }
    budget -= piece.length * piece.length;
    if (budget < 0) throw new HeddleError("INVALID_FILE", `${meta.path}: expected shorter tokens than these`);
    for (let i = 1; i < piece.length; i++) {
      if (piece.charCodeAt(i) >= 0xdc00 && piece.charCodeAt(i) < 0xe000) continue; // within a surrogate pair
      const left = piece.slice(0, i);
      const right = piece.slice(i);
      const leftId = vocab.get(left);
      const rightId = leftId === undefined ? undefined : vocab.get(right);
      if (leftId !== undefined && rightId !== undefined) {
        merges.push({ left, right, score: Number(scores[id]), leftId, rightId });
      }
    }
  }
  merges.sort((a, b) => b.score - a.score || a.leftId - b.leftId || a.rightId - b.rightId);
  return merges.map(({ left, right }) => [left, right]);
}

function byteLevel(meta: GgufMetadata, vocabulary: Vocabulary, unsupported: (message: string) => HeddleError): Json {
  const merges = meta.strings("tokenizer.ggml.merges");
  if (merges === undefined) {
    throw new HeddleError("INVALID_FILE", `${meta.path}: tokenizer.ggml.merges: expected with model gpt2, got nothing`);
  }
  const pre =
    meta.string("tokenizer.ggml.pre") ?? (meta.string("general.architecture") === "gpt2" ? "gpt-2" : "default");
  const pattern = patternOfPre(pre);
  if (pattern === undefined) {
    const known = KNOWN_PRE_TOKENIZERS.join(", ");
    throw unsupported(`tokenizer.ggml.pre ${JSON.stringify(pre.slice(0, 60))} is not known (known: ${known})`);
  }
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false };
  const split = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  const ending = { ...level, use_regex: false };
  const special = template(vocabulary);
  return {
    ...head,
    added_tokens: addedTokens(vocabulary),
    normalizer: pattern === QWEN2_PATTERN ? { type: "NFC" } : null,
    pre_tokenizer:
      pattern === GPT2_PATTERN ? { ...level, use_regex: true } : { type: "Sequence", pretokenizers: [split, ending] },
    post_processor: special === null ? ending : { type: "Sequence", processors: [ending, special] },
    decoder: { ...level, use_regex: false },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      // Llama 3's vocabulary holds whole words that its merges do not reach.
      ignore_merges: pre === "llama-bpe" || pre === "llama3" || pre === "llama-v3",
      vocab: Object.fromEntries(vocabulary.vocab),
      merges: merges.map((merge, i) => {
        const [left, right, ...more] = merge.split(" ");
        if (left && right && more.length === 0) return [left, right];
        throw new HeddleError("INVALID_FILE", `${meta.path}: tokenizer.ggml.merges ${i}: expected two tokens`);
      }),
    },
  };
}
