// MoE families beyond their golden values: GGUF files of other programs, training, rejected configurations.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import { castBytes } from "../../lib/formats/native-cast.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { LanguageModel, sft } from "../../lib/index.ts";
import { tensorsOf, withoutHeddleKeys } from "../convert/foreign-gguf.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { maxDifference, maxRowDifference } from "../helpers/max-difference.ts";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const sizes = { numExperts: 4, numExpertsPerTok: 2, intermediateSize: 32 };
const ids = [5, 17, 240, 99, 3, 17, 240, 60, 71, 300];

async function folderOf(config: object): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  await using model = tinyModel({ tokenizer: await tinyTokenizer() }, { ...sizes, ...config });
  await model.save(folder);
  return folder;
}

/** Returns the largest difference between the logits of two saved models. */
async function apart(path: string, other: string): Promise<number> {
  await using a = await LanguageModel.load(path);
  await using b = await LanguageModel.load(other);
  const [rows, wanted] = [await a.logits(ids), await b.logits(ids)];
  return maxRowDifference(rows, wanted);
}

/** Rewrites a file with one tensor per expert, as llama.cpp wrote files before April 2024. */
async function oneByOne(path: string, change: (tensors: TensorData[]) => TensorData[] = (all) => all): Promise<string> {
  const { metadata, file } = await openGguf(path);
  file.close();
  const tensors = (await tensorsOf(path)).flatMap((tensor): TensorData[] => {
    const [, layer, kind] = /^(blk\.[0-9]+)\.ffn_(gate|up|down)_exps\.weight$/.exec(tensor.name) ?? [];
    if (layer === undefined) return [tensor];
    const [count, ...shape] = tensor.shape as number[];
    const bytes = tensor.bytes as Uint8Array;
    const each = bytes.length / count!;
    return Array.from({ length: count! }, (_, e) => ({
      name: `${layer}.ffn_${kind}.${e}.weight`,
      dtype: tensor.dtype,
      shape,
      bytes: bytes.subarray(e * each, (e + 1) * each),
    }));
  });
  const target = join(temporaryFolder(), "old.gguf");
  await writeGguf(target, { metadata: metadata.values, tensors: change(tensors) });
  return target;
}

describe.each(["mixtral", "olmoe", "qwen2_moe", "granitemoe"])("%s", (modelType) => {
  test("loads GGUF files without heddle's keys", async () => {
    const folder = await folderOf({ modelType });
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file);
    const theirs = await withoutHeddleKeys(file);
    const back = join(temporaryFolder(), "back");
    await convertModel(theirs, back);
    await using model = await LanguageModel.load(theirs);
    expect(model.config).toMatchObject({ modelType, numExperts: 4, numExpertsPerTok: 2 });
    expect(await apart(theirs, folder)).toBeLessThan(1e-5);
    expect(await apart(back, folder)).toBe(0);
  });

  test("trains all weights in f32, all weights in bf16, or an adapter, and the saved result has the same logits", async () => {
    const folder = await folderOf({ modelType, initializerRange: 0.1 });
    const data = sentences.map((text) => ({ text }));
    const options = { data, maxSteps: 8, maxSeqLength: 32, learningRate: 1e-2, seed: 1 };
    for (const more of [{}, { dtype: "bf16" as const }, { lora: { r: 4 } }]) {
      await using model = await LanguageModel.load(folder, { dtype: "f32" });
      const losses: number[] = [];
      for await (const event of sft(model, { ...options, ...more })) if ("loss" in event) losses.push(event.loss);
      expect(losses.at(-1)!).toBeLessThan(losses[0]!);
      const wanted = (await model.logits(ids, { last: true }))[0]!;
      const saved = join(temporaryFolder(), "trained");
      if ("lora" in more) await model.saveAdapter(saved);
      else await model.save(saved);
      await using again = await LanguageModel.load("lora" in more ? folder : saved, { dtype: "f32" });
      if ("lora" in more) await again.loadAdapter(saved);
      const got = (await again.logits(ids, { last: true }))[0]!;
      expect(maxDifference(got, wanted)).toBeLessThan(1e-4);
    }
  });

  test("converts matrices of separate experts to fp8, but not the router", async () => {
    const folder = await folderOf({ modelType, hiddenSize: 128, intermediateSize: 128 });
    const narrow = join(temporaryFolder(), "fp8");
    await convertModel(folder, narrow, { dtype: "fp8" });
    const stored = await openWeights(narrow);
    const narrowed = stored.names().filter((name) => stored.info(name).storedDtype === "F8_E4M3");
    const fused = stored.names().filter((name) => /put_linear\./.test(name));
    stored.close();
    // Experts that a folder stores in one fused tensor are not converted.
    const isFused = modelType === "granitemoe";
    expect(narrowed.filter((name) => /experts\.[0-9]+\./.test(name))).toHaveLength(isFused ? 0 : 2 * 4 * 3);
    expect(fused).toHaveLength(isFused ? 2 * 2 : 0);
    expect(narrowed.filter((name) => !/_proj\.|\.w[123]\./.test(name))).toEqual([]);
    expect(await apart(narrow, folder)).toBeGreaterThan(0);
  });
});

test("reads Qwen 2's shared expert gate as a vector from GGUF files of other programs", async () => {
  const file = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf({ modelType: "qwen2_moe" }), file);
  const { metadata, file: opened } = await openGguf(file);
  opened.close();
  const flat = (await tensorsOf(file)).map((tensor) =>
    tensor.name.endsWith("ffn_gate_inp_shexp.weight") ? { ...tensor, shape: [tensor.shape[1]!] } : tensor,
  );
  const theirs = join(temporaryFolder(), "theirs.gguf");
  await writeGguf(theirs, { metadata: metadata.values, tensors: flat });
  expect(await apart(theirs, file)).toBe(0);
});

describe("old Mixtral files with separate experts", () => {
  const stacked = async () => {
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf({ modelType: "mixtral" }), file);
    return withoutHeddleKeys(file);
  };
  test("load as the same model, also quantized", async () => {
    const file = await stacked();
    expect(await apart(await oneByOne(file), file)).toBe(0);
    const q8 = (tensors: TensorData[]) =>
      tensors.map((tensor) =>
        /\.ffn_(gate|up|down)\.[0-9]+\.weight$|_exps/.test(tensor.name)
          ? {
              ...tensor,
              dtype: "q8_0" as const,
              bytes: castBytes(tensor.bytes as Uint8Array, "f32", "q8_0", tensor.name),
            }
          : tensor,
      );
    const { metadata, file: opened } = await openGguf(file);
    opened.close();
    const whole = join(temporaryFolder(), "whole.gguf");
    await writeGguf(whole, { metadata: metadata.values, tensors: q8(await tensorsOf(file)) });
    expect(await apart(await oneByOne(file, q8), whole)).toBe(0);
  });
  test("are rejected with the name of a missing expert", async () => {
    const old = await oneByOne(await stacked(), (all) => all.filter(({ name }) => name !== "blk.1.ffn_up.2.weight"));
    await expectError(
      () => LanguageModel.load(old),
      "INVALID_FILE",
      /expected a weight model\.layers\.1\.block_sparse_moe\.experts\.2\.w3\.weight, got none/,
    );
  });
});

test("uses transformers' defaults for missing keys of config.json, and rejects unsupported values", () => {
  const base = { vocab_size: 9, hidden_size: 64, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 16 };
  const of = (model_type: string, more: object = {}) => parseModelConfig({ model_type, ...base, ...more });
  expect(of("mixtral").numKeyValueHeads).toBe(8);
  expect(of("mixtral")).toMatchObject({ numExperts: 8, numExpertsPerTok: 2, ropeTheta: 1e6, slidingWindow: null });
  expect(of("olmoe")).toMatchObject({ numExperts: 64, numExpertsPerTok: 8, normTopkProb: false, rmsNormEps: 1e-5 });
  expect(of("olmoe", { clip_qkv: null }).modelType).toBe("olmoe");
  expect(() => of("olmoe", { clip_qkv: 8 })).toThrow(/clip_qkv: 8 is not supported/);
  expect(of("qwen2_moe", { mlp_only_layers: null })).toMatchObject({
    numKeyValueHeads: 16,
    numExperts: 60,
    numExpertsPerTok: 4,
    moeIntermediateSize: 1408,
    sharedExpertIntermediateSize: 5632,
    normTopkProb: false,
    mlpOnlyLayers: [],
  });
  expect(() => of("qwen2_moe", { qkv_bias: false })).toThrow(/qkv_bias: false is not supported/);
  expect(() => of("qwen2_moe", { use_sliding_window: true })).toThrow(/use_sliding_window: true is not supported/);
  expect(of("mixtral", { num_experts: 5 }).numExperts).toBe(5);
});
