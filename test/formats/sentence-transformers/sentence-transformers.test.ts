// sentence-transformers folders: pooling modes, layers after pooling, saving and conversion.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import type { EmbeddingConfig, PoolingMode } from "../../../lib/formats/config/config.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { expectError, temporaryFolder } from "../helpers.ts";
import { saveWeights } from "../write-weights.ts";
import {
  close,
  f32,
  foreignFolder,
  json,
  MODES,
  module,
  newModel,
  numbers,
  pooledBy,
  read,
  statesOf,
  texts,
  WIDTH,
  wantedOf,
} from "./embedding-folders.ts";

describe("pooling", () => {
  test.each(["bert", "llama"] as const)("supports every mode, alone and concatenated, for %s", async (modelType) => {
    await using model = newModel(modelType);
    for (const pooling of [...MODES, ["first", "mean"], [...MODES]] as (PoolingMode | PoolingMode[])[]) {
      const together = await model.embed(texts, { pooling, normalize: false });
      for (const [i, text] of texts.entries()) {
        const states = await statesOf(model, text);
        close(
          together[i]!,
          [pooling].flat().flatMap((mode) => pooledBy(mode, states)),
        );
        close(await model.embed(text, { pooling, normalize: false }), [...together[i]!]);
      }
    }
  });

  test("reads both layouts of Pooling files, and rejects unknown and empty modes", async () => {
    const folder = temporaryFolder();
    await using model = newModel("bert", { pooling: ["first", "max", "weighted_mean"], includePrompt: false });
    await model.save(folder);
    expect(read(folder, "1_Pooling/config.json")).toEqual({
      word_embedding_dimension: WIDTH,
      pooling_mode_cls_token: true,
      pooling_mode_max_tokens: true,
      pooling_mode_mean_tokens: false,
      pooling_mode_mean_sqrt_len_tokens: false,
      pooling_mode_weightedmean_tokens: true,
      pooling_mode_lasttoken: false,
      include_prompt: false,
    });
    await using loaded = await LanguageModel.load(folder);
    expect(loaded.config.embedding).toEqual(model.config.embedding);
    close(await loaded.embed(texts[0]!), [...(await model.embed(texts[0]!))]);
    for (const [named, pooling] of [
      ["lasttoken", "last"],
      [
        ["mean", "cls"],
        ["mean", "first"],
      ],
    ] as const) {
      json(folder, "1_Pooling/config.json", { embedding_dimension: WIDTH, pooling_mode: named });
      await using other = await LanguageModel.load(folder);
      expect(other.config.embedding).toEqual({ pooling, normalize: true });
    }
    await expectError(
      () => model.embed("a", { pooling: ["mean", "cls"] as never }),
      "INVALID_ARGUMENT",
      /expected first/,
    );
    await expectError(() => model.embed("a", { pooling: [] }), "INVALID_ARGUMENT", /pooling: expected one of/);
  });

  test("stores a non-default order of modes as a list, and rejects duplicate modes", async () => {
    const [folder, copy] = [temporaryFolder(), temporaryFolder()];
    const pooling: PoolingMode[] = ["weighted_mean", "mean", "first"];
    await using model = newModel("bert", { pooling, normalize: false });
    const states = await statesOf(model, texts[0]!);
    const wanted = pooling.flatMap((mode) => pooledBy(mode, states));
    await model.save(folder);
    await convertModel(folder, copy, { to: "safetensors" });
    for (const path of [folder, copy]) {
      expect(read(path, "1_Pooling/config.json")).toEqual({
        embedding_dimension: WIDTH,
        pooling_mode: ["weightedmean", "mean", "cls"],
        include_prompt: true,
      });
      await using loaded = await LanguageModel.load(path);
      expect(loaded.config.embedding).toEqual({ pooling, normalize: false });
      close(await loaded.embed(texts[0]!), wanted);
    }
    const gguf = join(temporaryFolder(), "m.gguf");
    await expectError(
      () => convertModel(folder, gguf),
      "UNSUPPORTED",
      /pooling weighted_mean,mean,first cannot be stored/,
    );

    const twice = ["mean", "first", "mean"] as PoolingMode[];
    const once = /pooling: expected distinct modes, got /;
    expect(() => newModel("bert", { pooling: twice })).toThrow(once);
    await expectError(() => model.embed("a", { pooling: twice }), "INVALID_ARGUMENT", once);
    json(folder, "1_Pooling/config.json", { pooling_mode: ["mean", "cls", "mean"] });
    const said = /pooling_mode: expected distinct modes, got mean, cls, mean/;
    await expectError(() => LanguageModel.load(folder), "UNSUPPORTED", said);
  });
});

describe("folders with layers after pooling", () => {
  test("are loaded, computed, saved and converted", async () => {
    const folder = await foreignFolder();
    await using model = await LanguageModel.load(folder);
    expect(model.config.embedding).toEqual({
      pooling: ["first", "mean"],
      normalize: true,
      layers: [
        { type: "dense", outFeatures: 10, bias: true, activation: "tanh" },
        { type: "layer_norm" },
        { type: "dense", outFeatures: 6, bias: false, activation: "identity" },
      ],
    });
    const vectors = await model.embed(texts);
    for (const [i, text] of texts.entries()) close(vectors[i]!, await wantedOf(model, text), 2e-5);

    const [saved, converted] = [temporaryFolder(), temporaryFolder()];
    await model.save(saved);
    await convertModel(folder, converted, { to: "safetensors" });
    for (const copy of [saved, converted]) {
      expect(read(copy, "modules.json").map(({ path }: { path: string }) => path)).toEqual([
        ...["", "1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense", "5_Normalize"],
      ]);
      for (const [file, more] of [
        ["2_Dense", { out_features: 10, activation_function: "torch.nn.modules.activation.Tanh" }],
        ["3_LayerNorm", { dimension: 10 }],
        ["4_Dense", { in_features: 10, bias: false }],
      ] as const)
        expect(read(copy, `${file}/config.json`)).toMatchObject(more);
      const inner = await openWeights(join(copy, "2_Dense"));
      expect(inner.names().sort()).toEqual(["linear.bias", "linear.weight"]);
      inner.close();
      const trunk = await openWeights(copy);
      expect(trunk.names().filter((name) => name.includes("embedding_layers"))).toEqual([]);
      trunk.close();
      await using again = await LanguageModel.load(copy);
      for (const [i, vector] of (await again.embed(texts)).entries()) close(vector, [...vectors[i]!], 1e-6);
    }
    const refused = /embedding: a layer after pooling \(dense, layer_norm, dense\) cannot be stored in GGUF/;
    await expectError(() => convertModel(folder, join(temporaryFolder(), "m.gguf")), "UNSUPPORTED", refused);
  });

  test("give nearly the same vector when loaded as bf16, and reject a pooling other than their own", async () => {
    const folder = await foreignFolder();
    await using model = await LanguageModel.load(folder);
    const plain = await model.embed(texts[0]!);
    await using narrow = await LanguageModel.load(folder, { dtype: "bf16" });
    expect(narrow.model.weight("bert.embeddings.word_embeddings.weight").dtype).toBe("bf16");
    const vector = await narrow.embed(texts[0]!);
    expect(vector).not.toEqual(plain);
    expect(vector.reduce((n, v, i) => n + v * plain[i]!, 0)).toBeGreaterThan(0.999);
    await expectError(
      () => model.embed(texts[0]!, { pooling: "mean" }),
      "INVALID_ARGUMENT",
      /pooling: expected first,mean, which the model's layers read, got "mean"/,
    );
    expect(() => model.model.setEmbedding({ pooling: "mean", normalize: true })).toThrow(/embedding.layers: expected/);
    const { layers: own } = model.config.embedding!;
    expect(() => model.model.setEmbedding({ pooling: "mean", normalize: true, layers: own })).toThrow(
      /a pooling that fits their input width/,
    );
    model.model.setEmbedding({ ...model.config.embedding!, normalize: false });
    expect(Math.hypot(...(await model.embed(texts[0]!)))).not.toBeCloseTo(1, 3);
  });

  test.each<[string, (folder: string) => void, string, RegExp]>([
    [
      "PyTorch weights of a Dense layer",
      (folder) => {
        rmSync(join(folder, "2_Dense/model.safetensors"));
        writeFileSync(join(folder, "2_Dense/pytorch_model.bin"), "x");
      },
      "UNSUPPORTED",
      /2_Dense: expected safetensors or GGUF weights, got pytorch_model.bin/,
    ],
    [
      "a Dense layer of another width",
      (folder) => json(folder, "2_Dense/config.json", { ...read(folder, "2_Dense/config.json"), in_features: WIDTH }),
      "INVALID_FILE",
      /in_features: expected 32, got 16/,
    ],
    [
      "an unknown activation",
      (folder) =>
        json(folder, "2_Dense/config.json", {
          ...read(folder, "2_Dense/config.json"),
          activation_function: "torch.nn.Mish",
        }),
      "UNSUPPORTED",
      /activation_function: expected one of torch.nn.modules.linear.Identity, .*, got "torch.nn.Mish"/,
    ],
    [
      "an invalid number of outputs",
      (folder) => json(folder, "2_Dense/config.json", { ...read(folder, "2_Dense/config.json"), out_features: 1e12 }),
      "INVALID_FILE",
      /out_features: expected a whole number from 1 to 1048576, got 1000000000000/,
    ],
    [
      "a LayerNorm of another width",
      (folder) => json(folder, "3_LayerNorm/config.json", { dimension: 9 }),
      "INVALID_FILE",
      /dimension: expected 10, got 9/,
    ],
    [
      "a Dense layer over token embeddings",
      (folder) =>
        json(folder, "2_Dense/config.json", {
          ...read(folder, "2_Dense/config.json"),
          module_input_name: "token_embeddings",
        }),
      "UNSUPPORTED",
      /module_input_name: expected sentence_embedding, got "token_embeddings"/,
    ],
    [
      "a Dense layer with a residual connection",
      (folder) => json(folder, "2_Dense/config.json", { ...read(folder, "2_Dense/config.json"), use_residual: true }),
      "UNSUPPORTED",
      /2_Dense.config.json: use_residual: expected false, got true/,
    ],
    [
      "a Pooling layer without a mode",
      (folder) => json(folder, "1_Pooling/config.json", { pooling_mode_mean_tokens: false }),
      "UNSUPPORTED",
      /expected one or more of pooling_mode_cls_token, .*, got none$/,
    ],
    [
      "an empty list of modules",
      (folder) => json(folder, "modules.json", []),
      "INVALID_FILE",
      /a Transformer first, got no modules/,
    ],
    [
      "a missing Transformer",
      (folder) => json(folder, "modules.json", read(folder, "modules.json").slice(1)),
      "INVALID_FILE",
      /a Transformer first, got Pooling/,
    ],
    [
      "dense layers without Pooling",
      (folder) => {
        const [transformer, , ...others] = read(folder, "modules.json");
        json(folder, "modules.json", [transformer, ...others]);
      },
      "UNSUPPORTED",
      /modules.json: expected Pooling before Dense, got none/,
    ],
    [
      "a prompt named __proto__",
      (folder) =>
        writeFileSync(join(folder, "config_sentence_transformers.json"), '{"prompts": {"a": "b", "__proto__": "c"}}'),
      "UNSUPPORTED",
      /prompts: expected names other than "__proto__"/,
    ],
    [
      "Normalize before a layer",
      (folder) => {
        const modules = read(folder, "modules.json");
        json(folder, "modules.json", [...modules.slice(0, 2), modules[5], ...modules.slice(2, 5)]);
      },
      "UNSUPPORTED",
      /in this order, got Transformer, Pooling, Normalize, Dense/,
    ],
    [
      "a layer without its weights",
      (folder) => rmSync(join(folder, "4_Dense/model.safetensors")),
      "NOT_FOUND",
      /4_Dense: expected model.safetensors/,
    ],
    [
      "too many modules",
      (folder) => json(folder, "modules.json", Array(40).fill(module("Dense", "2_Dense", 2))),
      "UNSUPPORTED",
      /expected at most 19 modules, got 40/,
    ],
    [
      "a layer whose path is a parent folder",
      (folder) => {
        const modules = read(folder, "modules.json");
        modules[2].path = "..";
        json(folder, "modules.json", modules);
      },
      "INVALID_FILE",
      /path: expected a folder's name, got "\.\."/,
    ],
  ])("are rejected with %s", async (_, change, code, message) => {
    const folder = await foreignFolder();
    change(folder);
    await expectError(() => LanguageModel.load(folder), code as never, message);
  });

  test("are rejected if the weights of a Dense have another shape than its configuration, or another name", async () => {
    const folder = await foreignFolder();
    await saveWeights(join(folder, "4_Dense"), [f32("linear.weight", [5, 10], numbers(50, 1))]);
    const wrong = /embedding_layers.2.weight: expected \(6, 10\) by the configuration, got \(5, 10\)/;
    await expectError(() => LanguageModel.load(folder), "INVALID_FILE", wrong);
    await saveWeights(join(folder, "4_Dense"), [f32("other.weight", [6, 10], numbers(60, 1))]);
    await expectError(() => LanguageModel.load(folder), "INVALID_FILE", /expected linear.weight and linear.bias, got/);
  });
});

test("a folder without Pooling is a plain model, so a CrossEncoder stays a classifier", async () => {
  const folder = temporaryFolder();
  await using plain = newModel("bert");
  await plain.save(folder);
  const vector = [...(await plain.embed(texts[0]!))];
  await plain.model.addClassifier({ task: "sequence", labels: ["relevance"], problemType: "regression" });
  const ranking = temporaryFolder();
  await plain.save(ranking);
  for (const path of [folder, ranking]) {
    const type = "sentence_transformers.base.modules.transformer.Transformer";
    json(path, "modules.json", [{ idx: 0, name: "0", path: "", type }]);
    json(path, "sentence_bert_config.json", { transformer_task: "sequence-classification", max_seq_length: 12 });
    json(path, "config_sentence_transformers.json", { model_type: "CrossEncoder", prompts: {} });
    await using model = await LanguageModel.load(path);
    expect(model.config.embedding).toBeUndefined();
    close(await model.embed(texts[0]!), vector);
    const [saved, converted] = [temporaryFolder(), temporaryFolder()];
    await model.save(saved);
    await convertModel(path, converted, { to: "safetensors" });
    for (const copy of [saved, converted]) expect(existsSync(join(copy, "1_Pooling"))).toBe(false);
    await using again = await LanguageModel.load(saved);
    expect(again.config.embedding).toBeUndefined();
    expect(again.config.classifier).toEqual(model.config.classifier);
  }
});

test("a classifier keeps the order of its pooling modes in GGUF, which rejects layers after pooling", async () => {
  const ranker = async (embedding: Partial<EmbeddingConfig>) => {
    const folder = temporaryFolder();
    await using model = newModel("bert", embedding);
    await model.model.addClassifier({ task: "sequence", labels: ["a", "b"], pooling: "first" });
    await model.save(folder);
    return folder;
  };
  const pooling: PoolingMode[] = ["mean", "first"];
  const file = join(temporaryFolder(), "m.gguf");
  await convertModel(await ranker({ pooling }), file);
  await using loaded = await LanguageModel.load(file);
  expect(loaded.config.embedding).toEqual({ pooling, normalize: true });
  const layered = await ranker({ layers: [{ type: "layer_norm" }] });
  const refused = /embedding: a layer after pooling \(layer_norm\) cannot be stored in GGUF/;
  await expectError(() => convertModel(layered, join(temporaryFolder(), "m.gguf")), "UNSUPPORTED", refused);
});

test("equivalent settings are normalized: activation names, null prompts, oversized dimensions", async () => {
  const folder = await foreignFolder();
  for (const [file, activation_function] of [
    ["2_Dense", "torch.nn.Tanh"],
    ["4_Dense", "torch.nn.Identity"],
  ] as const)
    json(folder, `${file}/config.json`, { ...read(folder, `${file}/config.json`), activation_function });
  json(folder, "config_sentence_transformers.json", { prompts: { query: null, other: "a" }, truncate_dim: 7 });
  await using model = await LanguageModel.load(folder);
  expect(model.config.embedding?.prompts).toEqual({ query: "", other: "a" });
  expect(model.config.embedding?.truncateDim).toBeUndefined();
  close(await model.embed(texts[0]!, { promptName: "query" }), await wantedOf(model, texts[0]!), 2e-5);
});

test("configuration errors name the field", async () => {
  const refused = (embedding: object, message: RegExp) => expect(() => newModel("bert", embedding)).toThrow(message);
  refused({ layers: [{ type: "conv" }] }, /embedding.layers.0.type: expected dense or layer_norm, got "conv"/);
  refused({ layers: [7] }, /embedding.layers.0: expected an object, got 7/);
  const prompts = JSON.parse('{"a": "b", "__proto__": "c"}');
  refused({ prompts }, /embedding.prompts: expected names other than "__proto__", got /);
  refused({ prompts: { a: 7 } }, /embedding.prompts.a: expected a text, got 7/);
});

test("loads the oldest layout, with the Transformer in a subfolder", async () => {
  const folder = await foreignFolder();
  await using model = await LanguageModel.load(folder);
  const modules = read(folder, "modules.json");
  mkdirSync(join(folder, "0_BERT"));
  for (const name of ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
    renameSync(join(folder, name), join(folder, "0_BERT", name));
  json(folder, "modules.json", [{ ...modules[0], path: "0_BERT" }, ...modules.slice(1)]);
  json(folder, "config.json", { __version__: "0.3.8" });
  json(folder, "0_BERT/sentence_distilbert_config.json", { max_seq_length: 12 });
  await using old = await LanguageModel.load(folder);
  expect(old.config.embedding?.maxSeqLength).toBe(12);
  close(await old.embed(texts[0]!), [...(await model.embed(texts[0]!))], 1e-6);
  const copy = temporaryFolder();
  await convertModel(folder, copy, { to: "safetensors" });
  await using converted = await LanguageModel.load(copy);
  close(await converted.embed(texts[0]!), [...(await model.embed(texts[0]!))], 1e-6);
});
