// Models with quantized weights against the same weights dequantized, in every family and type.
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { castBytes } from "../../../lib/formats/native-cast.ts";
import { BLOCK_TYPES, type QuantizedDType } from "../../../lib/graph/dtype.ts";
import { openDevice, Tensor } from "../../../lib/graph/index.ts";
import { mapFile } from "../../../lib/io/mapped-file.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { randomGguf } from "../../formats/gguf/random-gguf.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { maxRowDifference } from "../../helpers/max-difference.ts";
import { quantizedTypes } from "../../ops/harness.ts";
import { tinyModel } from "../helpers.ts";

const ids = [5, 17, 2, 301, 44, 9, 120, 7, 7, 63];

/** Writes a folder with a small model's safetensors. */
async function folderOf(modelType: string, config: object = {}): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  const heads = modelType === "gpt2" ? { numKeyValueHeads: undefined } : {};
  const sizes = { hiddenSize: 256, intermediateSize: 512, initializerRange: 1 / 16 };
  await using model = tinyModel({}, { modelType, ...sizes, ...heads, ...config });
  await model.save(folder);
  return folder;
}

const randomFamily = async (modelType: string, dtype: QuantizedDType) =>
  randomGguf(await folderOf(modelType), () => dtype);

/** Returns the largest difference of two models' logits, relative to the range of the second's. */
async function relativeDifference(a: LanguageModel, b: LanguageModel): Promise<number> {
  const [x, y] = [await a.logits(ids), await b.logits(ids)];
  const all = y.flatMap((row) => [...row]);
  const worst = maxRowDifference(y, x);
  return worst / (Math.max(...all) - Math.min(...all));
}

describe.each(["llama", "gpt2"])("%s quantized at load", (modelType) => {
  test.each(["q8_0", "q4_0", "q4_k", "q6_k"] as const)("%s: has the weights of a converted file", async (dtype) => {
    const folder = await folderOf(modelType);
    const [floating, quantized] = ["f32.gguf", "quantized.gguf"].map((name) => join(temporaryFolder(), name));
    await convertModel(folder, quantized!, { dtype });
    await convertModel(folder, floating!, { dtype: "f32" });
    const load = (path: string) => LanguageModel.load(path, { dtype, quantizedActivations: "f32" });
    await using wanted = await LanguageModel.load(quantized!, { quantizedActivations: "f32" });
    const typesOf = ({ model }: LanguageModel) =>
      [...model.tensors]
        .map(([name, t]) => `${name.replace(/^stored./, "")} ${t.shape.length > 1 ? t.dtype : ""}`)
        .sort();
    for (const path of [folder, floating!]) {
      await using model = await load(path);
      expect(typesOf(model)).toEqual(typesOf(wanted));
      expect(await relativeDifference(model, wanted)).toBeLessThanOrEqual(1e-5);
    }
    // Weights that are already quantized are kept.
    await using kept = await LanguageModel.load(quantized!, { dtype: "q4_0", quantizedActivations: "f32" });
    expect(await relativeDifference(kept, wanted)).toBe(0);
  });
});

describe.each(quantizedTypes)("%s", (dtype) => {
  test.each(["llama", "gpt2"])("%s: quantized and dequantized weights give the same logits", async (modelType) => {
    const path = await randomFamily(modelType, dtype);
    await using exact = await LanguageModel.load(path, { quantizedActivations: "f32" });
    await using numbers = await LanguageModel.load(path, { dtype: "f32" });
    await using fast = await LanguageModel.load(path);
    const name = modelType === "gpt2" ? "transformer.h.1.mlp.c_fc.weight" : "model.layers.1.mlp.up_proj.weight";
    expect(exact.model.weight(name)).toMatchObject({ dtype, writable: false });
    expect(numbers.model.weight(name).dtype).toBe("f32");
    expect(await relativeDifference(exact, numbers)).toBeLessThanOrEqual(1e-5);
    // Activations have 8 bits: a step is 1/127 of the largest of 32, so a value is off by about 1/127/√12 of the largest.
    const rounding = await relativeDifference(fast, numbers);
    expect(rounding).toBeLessThanOrEqual(0.03);
    expect(rounding).toBeGreaterThan(1e-5);
  });
});

const experts = { numExperts: 4, numExpertsPerTok: 2, moeIntermediateSize: 256 };
// Rounding may select the next best expert if it is nearly as likely. Selecting all experts rules that out.
const everyExpert = { ...experts, numExpertsPerTok: 4 };
const sandwich = { headDim: 64, slidingWindow: 6 };
const families: Record<string, object> = {
  ...{
    llama: {},
    mistral: {},
    qwen2: {},
    qwen3: {},
    gemma: {},
    granite: {},
    olmo2: {},
    phi3: {},
    smollm3: {},
    gpt2: {},
  },
  ...{
    gemma2: sandwich,
    gemma3_text: sandwich,
    qwen3_moe: experts,
    qwen2_moe: { ...everyExpert, sharedExpertIntermediateSize: 512 },
    mixtral: everyExpert,
    olmoe: everyExpert,
    granitemoe: everyExpert,
    gpt_oss: experts,
  },
};

describe.each(Object.keys(families))("%s", (modelType) => {
  test("gives the same logits after conversion to q8_0 and back", async () => {
    const folder = await folderOf(modelType, families[modelType]);
    const [quantized, back] = [join(temporaryFolder(), "q.gguf"), join(temporaryFolder(), "back")];
    await convertModel(folder, quantized, { dtype: "q8_0" });
    await convertModel(quantized, back);
    await using original = await LanguageModel.load(folder);
    await using exact = await LanguageModel.load(quantized, { quantizedActivations: "f32" });
    await using numbers = await LanguageModel.load(back);
    expect(await relativeDifference(exact, numbers)).toBeLessThanOrEqual(1e-5);
    expect(await relativeDifference(exact, original)).toBeLessThanOrEqual(0.03);
    const { tokens } = await exact.complete(ids, { maxTokens: 12, temperature: 0, ignoreEos: true });
    expect((await numbers.complete(ids, { maxTokens: 12, temperature: 0, ignoreEos: true })).tokens).toEqual(tokens);
  });
});

test("llama's q and k rows, which RoPE rotates, are reordered as whole rows", async () => {
  const folder = await folderOf("llama");
  const path = join(temporaryFolder(), "q.gguf");
  await convertModel(folder, path, { dtype: "q4_0" });
  await using original = await LanguageModel.load(folder);
  await using quantized = await LanguageModel.load(path);
  for (const part of ["q", "k", "v"]) {
    const name = `model.layers.0.self_attn.${part}_proj.weight`;
    const values = await original.model.weight(name).toFloat32();
    const blocks = castBytes(new Uint8Array(values.buffer), "f32", "q4_0", name);
    expect(await quantized.model.weight(name).read()).toEqual(blocks);
    expect(quantized.model.weight(name).writable).toBe(false);
  }
});

test("rows of a mapped file are reordered within blocks, and a file that has shrunk is an IO error", async () => {
  const path = join(temporaryFolder(), "rows");
  const rows = 12;
  const numbers = Float32Array.from({ length: rows * 5 }, (_, i) => i);
  writeFileSync(path, new Uint8Array(numbers.buffer));
  const device = openDevice({ threads: 2 });
  const file = mapFile(path);
  const order = Int32Array.of(2, 0, 1, 3);
  const ordered = Tensor.mapped(device, "f32", [rows, 5], file, 0, { order });
  const expected = Array.from({ length: rows }, (_, r) => (r - (r % 4) + order[r % 4]!) * 5).flatMap((at) =>
    Array.from(numbers.subarray(at, at + 5)),
  );
  expect(Array.from((await ordered.read()) as Float32Array)).toEqual(expected);
  for (const wrong of [Int32Array.of(0, 4, 1, 2), Int32Array.of(-1), new Int32Array(0), new Int32Array(5)])
    expect(() => Tensor.mapped(device, "f32", [rows, 5], file, 0, { order: wrong })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  // Only the CPU can keep the file's order. Other devices copy the rows in order, so they need no call of `ordered`.
  const anywhere = Tensor.mapped(device, "f32", [rows, 5], file, 0, { order, keepOrder: true });
  const settled = anywhere.rowOrder ? anywhere.ordered(device) : anywhere;
  expect(Array.from((await settled.read()) as Float32Array)).toEqual(expected);
  const cpu = openDevice({ device: "cpu", threads: 2 });
  const inFileOrder = Tensor.mapped(cpu, "f32", [rows, 5], file, 0, { order, keepOrder: true });
  expect(Array.from((await inFileOrder.read()) as Float32Array)).toEqual(Array.from(numbers));
  const later = inFileOrder.ordered(cpu);
  expect(later.rowOrder).toBeUndefined();
  expect(Array.from((await later.read()) as Float32Array)).toEqual(expected);
  expect(() => later.ordered(cpu)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  expect(() =>
    Tensor.mapped(cpu, "f32", [rows, 5], file, 0, { order: Int32Array.of(7), keepOrder: true }).ordered(cpu),
  ).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  truncateSync(path, 40);
  await expect(inFileOrder.ordered(cpu).read()).rejects.toMatchObject({ code: "IO" });
  const lost = Tensor.mapped(device, "f32", [rows, 5], file, 0, { order });
  await expect(lost.read()).rejects.toMatchObject({ code: "IO" });
});

test("a model with quantized weights is dequantized for training and for saving", async () => {
  const path = await randomFamily("gpt2", "q5_1");
  await using model = await LanguageModel.load(path);
  await using numbers = await LanguageModel.load(path, { dtype: "f32" });
  const saved = join(temporaryFolder(), "saved");
  await model.save(saved);
  await using again = await LanguageModel.load(saved);
  for (const name of model.model.weightNames) {
    const [one, other] = [again, numbers].map((each) => each.model.weight(name).read());
    expect(Buffer.compare(new Uint8Array((await one!).buffer), new Uint8Array((await other!).buffer)), name).toBe(0);
  }
  await model.model.prepareForTraining(model.model.weightNames);
  for (const name of model.model.weightNames)
    expect(model.model.weight(name)).toMatchObject({
      dtype: "f32",
      shape: numbers.model.weight(name).shape,
      writable: true,
    });
  expect(await relativeDifference(model, numbers)).toBeLessThanOrEqual(1e-6);
});

test("conversion keeps certain tensors in wider types", async () => {
  const typesOf = async (config: object, dtype: "q8_0" | "q4_0" | "q4_k" | "q6_k") => {
    const path = join(temporaryFolder(), "q.gguf");
    await convertModel(await folderOf("llama", config), path, { dtype });
    const { entries, metadata, file } = await openGguf(path);
    file.close();
    const of = (name: string) => entries.get(name)?.storedDtype;
    expect(of("output_norm.weight")).toBe("F32");
    expect(metadata.number("general.quantization_version")).toBe(2);
    return {
      up: of("blk.0.ffn_up.weight"),
      down: of("blk.0.ffn_down.weight"),
      table: of("token_embd.weight"),
      head: of("output.weight"),
      fileType: metadata.number("general.file_type"),
    };
  };
  expect(await typesOf({}, "q8_0")).toEqual({ up: "Q8_0", down: "Q8_0", table: "Q8_0", head: "Q8_0", fileType: 7 });
  expect(await typesOf({}, "q4_0")).toEqual({ up: "Q4_0", down: "Q4_0", table: "Q4_0", head: "Q6_K", fileType: 2 });
  expect(await typesOf({ tieWordEmbeddings: true }, "q4_k")).toEqual({
    up: "Q4_K",
    down: "Q4_K",
    table: "Q6_K",
    head: undefined,
    fileType: 14,
  });
  const odd = { hiddenSize: 64, intermediateSize: 80 };
  expect(await typesOf(odd, "q4_k")).toMatchObject({ up: "Q5_0", down: "F16", head: "Q8_0", fileType: 8 });
  expect(await typesOf(odd, "q6_k")).toMatchObject({ up: "Q8_0", down: "F16", table: "Q8_0" });
});

test("a quantized vector of a malicious file is dequantized", async () => {
  const plain = join(temporaryFolder(), "plain.gguf");
  await convertModel(await folderOf("llama"), plain);
  const { file, metadata, entries } = await openGguf(plain);
  const tensors = [...entries.values()].map(({ name, dtype, shape, offset, bytes }) => {
    const data = new Uint8Array(file.bytes(offset, bytes));
    return shape.length === 1
      ? { name, dtype: "q8_0" as const, shape, bytes: castBytes(data, "f32", "q8_0", name) }
      : { name, dtype: dtype!, shape, bytes: data };
  });
  const path = join(temporaryFolder(), "vectors.gguf");
  await writeGguf(path, { metadata: metadata.values, tensors });
  file.close();
  await using model = await LanguageModel.load(path);
  expect(model.model.weight("model.norm.weight").dtype).toBe("f32");
  // Blocks of q8_0 round to half of 1/127 of their largest value.
  await using exact = await LanguageModel.load(plain);
  expect(await relativeDifference(model, exact)).toBeLessThan(2 ** -8);
});

test("loading and conversion reject unsupported types", async () => {
  await expect(LanguageModel.load("default", { quantizedActivations: "int4" as never })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: 'quantizedActivations: expected int8 or f32, got "int4"',
  });
  await expect(convertModel("default", "/tmp/x", { dtype: "q8_0" })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/dtype: expected f32, f16, bf16 or fp8 for safetensors, got "q8_0"/),
  });
  await expect(convertModel("default", "/tmp/x.gguf", { dtype: "q3_k" as never })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(/dtype: expected f32, f16, bf16, fp8, q8_0, q4_0, q4_k or q6_k, got "q3_k"/),
  });
  expect(Object.keys(BLOCK_TYPES)).toContain("q3_k");
});
