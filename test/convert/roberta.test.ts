// Conversion of RoBERTa-like encoders between folders and GGUF files. A GGUF file names BERT's architecture, and has the encoder's own
// vocabulary.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { withoutHeddleKeys } from "./foreign-gguf.ts";
import {
  texts as allTexts,
  encoderFolder,
  robertaTokenizer,
  tiny,
  unigramKeys,
  unigramTokenizer,
  xlmRobertaTokenizer,
} from "./gguf-encoders/encoder-files.ts";

/** Texts without carriage returns, which the test's character map keeps. XLM-RoBERTa ends words at them, llama.cpp does not. */
const texts = allTexts.map((text) => text.replace("\r", ""));
const embedding = { pooling: "first", normalize: true };
const kinds: [string, () => Promise<Tokenizer>][] = [
  ["roberta", robertaTokenizer],
  ["xlm-roberta", xlmRobertaTokenizer],
  ["camembert", xlmRobertaTokenizer],
];

async function vectorsOf(path: string): Promise<number[][]> {
  await using model = await LanguageModel.load(path);
  return (await model.embed(texts)).map((vector) => [...vector]);
}

async function keysOf(path: string): Promise<Record<string, unknown>> {
  const { metadata, file } = await openGguf(path);
  file.close();
  return Object.fromEntries([...metadata.values].map(([key, { value }]) => [key, value]));
}

describe.each(kinds)("%s", (modelType, tokenizerOf) => {
  test("survives conversion to GGUF and back, and loads from foreign files, with the same tokens and vectors", async () => {
    const tokenizer = await tokenizerOf();
    const folder = await encoderFolder({ ...tiny, modelType, embedding }, tokenizer);
    expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toMatchObject({
      model_type: modelType,
      max_position_embeddings: 130,
      pad_token_id: 1,
    });
    const file = join(temporaryFolder(), "encoder.gguf");
    const back = join(temporaryFolder(), "back");
    await convertModel(folder, file);
    await convertModel(file, back);
    const want = await vectorsOf(folder);
    expect(await vectorsOf(file)).toEqual(want);
    expect(await vectorsOf(back)).toEqual(want);
    const others = await withoutHeddleKeys(file, { "tokenizer.huggingface.json": undefined });
    expect(await vectorsOf(others)).toEqual(want);
    await using theirs = await LanguageModel.load(others);
    expect(theirs.config).toMatchObject({ modelType: "bert", maxPositionEmbeddings: 128, typeVocabSize: 1 });
    for (const text of texts) {
      expect([...theirs.tokenizer!.encode(text)]).toEqual([...tokenizer.encode(text)]);
      expect([...tokenizer.encode(text)].at(0)).toBe(0);
      expect([...tokenizer.encode(text)].at(-1)).toBe(2);
    }
  });
});

test("XLM-RoBERTa's keys equal those of llama.cpp's converter", async () => {
  const tokenizer = await xlmRobertaTokenizer();
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder({ ...tiny, modelType: "xlm-roberta" }, tokenizer), file);
  const json = JSON.parse(tokenizer.files()["tokenizer.json"]!);
  // unigramKeys expects the character map within a sequence.
  const sequence = Tokenizer.fromFiles({
    tokenizer: JSON.stringify({ ...json, normalizer: { type: "Sequence", normalizers: [json.normalizer] } }),
  });
  const wanted = Object.entries(unigramKeys(sequence, 1)).map(([key, { value }]): [string, unknown] => [key, value]);
  const got = await keysOf(file);
  for (const [key, value] of wanted) {
    const plain = (v: unknown) => (typeof v === "object" ? Array.from(v as ArrayLike<unknown>) : v);
    expect(plain(got[key]), key).toEqual(plain(value));
  }
  expect(got).toMatchObject({
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.padding_token_id": 1,
    "tokenizer.ggml.seperator_token_id": 2,
    "tokenizer.ggml.mask_token_id": tokenizer.vocabSize - 1,
  });
});

test("RoBERTa's keys equal those of llama.cpp's converter", async () => {
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder({ ...tiny, modelType: "roberta" }, await robertaTokenizer()), file);
  expect(await keysOf(file)).toMatchObject({
    "general.architecture": "bert",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "roberta-bpe",
    "tokenizer.ggml.token_type_count": 1,
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.seperator_token_id": 2,
    "tokenizer.ggml.padding_token_id": 1,
    "tokenizer.ggml.add_bos_token": true,
    "tokenizer.ggml.add_eos_token": true,
  });
});

test("SentencePiece's normalizer is converted", async () => {
  const folder = await encoderFolder({ ...tiny, modelType: "xlm-roberta" }, await unigramTokenizer());
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(folder, file);
  expect(await keysOf(file)).toMatchObject({
    "tokenizer.ggml.add_space_prefix": true,
    "tokenizer.ggml.remove_extra_whitespaces": true,
  });
  const others = await withoutHeddleKeys(file, { "tokenizer.huggingface.json": undefined });
  expect(await vectorsOf(others)).toEqual(await vectorsOf(folder));
});

test("rejects vocabularies that llama.cpp's Unigram does not support, naming the problem", async () => {
  const json = JSON.parse((await xlmRobertaTokenizer()).files()["tokenizer.json"]!);
  const of = (changes: object) => async () => {
    const folder = await encoderFolder({ ...tiny, modelType: "xlm-roberta" }, await xlmRobertaTokenizer());
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...json, ...changes }));
    return convertModel(folder, join(temporaryFolder(), "encoder.gguf"));
  };
  const lower = { type: "Sequence", normalizers: [json.normalizer, { type: "Lowercase" }] };
  await expectError(of({ normalizer: lower }), "UNSUPPORTED", /normalizer: expected Precompiled, .*, got "Lowercase"/);
  const digits = { type: "Sequence", pretokenizers: [...json.pre_tokenizer.pretokenizers, { type: "Digits" }] };
  await expectError(
    of({ pre_tokenizer: digits }),
    "UNSUPPORTED",
    /pre_tokenizer: expected WhitespaceSplit and Metaspace for GGUF's Unigram, got "Digits"/,
  );
  await expectError(
    of({ model: { ...json.model, unk_id: null } }),
    "UNSUPPORTED",
    /model.unk_id: expected the id of a token/,
  );
  await expectError(
    of({ model: { ...json.model, unk_id: 1e6 } }),
    "UNSUPPORTED",
    /model.unk_id: expected the id of a token for GGUF's Unigram, got 1000000/,
  );
  const broken = { ...json.model, vocab: json.model.vocab.with(7, ["x"]) };
  await expectError(of({ model: broken }), "INVALID_FILE", /model.vocab\[7\]: expected a score/);
});

describe("folders without tokenizer.json", () => {
  const model = fileURLToPath(new URL("../golden/sentencepiece/unigram.model", import.meta.url));
  const folderOf = (config: object) => {
    const folder = temporaryFolder();
    mkdirSync(folder, { recursive: true });
    copyFileSync(model, join(folder, "sentencepiece.bpe.model"));
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
    return folder;
  };
  const plainOf = async () => {
    const folder = temporaryFolder();
    mkdirSync(folder, { recursive: true });
    copyFileSync(model, join(folder, "tokenizer.model"));
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ add_eos_token: false }));
    return Tokenizer.load(folder);
  };

  test.each([
    // [class, offset to SentencePiece's ids, ids of <s> and </s>]
    ["XLMRobertaTokenizer", 1, 0, 2],
    ["XLMRobertaTokenizerFast", 1, 0, 2],
    ["CamembertTokenizer", 4, 5, 6],
  ])("%s without tokenizer.json gives fairseq's ids", async (tokenizer_class, higher, bos, eos) => {
    const plain = await plainOf();
    const read = await Tokenizer.load(folderOf({ tokenizer_class }));
    for (const text of texts) {
      const pieces = [...plain.encode(text)].map((id) => (id === plain.tokenToId("<unk>") ? 3 : id + higher));
      expect([...read.encode(text)], text).toEqual([bos, ...pieces, eos]);
    }
    expect(read.tokenToId("<pad>")).toBe(1);
    expect(read.tokenToId("<unk>")).toBe(3);
    expect(read.tokenToId("<mask>")).toBe(read.vocabSize - 1);
    expect(read.vocabSize).toBe(plain.vocabSize + higher + 1);
    const pair = read.encodePair("the cat", "the sea");
    const parts = ["the cat", "the sea"].map((text) => [...read.encode(text)].slice(1, -1));
    expect([...pair.ids]).toEqual([bos, ...parts[0]!, eos, eos, ...parts[1]!, eos]);
    expect(new Set(pair.typeIds)).toEqual(new Set([0]));
    const again = Tokenizer.fromFiles({ tokenizer: read.files()["tokenizer.json"] });
    for (const text of texts) expect(again.encode(text)).toEqual(read.encode(text));
  });

  test("are rejected for other tokenizer classes, whose id order is unknown", async () => {
    const message =
      /sentencepiece.bpe.model: expected a tokenizer_class XLMRobertaTokenizer or CamembertTokenizer, .*, got /;
    await expectError(() => Tokenizer.load(folderOf({})), "UNSUPPORTED", message);
    await expectError(() => Tokenizer.load(folderOf({ tokenizer_class: "MBartTokenizer" })), "UNSUPPORTED", message);
  });

  test("are enough for a model to load, embed and convert to GGUF", async () => {
    const tokenizer = await Tokenizer.load(folderOf({ tokenizer_class: "XLMRobertaTokenizer" }));
    const folder = await encoderFolder({ ...tiny, modelType: "xlm-roberta", embedding }, tokenizer);
    const want = await vectorsOf(folder);
    rmSync(join(folder, "tokenizer.json"));
    copyFileSync(model, join(folder, "sentencepiece.bpe.model"));
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "XLMRobertaTokenizer" }));
    expect(await vectorsOf(folder)).toEqual(want);
    const file = join(temporaryFolder(), "encoder.gguf");
    await convertModel(folder, file);
    expect(await vectorsOf(file)).toEqual(want);
    const other = join(temporaryFolder(), "other");
    await convertModel(folder, other, { dtype: "f32" });
    expect(await vectorsOf(other)).toEqual(want);
  });

  test("give RoBERTa's tokenizer if they have vocab.json and merges.txt, even without a tokenizer class", async () => {
    const tokenizer = await robertaTokenizer();
    const { vocab, merges } = JSON.parse(tokenizer.files()["tokenizer.json"]!).model;
    const lines = merges.map((merge: string | string[]) => (Array.isArray(merge) ? merge.join(" ") : merge));
    for (const config of [{}, { tokenizer_class: "RobertaTokenizer", mask_token: "<mask>" }]) {
      const folder = temporaryFolder();
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "vocab.json"), JSON.stringify(vocab));
      writeFileSync(join(folder, "merges.txt"), `#version: 0.2\n${lines.join("\n")}\n`);
      writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
      const read = await Tokenizer.load(folder);
      for (const text of texts) {
        expect(read.encode(text)).toEqual(tokenizer.encode(text));
        expect(read.encode(`${text} <mask></s>`, { allowSpecial: true })).toEqual(
          tokenizer.encode(`${text} <mask></s>`, { allowSpecial: true }),
        );
      }
      expect(read.encodePair("a cat", "home").ids).toEqual(tokenizer.encodePair("a cat", "home").ids);
      writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, add_prefix_space: true }));
      const prefixed = await Tokenizer.load(folder);
      expect(prefixed.encode("home")).toEqual(tokenizer.encode(" home"));
    }
  });
});

test("an invalid number of token types is reported as an error", async () => {
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder({ ...tiny, modelType: "xlm-roberta" }, await xlmRobertaTokenizer()), file);
  const none = { "tokenizer.huggingface.json": undefined };
  const count: GgufValue = { type: "u32", value: 3 };
  const kinds = await withoutHeddleKeys(file, { ...none, "tokenizer.ggml.token_type_count": count });
  await expectError(() => LanguageModel.load(kinds), "INVALID_FILE", /token_type_embeddings.weight/);
});
