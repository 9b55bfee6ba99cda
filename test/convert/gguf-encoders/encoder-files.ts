// Folders of encoders with random weights and a WordPiece vocabulary trained here.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { createModel } from "../../../lib/language-model/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { sentences } from "../../inference/helpers.ts";
import { generator } from "../../ops/harness.ts";
import { charsmap } from "../../tokenizer/generated.ts";
import { fromJson } from "../../tokenizer/samples.ts";
import { withMetadata, withoutHeddleKeys } from "../foreign-gguf.ts";

/** Texts with special cases of WordPiece and its normalizer. */
export const texts = [
  "The cat saw the sea and ran home.",
  "naïve café, Ångström ÉCOLE façade",
  "e\u0301 cafe\u0301 (two code points a letter)",
  "日本語 and 東京の猫; 한국어 가나다",
  "don't stop -- it's 50% off! $3.14 @home #1 a_b",
  "tabs\tand\nlines\r\n  and   blanks\u00a0\u3000here",
  "ﬁne ＦＵＬＬ width ß Straße İstanbul",
  "control\u0000 chars\u200b zero\u200dwidth \u00adsoft \ufffd end",
  "emoji 🐈 🚀👩‍🚀 and math ∑x²≤∞",
  "unknown: ѣ ⴰ ꙮ צ ع ก",
  `${"run".repeat(33)} home`, // 99 characters
  `${"ran".repeat(40)} home`, // longer than WordPiece's limit for a word
  "[MASK] inside, [unused1] too",
];

/** Fields of model configurations, to be combined. */
export const tiny = { hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, numAttentionHeads: 4 };
export const modern = { modelType: "modernbert", slidingWindow: 8, numHiddenLayers: 5 };
export const classifier = { task: "sequence", labels: ["a", "b", "c"] };

let trained: Promise<Tokenizer> | undefined;
export function wordPieceTokenizer(): Promise<Tokenizer> {
  trained ??= Tokenizer.train([...sentences, ...texts.slice(0, 9)], { algorithm: "wordPiece", vocabSize: 500 });
  return trained;
}

/** The tokenizer of a Unigram model from SentencePiece's trainer, with a character map like those of published models. */
export async function unigramTokenizer(): Promise<Tokenizer> {
  const folder = temporaryFolder();
  const path = fileURLToPath(new URL("../../golden/sentencepiece/unigram.model", import.meta.url));
  copyFileSync(path, join(folder, "tokenizer.model"));
  const json = JSON.parse((await Tokenizer.load(folder)).files()["tokenizer.json"]!);
  const mapped = charsmap([
    ["ﬁ", "fi"],
    ["\u00a0", " "],
    ["\u3000", " "],
    ["\t", " "],
    ["\n", " "],
    ["e\u0301", "é"],
    ["\u200b", ""],
    ["Ｆ", "F"],
  ]);
  json.normalizer.normalizers.unshift({ type: "Precompiled", precompiled_charsmap: mapped, longest: true });
  return fromJson(json);
}

/** unigramTokenizer in the form of XLM-RoBERTa's: words split at spaces, a template for special tokens, and `<mask>` as the last id. */
export async function xlmRobertaTokenizer(): Promise<Tokenizer> {
  const json = JSON.parse((await unigramTokenizer()).files()["tokenizer.json"]!);
  const [{ precompiled_charsmap }] = json.normalizer.normalizers;
  const pieces: [string, number][] = json.model.vocab.slice(3);
  const before = ["<s>", "<pad>", "</s>", "<unk>"];
  const vocab = [...before.map((name) => [name, 0]), ...pieces, ["<mask>", 0]];
  const special = (content: string, id: number) => ({ id, content, special: true, normalized: false });
  const around = (...parts: string[]) =>
    parts.map((id) => (/^[AB]$/.test(id) ? { Sequence: { id, type_id: 0 } } : { SpecialToken: { id, type_id: 0 } }));
  const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
  return fromJson({
    ...json,
    added_tokens: [...before.map(special), { ...special("<mask>", vocab.length - 1), lstrip: true }],
    normalizer: { type: "Precompiled", precompiled_charsmap },
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, metaspace] },
    post_processor: {
      type: "TemplateProcessing",
      single: around("<s>", "A", "</s>"),
      pair: around("<s>", "A", "</s>", "</s>", "B", "</s>"),
      special_tokens: Object.fromEntries(
        [0, 2].map((id) => [before[id], { id: before[id], ids: [id], tokens: [before[id]] }]),
      ),
    },
    decoder: metaspace,
    model: { type: "Unigram", vocab, unk_id: 3, byte_fallback: false },
  });
}

/** Byte-level BPE as in RoBERTa's tokenizer.json. */
export async function robertaTokenizer(): Promise<Tokenizer> {
  const trained = await Tokenizer.train([...sentences, ...texts.slice(0, 9)], { vocabSize: 400 });
  const json = JSON.parse(trained.files()["tokenizer.json"]!);
  const names = ["<s>", "<pad>", "</s>", "<unk>"];
  const pieces = Object.entries(json.model.vocab as Record<string, number>).sort((a, b) => a[1] - b[1]);
  const taken = new Set(json.added_tokens.map(({ content }: { content: string }) => content));
  const all = [...names, ...pieces.map(([piece]) => piece).filter((piece) => !taken.has(piece)), "<mask>"];
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return fromJson({
    version: "1.0",
    added_tokens: [...names, "<mask>"].map((content) => ({
      id: all.indexOf(content),
      content,
      special: true,
      normalized: false,
      lstrip: content === "<mask>",
    })),
    normalizer: null,
    pre_tokenizer: level,
    post_processor: {
      type: "RobertaProcessing",
      sep: ["</s>", 2],
      cls: ["<s>", 0],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: level,
    model: { type: "BPE", vocab: Object.fromEntries(all.map((piece, id) => [piece, id])), merges: json.model.merges },
  });
}

/**
 * Returns the GGUF keys of a Unigram tokenizer, as llama.cpp's converter writes them. GGUF's token types are 1 normal, 2 unknown,
 * 3 control, 4 user-defined, and 6 byte. @param bytes the type of byte pieces
 */
export function unigramKeys(tokenizer: Tokenizer, bytes = 6): Record<string, GgufValue> {
  const json = JSON.parse(tokenizer.files()["tokenizer.json"]!);
  const vocab: [string, number][] = json.model.vocab;
  const types = Int32Array.from(vocab, ([token]) => (/^<0x[0-9A-F]{2}>$/.test(token) ? bytes : 1));
  for (const { id, special } of json.added_tokens) types[id] = special ? 3 : 4;
  types[json.model.unk_id] = 2;
  const { precompiled_charsmap } = json.normalizer.normalizers.find(
    ({ type }: { type: string }) => type === "Precompiled",
  );
  const key = (name: string, value: GgufValue): [string, GgufValue] => [`tokenizer.ggml.${name}`, value];
  const id = (token: string): GgufValue => ({ type: "u32", value: tokenizer.tokenToId(token)! });
  return Object.fromEntries([
    key("model", { type: "string", value: "t5" }),
    key("tokens", { type: "array", of: "string", value: vocab.map(([token]) => token) }),
    key("scores", { type: "array", of: "f32", value: Float32Array.from(vocab, ([, score]) => score) }),
    key("token_type", { type: "array", of: "i32", value: types }),
    key("bos_token_id", id("<s>")),
    key("eos_token_id", id("</s>")),
    key("add_bos_token", { type: "bool", value: true }),
    key("add_eos_token", { type: "bool", value: true }),
    key("unknown_token_id", { type: "u32", value: json.model.unk_id }),
    key("add_space_prefix", { type: "bool", value: true }),
    key("remove_extra_whitespaces", { type: "bool", value: true }),
    key("token_type_count", { type: "u32", value: 1 }),
    key("precompiled_charsmap", { type: "array", of: "u8", value: Buffer.from(precompiled_charsmap, "base64") }),
  ]);
}

/** Writes an encoder's file with XLM-RoBERTa's vocabulary. Positions begin at 0: llama.cpp's converter drops the unused first rows. */
export async function unigramFile(
  convert: (folder: string, file: string) => Promise<unknown>,
  bytes?: number,
): Promise<string> {
  const pieces = await unigramTokenizer();
  const plain = join(temporaryFolder(), "plain.gguf");
  const embedding = { pooling: "mean", normalize: false };
  const sizes = { vocabSize: pieces.vocabSize, typeVocabSize: 1, hiddenAct: "gelu_pytorch_tanh", embedding };
  const folder = await encoderFolder({ ...sizes }, false);
  await convert(folder, plain);
  const keys = Object.fromEntries((await openGguf(plain)).metadata.values);
  const old = Object.keys(keys).filter((name) => name.startsWith("tokenizer."));
  return withMetadata(plain, {
    ...Object.fromEntries(old.map((name) => [name, undefined])),
    ...unigramKeys(pieces, bytes),
  });
}

/** Writes a folder of random weights. Norms and biases are random too, so that a mix-up shows. */
export async function encoderFolder(config: object = {}, tokenizer?: Tokenizer | false): Promise<string> {
  const sizes = { hiddenSize: 256, intermediateSize: 512, numHiddenLayers: 3, numAttentionHeads: 8 };
  const about = { modelType: "bert", maxPositionEmbeddings: 128, initializerRange: 0.1, ...sizes } as const;
  await using model = createModel(
    { ...about, ...config },
    { seed: 7, ...(tokenizer !== false && { tokenizer: tokenizer ?? (await wordPieceTokenizer()) }) },
  );
  const random = generator(11);
  for (const name of model.model.weightNames) {
    const tensor = model.model.weight(name);
    if (tensor.shape.length > 1) continue;
    await tensor.write(((await tensor.read()) as Float32Array).map((v) => v + 0.2 * (random() - 0.5)));
  }
  const folder = join(temporaryFolder(), "encoder");
  await model.save(folder);
  return folder;
}

/** Writes a GGUF file of an encoder. */
export async function encoderFile(config: object = {}, dtype?: "f32" | "q8_0"): Promise<string> {
  const path = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder(config), path, { dtype });
  return path;
}

/** Rewrites the file as llama.cpp's converter would: without heddle's keys and without tokenizer.json. */
export const asLlamaCppWrites = (path: string, changes: Record<string, GgufValue | undefined> = {}) =>
  withoutHeddleKeys(path, { "tokenizer.huggingface.json": undefined, ...changes });
