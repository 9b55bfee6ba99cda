// The TypeScript loaders as functions of bytes, with valid files as seeds.
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { HeddleError, Tokenizer, type TokenizerTexts } from "../../../lib/tokenizer/index.ts";
import { charsmap } from "../generated.ts";
import { byteLevelJson, byteNames } from "../samples.ts";

const sample = "It's 12 o'clock, déjà vu 日本 <s> </s>  \ud800\n\n";
/** CPU time limit in milliseconds for a file of a few kilobytes, which normally takes about 1 ms. */
const limit = 2000;

/** Loads a file and uses the result. Returns whether that worked. An exception must be a HeddleError with a code that files may cause. */
export function survives(load: () => Tokenizer, shown: () => string): boolean {
  const before = process.cpuUsage();
  let works = false;
  try {
    const tokenizer = load();
    const { ids } = tokenizer.encodeWithOffsets(sample, { allowSpecial: true });
    tokenizer.decode(ids);
    tokenizer.decode(tokenizer.encode(sample.repeat(20)), { skipSpecialTokens: true });
    const decoder = tokenizer.decoder();
    for (const id of ids) decoder.push(id);
    decoder.flush();
    tokenizer.encodePair("a", "b");
    tokenizer.files();
    works = true;
  } catch (error) {
    expect(error, shown()).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code, shown()).toMatch(/^(?:INVALID_FILE|UNSUPPORTED|NOT_FOUND)$/u);
  }
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000, shown()).toBeLessThan(limit);
  return works;
}

export interface Loader {
  /** Valid files. */
  seeds: Uint8Array[];
  isText: boolean;
  load(file: Uint8Array): Tokenizer;
}

const text = (seeds: string[], load: (file: string) => Tokenizer): Loader => ({
  seeds: seeds.map((seed) => Buffer.from(seed)),
  isText: true,
  load: (file) => load(Buffer.from(file).toString()),
});
const ofTexts = (seed: string, make: (file: string) => TokenizerTexts): Loader =>
  text([seed], (file) => Tokenizer.fromFiles(make(file)));

function sentencePieceBpe(): Uint8Array {
  // Protobuf wire format: the tag is number * 8 for a varint, + 2 for bytes, + 5 for a float.
  const bytesField = (number: number, content: Uint8Array) => {
    const length = content.length < 128 ? [content.length] : [(content.length & 127) | 128, content.length >> 7];
    return Buffer.concat([Buffer.from([number * 8 + 2, ...length]), content]);
  };
  const piece = (content: string, score: number, type: number) => {
    const float = Buffer.alloc(4);
    float.writeFloatLE(score);
    const fields = [bytesField(1, Buffer.from(content)), Buffer.from([0x15]), float, Buffer.from([0x18, type])];
    return bytesField(1, Buffer.concat(fields));
  };
  const pieces = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3), piece("<0x41>", 0, 6)];
  for (const [rank, content] of ["▁a", "▁", "a", "b", "ab", "日", "12"].entries())
    pieces.push(piece(content, -rank, 1));
  // model_type BPE (field 3), byte_fallback (field 35, with a two-byte tag).
  const trainer = bytesField(2, Buffer.from([0x18, 2, 0x98, 2, 1]));
  return Buffer.concat([...pieces, trainer, bytesField(3, Buffer.from([0x18, 1, 0x20, 0]))]);
}

/** Loads GGUF metadata from JSON, so that damage reaches every value. Invalid JSON counts as an invalid file. */
function loadGguf(file: string): Tokenizer {
  let metadata: unknown;
  try {
    metadata = JSON.parse(file);
  } catch {
    throw new HeddleError("INVALID_FILE", "expected JSON");
  }
  if (typeof metadata !== "object" || metadata === null) throw new HeddleError("INVALID_FILE", "expected an object");
  return Tokenizer.fromGguf(metadata as Record<string, unknown>);
}

const merges: [string, string][] = [
  ["a", "b"],
  ["ab", "a"],
  ["Ġ", "a"],
];
const vocab = JSON.stringify(byteLevelJson(merges).model.vocab);
const mergesText = `#version: 0.2\n${merges.map((merge) => merge.join(" ")).join("\n")}\n`;
const ranks = [...Array.from({ length: 256 }, (_, byte) => [byte]), [0x61, 0x62], [0x20, 0x61], [0x61, 0x62, 0x61]]
  .map((bytes, rank) => `${Buffer.from(bytes).toString("base64")} ${rank}\n`)
  .join("");
const llama = {
  "tokenizer.ggml.model": "llama",
  "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<0x41>", "▁", "a", "b", "ab", "▁a"],
  "tokenizer.ggml.scores": [0, 0, 0, 0, -1, -2, -3, -4, -5],
  "tokenizer.ggml.token_type": [2, 3, 3, 6, 1, 1, 1, 1, 1],
  "tokenizer.ggml.bos_token_id": 1,
  "tokenizer.ggml.eos_token_id": 2,
  "tokenizer.ggml.add_bos_token": true,
  "tokenizer.chat_template": "{{ messages[0].content }}",
};
const gpt2 = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": "deepseek-v3",
  "tokenizer.ggml.tokens": [...byteNames, "ab", "aba", "Ġa", "<s>"],
  "tokenizer.ggml.token_type": [...byteNames.map(() => 1), 1, 1, 1, 3],
  "tokenizer.ggml.merges": merges.map((merge) => merge.join(" ")),
};

const bert = {
  "tokenizer.ggml.model": "bert",
  "tokenizer.ggml.tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "▁a", "▁12", "b", "▁日", "▁"],
  "tokenizer.ggml.token_type": [3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1],
  "tokenizer.ggml.cls_token_id": 2,
  "tokenizer.ggml.seperator_token_id": 3,
  "tokenizer.ggml.unknown_token_id": 1,
  "tokenizer.ggml.normalizer.lowercase": true,
};
const t5 = {
  ...llama,
  "tokenizer.ggml.model": "t5",
  "tokenizer.ggml.unknown_token_id": 0,
  "tokenizer.ggml.add_space_prefix": true,
  "tokenizer.ggml.remove_extra_whitespaces": true,
  "tokenizer.ggml.precompiled_charsmap": [...Buffer.from(charsmap([["é", "e"]], 1 << 10), "base64")],
};

export const loaders: Record<string, Loader> = {
  sentencepiece: {
    seeds: [
      new Uint8Array(readFileSync(new URL("../../golden/sentencepiece/unigram.model", import.meta.url))),
      sentencePieceBpe(),
    ],
    isText: false,
    load: (model) => Tokenizer.fromFiles({ model }),
  },
  fairseq: {
    seeds: [new Uint8Array(readFileSync(new URL("../../golden/sentencepiece/unigram.model", import.meta.url)))],
    isText: false,
    load: (model) =>
      Tokenizer.fromFiles({ model, tokenizerConfig: JSON.stringify({ tokenizer_class: "CamembertTokenizer" }) }),
  },
  tiktoken: ofTexts(ranks, (tiktoken) => ({
    tiktoken,
    tiktokenOptions: { pattern: "gpt2", specialTokens: { "<s>": 300 } },
  })),
  llama3_ranks: { seeds: [Buffer.from(ranks)], isText: false, load: (model) => Tokenizer.fromFiles({ model }) },
  vocab_json: ofTexts(vocab, (file) => ({ vocab: file, merges: mergesText })),
  merges_txt: ofTexts(mergesText, (file) => ({ vocab, merges: file })),
  vocab_txt: ofTexts(
    "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able , it ' s o 12 日 本".replaceAll(" ", "\n"),
    (vocabText) => ({
      vocabText,
    }),
  ),
  gguf: text(
    [llama, gpt2, bert, t5].map((record) => JSON.stringify(record)),
    loadGguf,
  ),
};
