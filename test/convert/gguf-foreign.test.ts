// GGUF files of other programs. Keys that affect the computation are applied, or rejected with an error that names them.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { tinyModel } from "../inference/helpers.ts";
import { f32, flag, flags, i32s, ropeFreqs, text, u32, withoutHeddleKeys, withTensors } from "./foreign-gguf.ts";

type Changes = Record<string, GgufValue | undefined>;

async function fileOf(config: object): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  await using model = tinyModel({}, { numHiddenLayers: 5, ...config });
  await model.save(folder);
  const path = join(temporaryFolder(), "model.gguf");
  await convertModel(folder, path);
  return path;
}

async function configOf(config: object, changes: Changes, added: Parameters<typeof withoutHeddleKeys>[2] = []) {
  const files = await openModelFiles(await withoutHeddleKeys(await fileOf(config), changes, added));
  files.close();
  return files.config;
}

/** Encodes layer types: s for sliding, f for full attention. */
const kinds = (types: readonly string[]) => types.map((type) => type[0]).join("");

describe("sliding windows", () => {
  const olmo = (pattern?: GgufValue): Changes => ({
    "olmo2.attention.sliding_window": u32(20),
    "olmo2.attention.sliding_window_pattern": pattern,
  });
  const gemma3 = { modelType: "gemma3_text", headDim: 8, slidingWindow: 20 };
  const pattern = "gemma3.attention.sliding_window_pattern";
  test.each<[string, object, Changes, string]>([
    ["olmo2 with a window, which is OLMo 3", { modelType: "olmo2" }, olmo(), "olmo3 20 sssfs"],
    ["one flag per layer", { modelType: "olmo2" }, olmo(flags(false, true, true, false, false)), "olmo3 20 fssff"],
    ["one number per layer", { modelType: "olmo2" }, olmo(i32s(1, 1, 0, 0, 1)), "olmo3 20 ssffs"],
    ["olmo2 without a window", { modelType: "olmo2" }, {}, "olmo2 null fffff"],
    ["gemma 3, with full attention in every third layer", gemma3, { [pattern]: u32(3) }, "gemma3_text 20 ssfss"],
    ["gemma 3, no layer slides", gemma3, { [pattern]: u32(1) }, "gemma3_text 20 fffff"],
    ["gemma 3, all layers slide", gemma3, { [pattern]: u32(0) }, "gemma3_text 20 sssss"],
    [
      "gemma 2 without a window key, which means 4096",
      { modelType: "gemma2", headDim: 8 },
      { "gemma2.attention.sliding_window": undefined },
      "gemma2 4096 sfsfs",
    ],
  ])("are read: %s", async (_name, config, changes, wanted) => {
    const { modelType, slidingWindow, layerTypes } = await configOf(config, changes);
    expect(`${modelType} ${slidingWindow} ${kinds(layerTypes)}`).toBe(wanted);
  });

  test.each<[string, GgufValue, RegExp]>([
    ["a flag for too few layers", flags(true), /pattern: expected a flag for each of 5 layers, got 1$/],
    ["a fractional period", f32(0.5), /pattern: expected a whole number of layers, got 0.5$/],
    ["a string", text("3"), /pattern: expected a number, got string$/],
    [
      "an array of strings",
      { type: "array", of: "string", value: ["1"] },
      /pattern: expected an array of numbers, got an array of string$/,
    ],
  ])("are rejected: %s", async (_name, value, message) => {
    await expectError(() => configOf(gemma3, { [pattern]: value }), "INVALID_FILE", message);
  });
});

describe("bidirectional attention of a decoder", () => {
  const gemma = { modelType: "gemma3_text", headDim: 8, slidingWindow: 20, useBidirectionalAttention: true };

  test("is read from attention.causal, and rejected for olmo2 and for models with sliding windows", async () => {
    const key = "llama.attention.causal";
    expect((await configOf({}, { [key]: flag(false) })).useBidirectionalAttention).toBe(true);
    expect((await configOf({}, { [key]: flag(true) })).useBidirectionalAttention).toBeUndefined();
    const refused = (config: object, changes: Changes, message: RegExp) =>
      expectError(() => configOf(config, changes), "UNSUPPORTED", message);
    await refused(
      { modelType: "olmo2" },
      { "olmo2.attention.causal": flag(false) },
      /olmo2.attention.causal: bidirectional attention/,
    );
    // GGUF does not say how sliding windows apply to bidirectional attention.
    const { useBidirectionalAttention: _, ...causal } = gemma;
    await refused(
      causal,
      { "gemma3.attention.causal": flag(false) },
      /gemma3.attention.causal: bidirectional attention/,
    );
    const windows = { [key]: flag(false), "llama.attention.sliding_window": u32(8) };
    await refused({}, windows, /slidingWindow: 8 with bidirectional attention is not supported for mistral/);
  });

  test("is implied by EmbeddingGemma's architecture, with and without dense layers", async () => {
    const embedding = { pooling: "mean", normalize: true } as const;
    const none = { "gemma-embedding.attention.causal": undefined };
    const bare = await configOf({ ...gemma, embedding }, none);
    expect(bare).toMatchObject({ modelType: "gemma3_text", useBidirectionalAttention: true, embedding });
    expect(kinds(bare.layerTypes)).toBe("sssss");
    const [width, inner] = [bare.hiddenSize, 24];
    const matrix = (rows: number, columns: number) => ({
      shape: [rows, columns],
      bytes: new Uint8Array(4 * rows * columns),
    });
    const first = { name: "dense_2.weight", dtype: "f32" as const, ...matrix(inner, width) };
    const second = { name: "dense_3.weight", dtype: "f32" as const, ...matrix(width, inner) };
    const dense = (outFeatures: number) => ({ type: "dense", outFeatures, bias: false, activation: "identity" });
    const layers = [dense(inner), dense(width)];
    expect((await configOf({ ...gemma, embedding }, none, [first, second])).embedding).toEqual({
      ...embedding,
      layers,
    });
    // The first converters wrote no key for the pooling.
    const unsaid = await configOf(gemma, { "gemma-embedding.pooling_type": undefined }, [first, second]);
    expect(unsaid.embedding).toEqual({ ...embedding, layers });
    const missing = /expected dense_3.weight as well as dense_2.weight, got none/;
    await expectError(() => configOf({ ...gemma, embedding }, none, [first]), "INVALID_FILE", missing);
  });

  test("cannot be written to GGUF with dense layers that EmbeddingGemma's format lacks", async () => {
    const dense = { type: "dense", outFeatures: 24, bias: false, activation: "identity" };
    const of = (layers: object[], more: object = {}) =>
      fileOf({ ...gemma, ...more, embedding: { pooling: "mean", normalize: true, layers } });
    const message =
      /embedding: a layer after pooling \(.*\) cannot be stored in GGUF, expected no layers, or for gemma-embedding/;
    const { hiddenSize } = await configOf(gemma, {});
    const back = { ...dense, outFeatures: hiddenSize };
    await of([dense, back]);
    for (const layers of [
      [dense],
      [dense, dense],
      [dense, { ...back, bias: true }],
      [dense, { ...back, activation: "tanh" }],
    ])
      await expectError(() => of(layers), "UNSUPPORTED", message);
    await expectError(() => of([dense, back], { useBidirectionalAttention: false }), "UNSUPPORTED", message);
  });
});

describe("RoPE scaling", () => {
  const factors = [1, 1.5, 2, 3];
  const keys = (type: string | undefined, factor: number) => ({
    "llama.rope.scaling.type": type === undefined ? undefined : text(type),
    "llama.rope.scaling.factor": f32(factor),
  });
  const times = (by: number) => ({ ropeType: "factors", factors: factors.map((value) => value * by) });
  test.each<[string | undefined, number, boolean, unknown]>([
    ["linear", 4, true, times(4)],
    [undefined, 4, true, times(4)],
    ["none", 4, true, times(1)],
    ["linear", 0, true, times(1)],
    [undefined, 4, false, { ropeType: "linear", factor: 4 }],
    ["none", 4, false, null],
  ])("is read from type %s and factor %s (with a factor tensor: %s)", async (type, factor, table, wanted) => {
    const config = { headDim: 8 };
    expect((await configOf(config, keys(type, factor), table ? [ropeFreqs(factors)] : [])).ropeScaling).toEqual(wanted);
  });

  test("is rejected if it is YaRN with a factor tensor, or of an unknown type", async () => {
    const of = (type: string) => configOf({ headDim: 8 }, keys(type, 4), [ropeFreqs(factors)]);
    await expectError(
      () => of("yarn"),
      "UNSUPPORTED",
      /type "yarn" together with a table of factors is not supported$/,
    );
    await expectError(() => of("ntk"), "UNSUPPORTED", /type "ntk" is not supported$/);
  });
});

describe("numbers per layer", () => {
  const key = "llama.attention.head_count";
  test("become one number if they are equal", async () => {
    const config = await configOf(
      {},
      {
        [key]: i32s(4, 4, 4, 4, 4),
        [`${key}_kv`]: i32s(2, 2, 2, 2, 2),
        "llama.feed_forward_length": i32s(96, 96, 96, 96, 96),
      },
    );
    expect(config).toMatchObject({ numAttentionHeads: 4, numKeyValueHeads: 2, intermediateSize: 96 });
  });
  test.each<[string, GgufValue, "UNSUPPORTED" | "INVALID_FILE", RegExp]>([
    [
      "that differ",
      i32s(4, 4, 2, 4, 4),
      "UNSUPPORTED",
      /head_count: expected the same number for all layers, got 4 and 2/,
    ],
    [
      "for too few layers",
      i32s(4, 4),
      "INVALID_FILE",
      /head_count: expected a number, or one for each of 5 layers, got 2$/,
    ],
    [
      "that are not numbers",
      flags(true, true, true, true, true),
      "INVALID_FILE",
      /expected an array of numbers, got an array of bool$/,
    ],
  ])("%s are rejected", async (_name, value, code, message) => {
    await expectError(() => configOf({}, { [key]: value }), code, message);
  });
});

describe("separate gate and up matrices of a family that concatenates them", () => {
  const gate = "blk.4.ffn_gate.weight";
  const up = "blk.4.ffn_up.weight";
  /** Returns a GGUF file whose last `up` has this type and shape. Its elements are zeros. */
  async function fileWithUp(dtype: "f16" | "bf16", shape: number[], gateType = dtype): Promise<string> {
    const path = await fileOf({ modelType: "granitemoehybrid" });
    const zeros = (name: string, type: "f16" | "bf16", dims: number[]): TensorData => ({
      ...{ name, dtype: type, shape: dims },
      bytes: new Uint8Array(2 * dims.reduce((a, b) => a * b)),
    });
    return withTensors(path, [zeros(gate, gateType, [64, 32]), zeros(up, dtype, shape)]);
  }

  test("are read if they have the same type and shape", async () => {
    await using model = await LanguageModel.load(await fileWithUp("bf16", [64, 32]));
    expect((await model.logits([1, 2], { last: true }))[0]!.every(Number.isFinite)).toBe(true);
  });

  const part = "model.layers.4.shared_mlp.up_proj.weight";
  test.each<["f16" | "bf16", number[], string]>([
    ["bf16", [64, 32], "bf16 [64, 32]"],
    ["f16", [64, 16], "f16 [64, 16]"],
    ["f16", [32, 32], "f16 [32, 32]"],
  ])("are rejected if up is %s %j and gate is f16 [64, 32]", async (dtype, shape, got) => {
    const path = await fileWithUp(dtype, shape, "f16");
    const message = `${part}: expected f16 [64, 32], like the gate matrix, got ${got}`;
    await expectError(() => LanguageModel.load(path), "INVALID_FILE", message);
  });
});

const divisors = (step: number) => Array.from({ length: 8 }, (_, i) => 1 + i * step);
test.each<[string, string, Changes, Parameters<typeof withoutHeddleKeys>[2]]>([
  [
    "llama",
    "a factor tensor and linear scaling",
    { "llama.rope.scaling.type": text("linear"), "llama.rope.scaling.factor": f32(4) },
    [ropeFreqs(divisors(0.2))],
  ],
  [
    "llama",
    "a factor tensor and a factor under the old key",
    { "llama.rope.scale_linear": f32(4) },
    [ropeFreqs(divisors(0.2))],
  ],
  [
    "phi3",
    "two factor tensors and a factor",
    { "phi3.rope.scaling.factor": f32(3), "phi3.rope.scaling.original_context_length": u32(8) },
    [
      { ...ropeFreqs(divisors(0.2)), name: "rope_factors_long.weight" },
      { ...ropeFreqs(divisors(0.1)), name: "rope_factors_short.weight" },
    ],
  ],
])("%s with %s gives the same logits after conversion from GGUF to GGUF", async (modelType, _what, changes, added) => {
  const sizes = { headDim: 16, hiddenSize: 64, initializerRange: 0.3 };
  const own = await fileOf({ modelType, ...sizes });
  const file = await withoutHeddleKeys(own, changes, added);
  const converted = join(temporaryFolder(), "converted.gguf");
  await convertModel(file, converted, { dtype: "f32" });
  await using model = await LanguageModel.load(file);
  await using again = await LanguageModel.load(converted);
  await using withoutTable = await LanguageModel.load(await withoutHeddleKeys(own, changes));
  for (const length of [5, 20]) {
    const ids = Array.from({ length }, (_, i) => (i * 37) % 300);
    const logits = await model.logits(ids);
    expect(await again.logits(ids)).toEqual(logits);
    expect(await withoutTable.logits(ids)).not.toEqual(logits);
  }
});
