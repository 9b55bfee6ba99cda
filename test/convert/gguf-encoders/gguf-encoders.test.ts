// Conversion of encoders between folders and GGUF files, heddle's and those of other programs.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { openModelFiles } from "../../../lib/formats/model-files.ts";
import type { TensorData } from "../../../lib/formats/tensor-data.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import { f32, tensorsOf, u32, withoutHeddleKeys } from "../foreign-gguf.ts";
import {
  asLlamaCppWrites,
  classifier,
  encoderFile,
  encoderFolder,
  modern,
  texts,
  tiny,
  unigramFile,
  unigramKeys,
  unigramTokenizer,
  wordPieceTokenizer,
} from "./encoder-files.ts";

type Changes = Record<string, GgufValue | undefined>;

async function vectorsOf(path: string, how: object = {}): Promise<number[][]> {
  await using model = await LanguageModel.load(path, { quantizedActivations: "f32", ...how });
  return (await model.embed(texts)).map((vector) => [...vector]);
}

const kinds: [string, object][] = [
  ["bert", { embedding: { pooling: "first", normalize: true } }],
  ["bert without pooling, with tanh GELU", { hiddenAct: "gelu_pytorch_tanh" }],
  ["bert with a classifier", { classifier: { ...classifier, pooling: "first", problemType: "regression" } }],
  ["modernbert", { ...modern, embedding: { pooling: "mean", normalize: false } }],
  ["modernbert with a classifier", { ...modern, classifier: { ...classifier, pooling: "mean", temperature: 2 } }],
  ["nomic_bert", { modelType: "nomic_bert", embedding: { pooling: "mean", normalize: true } }],
  ["distilbert", { modelType: "distilbert", embedding: { pooling: "mean", normalize: true } }],
  ["modernbert with SwiGLU", { ...modern, hiddenAct: "silu", ropeLocalTheta: 500 }],
];

describe.each(kinds)("%s", (_name, config) => {
  test("keeps configuration, tokenizer files and the bits of vectors in a round trip", async () => {
    const folder = await encoderFolder({ ...tiny, ...config });
    const file = join(temporaryFolder(), "encoder.gguf");
    const back = join(temporaryFolder(), "back");
    await convertModel(folder, file);
    await convertModel(file, back);
    const configOf = async (path: string) => {
      const files = await openModelFiles(path);
      files.close();
      // GGUF has no key for the initializer range.
      const { architectures: _, initializerRange: __, ...rest } = files.config;
      return rest;
    };
    expect(await configOf(file)).toEqual(await configOf(folder));
    expect(await configOf(back)).toEqual(await configOf(folder));
    expect(readdirSync(back).sort()).toEqual(readdirSync(folder).sort());
    for (const name of readdirSync(folder).filter((name) => /tokenizer\.json|modules|sentence/.test(name)))
      expect(JSON.parse(readFileSync(join(back, name), "utf8")), name).toEqual(
        JSON.parse(readFileSync(join(folder, name), "utf8")),
      );
    const plain = await vectorsOf(folder);
    expect(await vectorsOf(file)).toEqual(plain);
    expect(await vectorsOf(back)).toEqual(plain);
  });

  test.each(["f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"] as const)(
    "a GGUF file in %s gives nearly the vectors of the folder loaded in that type",
    async (dtype) => {
      const folder = await encoderFolder(config);
      const file = join(temporaryFolder(), "encoder.gguf");
      await convertModel(folder, file, { dtype });
      const [got, want] = [await vectorsOf(file), await vectorsOf(folder, { dtype })];
      // Tables of positions and segments are rounded when the folder is loaded, but stay f32 in the file.
      const least = dtype === "bf16" ? 0.9998 : 0.99999;
      for (const [i, vector] of got.entries()) {
        const dot = (a: number[], b: number[]) => a.reduce((sum, v, d) => sum + v * b[d]!, 0);
        const cosine = dot(vector, want[i]!) / Math.sqrt(dot(vector, vector) * dot(want[i]!, want[i]!));
        expect(cosine).toBeGreaterThan(least);
      }
    },
  );
});

describe("files of other programs", () => {
  test("bert has the configuration, tokens and vectors of heddle's own file", async () => {
    const plain = await encoderFile({ ...tiny, embedding: { pooling: "first", normalize: true } });
    const file = await asLlamaCppWrites(plain);
    await using ours = await LanguageModel.load(plain);
    await using theirs = await LanguageModel.load(file);
    expect(theirs.config).toEqual(ours.config);
    for (const asked of texts) {
      expect([...theirs.tokenizer!.encode(asked)]).toEqual([...ours.tokenizer!.encode(asked)]);
      expect([...theirs.tokenizer!.encode(asked, { allowSpecial: true })]).toEqual([
        ...ours.tokenizer!.encode(asked, { allowSpecial: true }),
      ]);
    }
    const ids = ours.tokenizer!.encode("the naïve cat");
    expect(theirs.tokenizer!.decode(ids, { skipSpecialTokens: true })).toBe("the naive cat");
    expect(await vectorsOf(file)).toEqual(await vectorsOf(plain));
    expect(JSON.parse(theirs.tokenizer!.files()["tokenizer.json"]!).model).toEqual(
      JSON.parse(ours.tokenizer!.files()["tokenizer.json"]!).model,
    );
  });

  test("modernbert has the same configuration and vectors without heddle's keys", async () => {
    const plain = await encoderFile({ ...tiny, ...modern, embedding: { pooling: "mean", normalize: true } });
    await using ours = await LanguageModel.load(plain);
    await using theirs = await LanguageModel.load(await withoutHeddleKeys(plain));
    expect(theirs.config).toEqual(ours.config);
    expect(await theirs.embed(texts)).toEqual(await ours.embed(texts));
  });

  test("nomic_bert has the configuration and vectors of heddle's own file", async () => {
    const plain = await encoderFile({
      ...tiny,
      modelType: "nomic_bert",
      embedding: { pooling: "mean", normalize: true },
    });
    const file = await asLlamaCppWrites(plain);
    await using ours = await LanguageModel.load(plain);
    await using theirs = await LanguageModel.load(file);
    expect(theirs.config).toEqual(ours.config);
    expect(await theirs.embed(texts)).toEqual(await ours.embed(texts));
  });

  test("distilbert has the configuration and vectors of heddle's own file; a reranker's head is rejected", async () => {
    const plain = await encoderFile({
      ...tiny,
      modelType: "distilbert",
      embedding: { pooling: "first", normalize: true },
    });
    const file = await asLlamaCppWrites(plain);
    const { entries, metadata, file: opened } = await openGguf(file);
    opened.close();
    expect(entries.has("token_types.weight")).toBe(false);
    expect(metadata.number("tokenizer.ggml.token_type_count")).toBe(1);
    await using ours = await LanguageModel.load(plain);
    await using theirs = await LanguageModel.load(file);
    expect(theirs.config).toEqual(ours.config);
    expect(theirs.config.modelType).toBe("distilbert");
    expect(await theirs.embed(texts)).toEqual(await ours.embed(texts));
    const ranks = await withoutHeddleKeys(file, { "bert.pooling_type": u32(4) });
    await expectError(
      () => LanguageModel.load(ranks),
      "UNSUPPORTED",
      /bert.pooling_type: rank is not supported for DistilBERT/,
    );
    const eps = await withoutHeddleKeys(file, { "bert.attention.layer_norm_epsilon": f32(1e-5) });
    await expectError(() => LanguageModel.load(eps), "INVALID_FILE", /expected 1e-12 and no value/);
  });

  test("the word markers equal those of llama.cpp's converter", async () => {
    const { metadata, file } = await openGguf(await encoderFile(tiny));
    file.close();
    const tokens = metadata.strings("tokenizer.ggml.tokens")!;
    const tokenizer = await wordPieceTokenizer();
    const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    const names = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id)!);
    expect(names.slice(0, 5)).toEqual(special);
    expect(names.filter((name) => name.startsWith("##")).length).toBeGreaterThan(20);
    const marked = (name: string) =>
      special.includes(name) ? name : name.startsWith("##") ? name.slice(2) : `▁${name}`;
    expect(tokens).toEqual(names.map(marked));
    expect([...metadata.numbers("tokenizer.ggml.token_type")!]).toEqual(
      names.map((name) => (name === "[UNK]" ? 2 : special.includes(name) ? 3 : 1)),
    );
    expect(metadata.record()).toMatchObject({
      "general.architecture": "bert",
      "bert.attention.causal": false,
      "tokenizer.ggml.model": "bert",
      "tokenizer.ggml.token_type_count": 2,
      "tokenizer.ggml.bos_token_id": 2,
      "tokenizer.ggml.seperator_token_id": 3,
      "tokenizer.ggml.unknown_token_id": 1,
      "tokenizer.ggml.padding_token_id": 0,
    });
  });

  test("fused queries, keys and values are split, also when quantized", async () => {
    for (const dtype of ["f32", "q8_0"] as const) {
      const plain = await encoderFile({}, dtype);
      const file = await fused(plain);
      expect((await openGguf(file)).entries.has("blk.0.attn_q.weight")).toBe(false);
      expect(await vectorsOf(file)).toEqual(await vectorsOf(plain));
      const back = join(temporaryFolder(), "back");
      await convertModel(file, back);
      expect(await vectorsOf(back)).toEqual(await vectorsOf(plain, { dtype: "f32" }));
    }
    const file = await fused(await encoderFile(tiny), (name) => name !== "v");
    await expectError(() => LanguageModel.load(file), "INVALID_FILE", /attn_qkv.weight": expected 96 rows .*, got 64$/);
  });

  test.each([
    [0, undefined],
    [1, "mean"],
    [2, "first"],
    [3, "last"],
  ])("pooling_type %s is read", async (number, pooling) => {
    const files = await openModelFiles(
      await asLlamaCppWrites(await encoderFile(tiny), { "bert.pooling_type": u32(number) }),
    );
    files.close();
    expect(files.config.embedding).toEqual(pooling && { pooling, normalize: true });
  });

  const whole: [string, object][] = [
    ["bert", tiny],
    ["bert", { ...tiny, modelType: "distilbert" }],
    ["nomic-bert", { ...tiny, modelType: "nomic_bert" }],
    ["modern-bert", { ...tiny, ...modern, numHiddenLayers: 2 }],
    ["bert", { ...tiny, modelType: "roberta" }],
    ["gemma-embedding", { ...tiny, modelType: "gemma3_text", headDim: 8, useBidirectionalAttention: true }],
    ["llama", { ...tiny, modelType: "llama", useBidirectionalAttention: true }],
  ];
  test.each(whole)(
    "pooling_type defaults to mean, with a note, if the model does not specify it: %s",
    async (arch, config) => {
      const tokenizer = /gemma|llama/.test(arch) ? await Tokenizer.train(texts, { vocabSize: 300 }) : undefined;
      const folder = await encoderFolder(config, tokenizer);
      const file = join(temporaryFolder(), "x.gguf");
      const note = "pooling_type: set to mean, because the model does not specify a pooling";
      expect((await convertModel(folder, file)).notes).toContain(note);
      expect((await openGguf(file)).metadata.number(`${arch}.pooling_type`)).toBe(1);
      await using original = await LanguageModel.load(folder);
      await using loaded = await LanguageModel.load(file);
      expect(await loaded.embed("The cat saw the sea.")).toEqual(await original.embed("The cat saw the sea."));
      // The conversion adds pooling_type to a foreign file without it.
      const unsaid = await withoutHeddleKeys(file, { [`${arch}.pooling_type`]: undefined });
      const again = join(temporaryFolder(), "again.gguf");
      expect((await convertModel(unsaid, again)).notes).toContain(note);
      expect((await openGguf(again)).metadata.number(`${arch}.pooling_type`)).toBe(1);
      expect((await convertModel(again, join(temporaryFolder(), "third.gguf"))).notes ?? []).not.toContain(note);
    },
  );

  test("pooling_type is omitted for a decoder that generates", async () => {
    const file = join(temporaryFolder(), "x.gguf");
    const config = { ...tiny, modelType: "llama" };
    const { notes = [] } = await convertModel(
      await encoderFolder(config, await Tokenizer.train(texts, { vocabSize: 300 })),
      file,
    );
    expect(notes).toEqual([]);
    expect((await openGguf(file)).metadata.number("llama.pooling_type")).toBeUndefined();
  });

  test("a decoder's pooling_type is read too", async () => {
    const path = join(temporaryFolder(), "decoder.gguf");
    const config = { modelType: "qwen3", headDim: 8, numKeyValueHeads: 4, ...tiny };
    const embedding = { pooling: "last", normalize: false };
    await convertModel(
      await encoderFolder({ ...config, embedding }, await Tokenizer.train(texts, { vocabSize: 300 })),
      path,
    );
    const configOf = async (file: string) => {
      const files = await openModelFiles(file);
      files.close();
      return files.config.embedding;
    };
    expect(await configOf(path)).toEqual(embedding);
    expect(await configOf(await withoutHeddleKeys(path))).toEqual({ ...embedding, normalize: true });
    const ranks = await withoutHeddleKeys(path, { "qwen3.pooling_type": u32(4) });
    await expectError(() => LanguageModel.load(ranks), "UNSUPPORTED", /qwen3.pooling_type: rank \(a reranker's head\)/);
  });

  test("a cased vocabulary keeps capitals", async () => {
    const tokenizer = await Tokenizer.train(["The The Cat cat Él él"], {
      algorithm: "wordPiece",
      vocabSize: 60,
      lowercase: false,
    });
    const plain = join(temporaryFolder(), "cased.gguf");
    await convertModel(await encoderFolder(tiny, tokenizer), plain);
    const of = async (changes: Changes) => {
      const read = await Tokenizer.load(await asLlamaCppWrites(plain, changes));
      return [...read.encode("The Él él")].map((id) => read.idToToken(id)).join(" ");
    };
    expect(await of({})).toBe("[CLS] The Él él [SEP]");
    // llama.cpp lowercases if the key is missing.
    expect(await of({ "tokenizer.ggml.normalizer.lowercase": undefined })).toMatch(/^\[CLS\] t/);
  });

  test("a folder with only vocab.txt is converted", async () => {
    const folder = await encoderFolder(tiny);
    const want = await vectorsOf(folder);
    const tokenizer = await Tokenizer.load(folder);
    rmSync(join(folder, "tokenizer.json"));
    const names = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id));
    writeFileSync(join(folder, "vocab.txt"), `${names.join("\n")}\n`);
    const path = join(temporaryFolder(), "encoder.gguf");
    await convertModel(folder, path);
    expect(await vectorsOf(path)).toEqual(want);
  });

  test("missing ids and types of the tokenizer default to those of bert-base-uncased", async () => {
    const names = Array.from({ length: 104 }, (_, i) => `[unused${i}]`);
    names.splice(100, 4, "[UNK]", "[CLS]", "[SEP]", "[MASK]");
    const record = { "tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": [...names, "▁cat", "s"] };
    const tokenizer = Tokenizer.fromGguf(record);
    expect([...tokenizer.encode("Cats dog")]).toEqual([101, 104, 105, 100, 102]);
    expect(tokenizer.decode([101, 104, 105, 102], { skipSpecialTokens: true })).toBe("cats");
    expect(tokenizer.idToToken(7)).toBe("[unused7]");
    await expectError(
      () => Tokenizer.fromGguf({ ...record, "tokenizer.ggml.tokens": ["▁a"] }),
      "INVALID_FILE",
      /tokenizer.ggml.cls_token_id: expected an id below 1, got 101/,
    );
  });
});

describe("an XLM-RoBERTa vocabulary", () => {
  test("gives SentencePiece's tokens with the special tokens around them", async () => {
    const pieces = await unigramTokenizer();
    const file = await unigramFile(convertModel);
    await using model = await LanguageModel.load(file);
    expect(model.config).toMatchObject({ modelType: "bert", typeVocabSize: 1 });
    for (const asked of texts) {
      const want = [...pieces.encode(asked)];
      const [bos, eos] = [pieces.tokenToId("<s>")!, pieces.tokenToId("</s>")!];
      const inner = want.at(-1) === eos ? want.slice(0, -1) : want;
      expect([...model.tokenizer!.encode(asked)]).toEqual([bos, ...inner, eos]);
      expect((await model.embed(asked)).every(Number.isFinite)).toBe(true);
    }
    // Converted back to a folder it is a BERT with that vocabulary.
    const back = join(temporaryFolder(), "back");
    await convertModel(file, back);
    expect(await vectorsOf(back)).toEqual(await vectorsOf(file));
  });

  test("rejects broken keys", async () => {
    const record = Object.fromEntries(
      Object.entries(unigramKeys(await unigramTokenizer())).map(([key, { value }]) => [key, value]),
    );
    const of = (name: string, value: unknown) => () =>
      Tokenizer.fromGguf({ ...record, [`tokenizer.ggml.${name}`]: value });
    await expectError(of("scores", undefined), "INVALID_FILE", /tokenizer.ggml.scores: expected \d+ numbers/);
    await expectError(of("scores", [1]), "INVALID_FILE", /tokenizer.ggml.scores: expected \d+ numbers, got 1/);
    const count = (record["tokenizer.ggml.tokens"] as string[]).length;
    await expectError(of("scores", Array(count).fill(Infinity)), "INVALID_FILE", /scores: expected finite numbers/);
    await expectError(
      of("precompiled_charsmap", "x"),
      "INVALID_FILE",
      /precompiled_charsmap: expected an array of bytes/,
    );
    await expectError(of("precompiled_charsmap", new Uint8Array(5)), "INVALID_FILE", /charsmap/);
    await expectError(of("add_space_prefix", 1), "INVALID_FILE", /add_space_prefix: expected true or false/);
  });

  test("missing keys have the same defaults as in llama.cpp", async () => {
    const record = Object.fromEntries(
      Object.entries(unigramKeys(await unigramTokenizer())).map(([key, { value }]) => [key, value]),
    );
    const idsOf = (changes: Record<string, unknown>) => {
      const own = Object.entries(changes).map(([name, value]) => [`tokenizer.ggml.${name}`, value]);
      const tokenizer = Tokenizer.fromGguf({ ...record, ...Object.fromEntries(own) });
      return [...texts, " two  blanks "].map((text) => [...tokenizer.encode(text)]);
    };
    const defaults = {
      add_space_prefix: false,
      remove_extra_whitespaces: false,
      unknown_token_id: record["tokenizer.ggml.unknown_token_id"], // found by its token type
      add_eos_token: true,
    };
    for (const [name, value] of Object.entries(defaults))
      expect(idsOf({ [name]: undefined }), name).toEqual(idsOf({ [name]: value }));
    for (const [name, value] of [
      ["add_space_prefix", true],
      ["remove_extra_whitespaces", true],
      ["add_eos_token", false],
    ] as const)
      expect(idsOf({ [name]: undefined }), name).not.toEqual(idsOf({ [name]: value }));
  });
});

/** Fuses attn_q, attn_k and attn_v of each layer into one tensor, as the converter's --fuse-qkv does. */
async function fused(path: string, takes: (part: string) => boolean = () => true): Promise<string> {
  const { metadata, file } = await openGguf(path);
  file.close();
  const all = await tensorsOf(path);
  const tensors = all.flatMap((tensor): TensorData[] => {
    const match = /^(blk\.\d+\.attn_)([qkv])(\.(?:weight|bias))$/.exec(tensor.name);
    if (!match) return [tensor];
    if (match[2] !== "q") return [];
    const parts = ["q", "k", "v"]
      .filter(takes)
      .map((part) => all.find(({ name }) => name === `${match[1]}${part}${match[3]}`)!);
    const bytes = Buffer.concat(parts.map((part) => part.bytes as Uint8Array));
    const shape = [parts.reduce((rows, part) => rows + part.shape[0]!, 0), ...tensor.shape.slice(1)];
    return [{ ...tensor, name: `${match[1]}qkv${match[3]}`, shape, bytes }];
  });
  const target = join(temporaryFolder(), "fused.gguf");
  await writeGguf(target, { metadata: metadata.values, tensors });
  return target;
}
