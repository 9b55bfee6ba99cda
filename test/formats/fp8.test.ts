// fp8 matrices: quantization, dequantization and model folders.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { quantizeFp8, writeFp8 } from "../../lib/formats/fp8.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { castElements } from "../../lib/formats/native-cast.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import { Device, openDevice } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { sft } from "../../lib/train/stages/sft.ts";
import { maxRowDifference } from "../helpers/max-difference.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { generator } from "../ops/harness.ts";
import { makeFp8, type RawTensor } from "./fp8-folder.ts";
import { temporaryFolder } from "./helpers.ts";
import { writeSafetensors } from "./write-weights.ts";

const device = openDevice({ device: "cpu" });

/** Dequantizes fp8 values to f32: each value times the scale of its block. */
function widened(data: Uint8Array, scales: Float32Array, columns: number): Promise<Uint8Array<ArrayBuffer>> {
  const source = { data, offset: 0, bytes: data.length, fp8: { scales, columns } };
  return castElements(device, source, { name: "fp8", from: "f32", to: "f32" });
}

const ids = [5, 17, 2, 301, 44, 9, 120, 7, 7, 63];

/** Decodes E4M3: 4 exponent bits with bias 7, 3 fraction bits; S.1111.111 is NaN. */
function numberOf(byte: number): number {
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
  if ((byte & 0x7f) === 0x7f) return Number.NaN;
  const magnitude = exponent ? (8 + fraction) * 2 ** (exponent - 10) : fraction * 2 ** -9;
  return byte & 0x80 ? -magnitude : magnitude;
}

describe("fp8 quantization", () => {
  test.each([
    [1, 1],
    [128, 128],
    [130, 257],
    [3, 500],
  ])("quantizes (%i, %i) values to within half a step, with one scale per block", async (rows, columns) => {
    const random = generator(rows + columns);
    const across = Math.ceil(columns / 128);
    // Blocks of very different magnitudes, with values of all magnitudes within them.
    const numbers = Float32Array.from({ length: rows * columns }, (_, i) => {
      const block = Math.floor(i / columns / 128) * across + Math.floor((i % columns) / 128);
      return (random() - 0.5) * 10 ** (3 * block - 4) * 2 ** (-12 * random());
    });
    const { bytes: made, scales } = await quantizeFp8(device, numbers, rows, columns);
    const sizes = new Float32Array(scales.buffer);
    const back = new Float32Array((await widened(made, sizes, columns)).buffer);
    expect(sizes.length).toBe(Math.ceil(rows / 128) * across);
    let worst = 0;
    for (let i = 0; i < numbers.length; i++) {
      const scale = sizes[Math.floor(i / columns / 128) * across + Math.floor((i % columns) / 128)]!;
      expect(back[i]).toBe(Math.fround(scale * numberOf(made[i]!)));
      const [x, off] = [Math.abs(numbers[i]!) / scale, Math.abs(back[i]! - numbers[i]!) / scale];
      // The step of E4M3 is 2^-3 of the power of two below x, and 2^-9 for subnormals.
      const step = x < 2 ** -6 ? 2 ** -9 : 2 ** (Math.floor(Math.log2(x)) - 3);
      worst = Math.max(worst, off / step);
    }
    expect(worst).toBeLessThanOrEqual(0.5 + 1e-5); // half a step, plus the float rounding error
    // The largest value of each block maps to the largest byte.
    for (const [b, scale] of sizes.entries()) {
      const of = [...made.keys()].filter(
        (i) => Math.floor(i / columns / 128) * across + Math.floor((i % columns) / 128) === b,
      );
      expect(Math.max(...of.map((i) => made[i]! & 0x7f))).toBe(0x7e);
      expect((scale * 448) / Math.max(...of.map((i) => Math.abs(numbers[i]!)))).toBeCloseTo(1, 6);
    }
  });

  test("keeps zeros, and rejects non-finite values and sizes that do not match", async () => {
    const { bytes, scales } = await quantizeFp8(device, new Float32Array(6), 2, 3);
    expect([...bytes, ...new Float32Array(scales.buffer)]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    const refused = (numbers: Float32Array, rows: number, columns: number, message: string) =>
      expect(quantizeFp8(device, numbers, rows, columns)).rejects.toThrow(message);
    const late = new Float32Array(300).fill(1);
    late[299] = Number.NaN;
    await refused(late, 300, 1, "fp8: expected finite numbers, got nan in row 299");
    await refused(new Float32Array(6), 2, 2, "expected (2, 2) numbers, got 6");
    await refused(new Float32Array(6), 2 ** 39, 2 ** 39, "got 6");
    await refused(new Uint8Array(6) as never, 2, 3, "expected a Float32Array");
    await expect(widened(new Uint8Array(6), new Float32Array(2), 3)).rejects.toThrow("scales: expected 1 numbers");
    await expect(widened(new Uint8Array(6), new Float32Array(1), 4)).rejects.toThrow(
      "columns: expected a divisor of 6",
    );
    await expect(widened(new Uint8Array(6), new Float32Array(1), 0)).rejects.toThrow(
      "columns: expected a divisor of 6",
    );
  });
});

async function folderOf(config: object = {}, change?: (tensors: Map<string, RawTensor>) => void): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  const sizes = { hiddenSize: 160, intermediateSize: 272, initializerRange: 1 / 16 };
  await using model = tinyModel({}, { ...sizes, ...config });
  await model.save(folder);
  await makeFp8(folder, change);
  return folder;
}

/** The maximum difference of two models' logits, relative to the range of the second's. */
async function apart(a: LanguageModel, b: LanguageModel): Promise<number> {
  const [x, y] = [await a.logits(ids), await b.logits(ids)];
  const all = y.flatMap((row) => [...row]);
  const worst = maxRowDifference(y, x);
  return worst / (Math.max(...all) - Math.min(...all));
}

test.each([
  [64, 1],
  [65, 2],
])(
  "writing a (%i, 65) matrix in fp8 reads it %i time(s): twice if alignment puts its scales before its bytes",
  async (rows, times) => {
    const path = join(temporaryFolder(), "model.safetensors");
    const numbers = Float32Array.from({ length: rows * 65 }, (_, i) => Math.sin(i));
    let asked = 0;
    const bytes = () => {
      asked++;
      return new Uint8Array(numbers.buffer);
    };
    const norm = { name: "norm.weight", dtype: "bf16" as const, shape: [2], bytes: new Uint8Array(4) };
    const tensor = { name: "a.q_proj.weight", dtype: "f32" as const, shape: [rows, 65], bytes };
    await writeSafetensors(path, writeFp8([tensor, norm], device));
    expect(asked).toBe(times);
    const { file, entries } = openSafetensors(path);
    const [matrix, scales] = ["a.q_proj.weight", "a.q_proj.weight_scale_inv"].map((name) => entries.get(name)!);
    const want = await quantizeFp8(device, numbers, rows, 65);
    expect(scales!.offset % 4).toBe(0);
    expect(new Uint8Array(file.bytes(matrix!.offset, matrix!.bytes))).toEqual(want.bytes);
    expect(new Uint8Array(file.bytes(scales!.offset, scales!.bytes))).toEqual(want.scales);
    file.close();
  },
);

describe("an fp8 model folder", () => {
  test.each(["llama", "qwen3"])("gives the same logits in fp8 and dequantized: %s", async (modelType) => {
    const folder = await folderOf({ modelType });
    await using exact = await LanguageModel.load(folder, { quantizedActivations: "f32" });
    await using numbers = await LanguageModel.load(folder, { dtype: "f32" });
    await using fast = await LanguageModel.load(folder);
    const name = "model.layers.1.mlp.up_proj.weight";
    expect(exact.model.weight(name)).toMatchObject({ dtype: "u8", writable: false, shape: [272, 160] });
    expect(exact.model.weight("model.embed_tokens.weight").dtype).toBe("f32");
    expect(numbers.model.weight(name).dtype).toBe("f32");
    expect(await exact.model.weight(name).toFloat32()).toEqual(await numbers.model.weight(name).toFloat32());
    expect(await apart(exact, numbers)).toBeLessThanOrEqual(1e-5);
    // Activations with 4 significant bits have a relative error of about 2^-4 / √12 in each product.
    const rounding = await apart(fast, numbers);
    expect(rounding).toBeLessThanOrEqual(0.05);
    expect(rounding).toBeGreaterThan(1e-4);
    const said = await exact.complete(ids, { maxTokens: 8, temperature: 0, ignoreEos: true });
    expect((await numbers.complete(ids, { maxTokens: 8, temperature: 0, ignoreEos: true })).tokens).toEqual(
      said.tokens,
    );
  });

  test("loads experts as bf16", async () => {
    const experts = { modelType: "qwen3_moe", numExperts: 4, numExpertsPerTok: 2, moeIntermediateSize: 48 };
    const folder = await folderOf(experts);
    await using model = await LanguageModel.load(folder, { quantizedActivations: "f32" });
    await using numbers = await LanguageModel.load(folder, { dtype: "f32" });
    expect(model.model.weight("model.layers.0.mlp.experts.gate_proj.weight").dtype).toBe("bf16");
    expect(model.model.weight("model.layers.0.self_attn.q_proj.weight").dtype).toBe("u8");
    expect(await apart(model, numbers)).toBeLessThanOrEqual(1e-5);
  });

  test("keeps its weights' values when it is saved, and when it is prepared for training in f32", async () => {
    const folder = await folderOf();
    await using model = await LanguageModel.load(folder);
    const saved = join(temporaryFolder(), "saved");
    await model.save(saved);
    await using again = await LanguageModel.load(saved);
    const name = "model.layers.0.self_attn.k_proj.weight";
    const numbers = await model.model.weight(name).toFloat32();
    expect([model, again].map((one) => one.model.weight(name).dtype)).toEqual(["u8", "f32"]);
    expect(await again.model.weight(name).toFloat32()).toEqual(numbers);
    await model.model.prepareForTraining([name]);
    expect(model.model.weight(name)).toMatchObject({ dtype: "f32", writable: true });
    expect(await model.model.weight(name).toFloat32()).toEqual(numbers);
    await using other = await LanguageModel.load(folder, { dtype: "f32", quantizedActivations: "f32" });
    expect(await apart(model, other)).toBeLessThanOrEqual(0.05);
  });

  test.each([
    ["llama", {}],
    ["qwen3_moe", { numExperts: 4, numExpertsPerTok: 2, moeIntermediateSize: 48 }],
  ])("can be converted to fp8 and back: %s", async (modelType, config) => {
    const [plain, fp8, back] = ["plain", "fp8", "back"].map((name) => join(temporaryFolder(), name)) as [
      string,
      string,
      string,
    ];
    {
      const sizes = { hiddenSize: 160, intermediateSize: 272, initializerRange: 1 / 16 };
      await using model = tinyModel({}, { ...sizes, modelType, ...config });
      await model.save(plain);
    }
    await convertModel(plain, fp8, { dtype: "fp8" });
    await convertModel(fp8, back);
    await using original = await LanguageModel.load(plain, { quantizedActivations: "f32" });
    await using eight = await LanguageModel.load(fp8, { quantizedActivations: "f32" });
    await using numbers = await LanguageModel.load(back, { quantizedActivations: "f32" });
    const name = "model.layers.1.self_attn.o_proj.weight";
    expect(eight.model.weight(name).dtype).toBe("u8");
    expect(eight.model.weight("model.embed_tokens.weight").dtype).toBe("bf16");
    expect(numbers.model.weight(name).dtype).toBe("bf16");
    const { bytes } = await quantizeFp8(device, await original.model.weight(name).toFloat32(), 160, 160);
    expect(await eight.model.weight(name).read()).toEqual(bytes);
    // The values in the bf16 folder are rounded: each by at most 2^-8 of its value.
    expect(await apart(eight, numbers)).toBeLessThanOrEqual(0.01);
    // fp8 weights have 4 significant bits.
    expect(await apart(eight, original)).toBeLessThanOrEqual(0.06);
  });

  test("keeps the values of all weights when it is converted to GGUF and back", async () => {
    const folder = await folderOf({});
    const [gguf, back] = [join(temporaryFolder(), "m.gguf"), join(temporaryFolder(), "back")];
    await convertModel(folder, gguf, { dtype: "f32" });
    await convertModel(gguf, back);
    await using numbers = await LanguageModel.load(folder, { dtype: "f32" });
    for (const path of [gguf, back]) {
      await using made = await LanguageModel.load(path);
      for (const name of numbers.model.weightNames)
        expect(await made.model.weight(name).read(), name).toEqual(await numbers.model.weight(name).read());
    }
  });

  test("cannot be made from a model without suitable matrices, and fp8 cannot be written to GGUF", async () => {
    const [plain, out] = [join(temporaryFolder(), "plain"), join(temporaryFolder(), "out")];
    await using model = tinyModel({}, { modelType: "gpt2", numKeyValueHeads: undefined });
    await model.save(plain);
    expect(await failureOf(() => convertModel(plain, out, { dtype: "fp8" }))).toMatchObject({ code: "UNSUPPORTED" });
    expect(await failureOf(() => convertModel(plain, `${out}.gguf`, { dtype: "fp8" }))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  test("is rejected if it is a gpt_oss with fp8 biases", async () => {
    const name = "model.layers.0.mlp.experts.gate_up_proj_bias";
    const oss = { modelType: "gpt_oss", numExperts: 4, numExpertsPerTok: 2, slidingWindow: 32 };
    const folder = await folderOf(oss, (tensors) => {
      const { shape } = tensors.get(name)!;
      const [experts, outputs] = shape as [number, number];
      tensors.set(name, { dtype: "F8_E4M3", shape, bytes: new Uint8Array(experts * outputs).fill(0x38) });
      const scales = new Uint8Array(Float32Array.from({ length: Math.ceil(outputs / 128) }, () => 1).buffer);
      tensors.set(`${name}_scale_inv`, { dtype: "F32", shape: [1, scales.length / 4], bytes: scales });
    });
    const refused = {
      code: "INVALID_FILE",
      message: expect.stringContaining(`${name}: expected floats of 2 dimensions, got F8_E4M3 [4, 544]`),
    };
    expect(await failureOf(() => LanguageModel.load(folder))).toMatchObject(refused);
    const gguf = join(temporaryFolder(), "m.gguf");
    expect(await failureOf(() => convertModel(folder, gguf, { dtype: "bf16" }))).toMatchObject(refused);
  });

  test("drops the padding of a position table when converting to GGUF", async () => {
    const folder = join(temporaryFolder(), "model");
    const config = { modelType: "xlm-roberta", hiddenSize: 128, intermediateSize: 128, maxPositionEmbeddings: 62 };
    await using model = tinyModel({ tokenizer: await tinyTokenizer() }, { ...config, numKeyValueHeads: undefined });
    await model.save(folder, { dtype: "f32" });
    let rows = 0;
    await makeFp8(folder, (tensors) => {
      const name = [...tensors.keys()].find((key) => key.endsWith("position_embeddings.weight"))!;
      const { shape } = tensors.get(name)!;
      rows = shape[0]!;
      const bytes = Uint8Array.from({ length: rows * 128 }, (_, i) => 0x30 + (i % 9));
      tensors.set(name, { dtype: "F8_E4M3", shape, bytes });
      const scale = new Uint8Array(Float32Array.of(1).buffer);
      tensors.set(`${name}_scale_inv`, { dtype: "F32", shape: [1, 1], bytes: scale });
    });
    const path = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, path, { dtype: "f32" });
    const { file, entries } = await openGguf(path);
    const { offset, bytes } = entries.get("position_embd.weight")!;
    const got = new Float32Array(file.bytes(offset, bytes).slice(0));
    file.close();
    const padding = rows - 62;
    expect(padding).toBeGreaterThan(0);
    expect([...got]).toEqual(Array.from({ length: 62 * 128 }, (_, i) => numberOf(0x30 + ((i + padding * 128) % 9))));
  });

  test("is rejected if the products of values and scales overflow", async () => {
    const name = "model.layers.0.self_attn.q_proj.weight";
    const folder = await folderOf({}, (tensors) => {
      tensors.get(name)!.bytes.fill(0x7e);
      new Float32Array(tensors.get(`${name}_scale_inv`)!.bytes.buffer).fill(3e36);
    });
    for (const dtype of ["bf16", "f32"] as const)
      expect(await failureOf(() => LanguageModel.load(folder, { dtype }))).toMatchObject({
        code: "NUMERICAL",
        message: expect.stringContaining(name),
      });
  });

  const name = "model.layers.0.self_attn.k_proj.weight";
  test.each([
    [
      "missing scales",
      (t: Map<string, RawTensor>) => void t.delete(`${name}_scale_inv`),
      `expected ${name}_scale_inv, got none`,
    ],
    [
      "scales of another block size",
      (t: Map<string, RawTensor>) =>
        void t.set(`${name}_scale_inv`, { dtype: "F32", shape: [1, 1], bytes: new Uint8Array(4) }),
      `${name}_scale_inv: expected floats [1, 2], got F32 [1, 1]`,
    ],
    [
      "scales that are integers",
      (t: Map<string, RawTensor>) =>
        void t.set(`${name}_scale_inv`, { dtype: "I32", shape: [1, 2], bytes: new Uint8Array(8) }),
      `${name}_scale_inv: expected floats [1, 2], got I32 [1, 2]`,
    ],
  ])("rejects %s", async (_, change, message) => {
    const folder = await folderOf({}, change);
    const failure = await failureOf(() => LanguageModel.load(folder, { device: new Device(1) }));
    expect(failure).toMatchObject({ code: "INVALID_FILE", message: expect.stringContaining(message) });
  });
});

test("an adapter trains on fp8 weights as on the dequantized weights", async () => {
  const folder = join(temporaryFolder(), "model");
  {
    const sizes = { hiddenSize: 160, intermediateSize: 272, initializerRange: 1 / 16 };
    await using model = tinyModel({ tokenizer: await tinyTokenizer() }, sizes);
    await model.save(folder);
  }
  await makeFp8(folder);
  const losses = async (dtype: "auto" | "f32") => {
    await using model = await LanguageModel.load(folder, { dtype });
    const weight = model.model.weight("model.layers.0.mlp.down_proj.weight");
    expect(weight.dtype).toBe(dtype === "auto" ? "u8" : "f32");
    const before = await weight.read();
    const data = sentences.slice(0, 8).map((text) => ({ text }));
    const seen: number[] = [];
    const options = { data, maxSteps: 4, learningRate: 1e-2, perDeviceTrainBatchSize: 4, lora: { r: 4 }, seed: 1 };
    for await (const event of sft(model, options)) if ("loss" in event) seen.push(event.loss);
    expect(await model.model.weight("model.layers.0.mlp.down_proj.weight").read()).toEqual(before);
    return seen;
  };
  const [eight, numbers] = [await losses("auto"), await losses("f32")];
  expect(eight.length).toBe(4);
  expect(eight[3]).toBeLessThan(eight[0]!);
  for (const [i, loss] of eight.entries()) expect(loss).toBeCloseTo(numbers[i]!, 4);
});
