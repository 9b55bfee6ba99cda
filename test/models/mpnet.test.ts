// MPNet: relative position biases against a reference, texts of any length, configuration, files and tokenizer.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { attention, compile, input, openDevice, profile, Tensor, tensor } from "../../lib/graph/index.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { createModel, LanguageModel } from "../../lib/language-model/index.ts";
import type { ForwardContext } from "../../lib/nn/context.ts";
import { bucketOf, placesFor, relativeAttention, relativeConstants } from "../../lib/nn/relative-bias.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { trainEmbedding } from "../../lib/train/stages/embed.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { writeFamily } from "../golden/families.ts";
import { goldens, maxError, trunkOf } from "./encoder-goldens.ts";

const golden = goldens.find(({ name }) => name === "mpnet")!;
const { architectures: _, ...config } = golden.config;

test("maps every distance between tokens to its bucket", () => {
  expect(golden.buckets!.length).toBe(1201);
  expect(golden.buckets!.map((_, i) => bucketOf(i - 600))).toEqual(golden.buckets);
});

const numbers = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.sin(seed + i * 1.7));

test("attention with biases equals the formula for documents of any length", async () => {
  const lengths = [150, 3, 70];
  const rows = lengths.reduce((a, b) => a + b);
  const [heads, headDim, first, positions] = [3, 8, 2, 200];
  const at = lengths.flatMap((n, d) => Array.from({ length: n }, (_, i) => ({ document: d, place: i })));
  const [q, k, v] = [1, 2, 3].map((seed) => numbers(rows * heads * headDim, seed)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const table = numbers(32 * heads, 4).map((x) => 3 * x);
  const wanted = at.flatMap(({ document, place }, i) =>
    Array.from({ length: heads }, (_, h) => {
      const row = (x: Float32Array, r: number) => x.subarray((r * heads + h) * headDim, (r * heads + h + 1) * headDim);
      const seen = at.flatMap((other, j) => (other.document === document ? [j] : []));
      const weights = seen.map((j) => {
        const product = row(q, i).reduce((n, x, c) => n + x * row(k, j)[c]!, 0);
        return Math.exp(product / Math.sqrt(headDim) + table[bucketOf(at[j]!.place - place) * heads + h]!);
      });
      const all = weights.reduce((a, b) => a + b);
      return Array.from({ length: headDim }, (_, c) =>
        seen.reduce((n, j, s) => n + (weights[s]! / all) * row(v, j)[c]!, 0),
      );
    }).flat(),
  );
  const device = openDevice();
  const constants = relativeConstants(positions, heads);
  // `longest` bounds the documents' lengths. If it is undefined, a document may be as long as the number of positions.
  for (const longest of [150, undefined]) {
    const program = compile(() => {
      const documents = input("documents", "i32", [rows]);
      const context = {
        positions: input("positions", "i32", [rows]),
        dtype: "f32",
        longest,
        weight: (name) => tensor(name, "f32", [32, heads]),
        constant: (name) => tensor(name, "f32", [constants.get(name)!.length]),
        attend: (_layer, operands, options) => attention({ ...operands, documents }, options),
      } as Partial<ForwardContext> as ForwardContext;
      const attend = relativeAttention(context, { name: "bias", first, positions }, { heads, headDim });
      const operand = (name: string) => input(name, "f32", [rows, heads, headDim]);
      return { o: attend(0, { q: operand("q"), k: operand("k"), v: operand("v") }) };
    });
    const tensors = new Map<string, Tensor>();
    for (const [name, x] of constants) tensors.set(name, await Tensor.from(device, "f32", [x.length], x));
    tensors.set("bias.weight", await Tensor.from(device, "f32", [32, heads], table));
    const executable = program.bind(device, tensors);
    const inputs = {
      positions: Int32Array.from(at, ({ place }) => first + place),
      documents: Int32Array.from(at, ({ document }) => document),
      ...{ q, k, v },
    };
    const { o } = await executable.run(inputs);
    expect(maxError(o as Float32Array, wanted)).toBeLessThan(1e-5);
    executable.dispose();
  }
});

test("attention over 512 tokens of the base model needs as much memory for 24 layers as for 12", () => {
  const [rows, heads, headDim, positions] = [512, 12, 64, 512];
  const constants = relativeConstants(positions, heads);
  const bytesOf = (layers: number) =>
    compile(() => {
      const documents = input("documents", "i32", [rows]);
      const context = {
        positions: input("positions", "i32", [rows]),
        dtype: "f32",
        longest: rows,
        weight: (name) => tensor(name, "f32", [32, heads]),
        constant: (name) => tensor(name, "f32", [constants.get(name)!.length]),
        attend: (_layer, operands, options) => attention({ ...operands, documents }, options),
      } as Partial<ForwardContext> as ForwardContext;
      const attend = relativeAttention(context, { name: "bias", first: 2, positions }, { heads, headDim });
      let x = input("x", "f32", [rows, heads, headDim]);
      for (let layer = 0; layer < layers; layer++) x = attend(layer, { q: x, k: x, v: x });
      return { x };
    }).arenaBytes;
  // The bytes of one operand or output of attention, which has 64 + 512 values per token and head. All layers use the same memory for them.
  const wide = 4 * rows * heads * (headDim + 512);
  expect(bytesOf(12)).toBeLessThan(8 * wide);
  expect(bytesOf(24)).toBe(bytesOf(12));
});

test("each length of up to 512 tokens is rounded up to one of ten program sizes", () => {
  const sizes = new Set<number>();
  for (let length = 1; length <= 512; length++) {
    expect(placesFor(length)).toBeGreaterThanOrEqual(length);
    sizes.add(placesFor(length));
  }
  expect(sizes.size).toBe(10);
});

test("texts give the same vectors alone and in a batch, and a text of 512 tokens adds 512 dimensions to each head", async () => {
  const sizes = { hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 4, maxPositionEmbeddings: 512 };
  await using model = createModel({ modelType: "mpnet", vocabSize: 64, initializerRange: 0.3, ...sizes }, { seed: 5 });
  const texts = [512, 5, 130, 17].map((length, t) => Array.from({ length }, (_, i) => (i * 7 + t) % 64));
  const contextLength = 512;
  const of = (some: number[][]) => pooledOutputs(model.model, some, { pooling: "all", contextLength });
  const together = await of(texts);
  for (const [t, text] of texts.entries()) {
    const [alone] = await of([text]);
    expect(maxError(alone!, [...together[t]!])).toBeLessThan(2e-5 * Math.max(...alone!));
  }
  // The vector depends on the order of the tokens.
  const [forwards, backwards] = await model.embed([texts[2]!, [...texts[2]!].reverse()]);
  expect(maxError(forwards!, [...backwards!])).toBeGreaterThan(1e-3);
  const { profile: taken } = await profile(() => model.embed(texts[0]!));
  const [attended] = taken.operations.filter(({ op }) => op === "attention");
  expect(attended!.inputs[0]!.shape).toEqual([512, 4, 16 + 512]);
  await expectError(() => model.embed([...texts[0]!, 1]), "CONTEXT_OVERFLOW", /expected at most 512 tokens/);
});

test("positions start at 2 for any padding id, so max_position_embeddings in config.json is the maximum number of tokens plus 2", async () => {
  expect(parseModelConfig({ ...config, pad_token_id: 0 }, "config.json")).toMatchObject({
    maxPositionEmbeddings: 48,
    padTokenId: 0,
  });
  const { pad_token_id: __, max_position_embeddings: ___, layer_norm_eps: ____, ...less } = config;
  expect(parseModelConfig(less, "config.json")).toMatchObject({
    maxPositionEmbeddings: 510,
    padTokenId: 1,
    layerNormEpsilon: 1e-12,
  });
  await using model = await LanguageModel.load(await writeFamily(trunkOf(golden), temporaryFolder()));
  const saved = temporaryFolder();
  await model.save(saved);
  expect(JSON.parse(readFileSync(join(saved, "config.json"), "utf8"))).toMatchObject({
    model_type: "mpnet",
    architectures: ["MPNetModel"],
    max_position_embeddings: 50,
    relative_attention_num_buckets: 32,
  });
  const refused = (more: object) => () => parseModelConfig({ ...config, ...more }, "config.json");
  await expectError(
    refused({ relative_attention_num_buckets: 64 }),
    "UNSUPPORTED",
    /relative_attention_num_buckets: 64/,
  );
  await expectError(refused({ max_position_embeddings: 2 }), "INVALID_FILE", /expected more than 2, got 2/);
  await expectError(refused({ max_position_embeddings: 2 ** 30 }), "INVALID_FILE", /expected at most 8192 tokens/);
});

const words = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>", "cat", "##s", "sat", "on", "the", ",", "e"];
/** A tokenizer.json like those published for MPNet. */
const tokenizerJson = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map((content) => ({
    id: words.indexOf(content),
    content,
    single_word: false,
    lstrip: content === "<mask>",
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: {
    type: "BertNormalizer",
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: {
    type: "RobertaProcessing",
    sep: ["</s>", 2],
    cls: ["<s>", 0],
    trim_offsets: true,
    add_prefix_space: false,
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(words.map((word, i) => [word, i])),
  },
};

test("loads MPNet's tokenizer.json", () => {
  const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(tokenizerJson) });
  const tokens = (ids: ArrayLike<number>) => Array.from(ids, (id) => words[id]);
  expect(tokens(tokenizer.encode("Cats sat, on THE é dog"))).toEqual([
    "<s>",
    "cat",
    "##s",
    "sat",
    ",",
    "on",
    "the",
    "e",
    "[UNK]",
    "</s>",
  ]);
  expect(tokens(tokenizer.encodePair("cat", "sat").ids)).toEqual(["<s>", "cat", "</s>", "</s>", "sat", "</s>"]);
});

test("MPNet trains as an embedder, also in bf16, and gives the same vectors after saving", async () => {
  const texts = ["cats", "sat", "the", "on", "e", "cat"];
  const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(tokenizerJson) });
  const sizes = { hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, maxPositionEmbeddings: 24 };
  for (const dtype of ["f32", "bf16"] as const) {
    await using model = createModel({ modelType: "mpnet", initializerRange: 0.1, ...sizes }, { tokenizer, seed: 3 });
    const before = await model.model.weight("mpnet.encoder.relative_attention_bias.weight").toFloat32();
    const outputDir = temporaryFolder();
    const data = texts.map((text, i) => ({ anchor: text, positive: `${text} ${texts[(i + 1) % 6]}` }));
    const { loss } = await trainEmbedding(model, {
      ...{ data, dtype, outputDir, maxSteps: 40, perDeviceTrainBatchSize: 6, learningRate: 5e-3, seed: 1 },
    });
    expect(loss).toBeLessThan(0.5);
    const after = await model.model.weight("mpnet.encoder.relative_attention_bias.weight").toFloat32();
    expect(maxError(after, [...before])).toBeGreaterThan(1e-3);
    await using saved = await LanguageModel.load(outputDir);
    // With bf16, the weights are saved in bf16.
    const bound = dtype === "f32" ? 1e-6 : 1e-2;
    expect(maxError(await saved.embed("cats sat"), [...(await model.embed("cats sat"))])).toBeLessThan(bound);
  }
});
