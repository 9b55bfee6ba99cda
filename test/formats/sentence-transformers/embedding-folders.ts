// Small embedding models, folders in sentence-transformers' layout, and reference implementations of their modules.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { EmbeddingConfig, PoolingMode } from "../../../lib/formats/config/config.ts";
import { pooledOutputs } from "../../../lib/language-model/embed/text-forward.ts";
import { createModel, type LanguageModel } from "../../../lib/language-model/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../helpers.ts";
import { saveWeights } from "../write-weights.ts";

export const WIDTH = 16;
export const texts = ["the cat sat on the mat", "a dog", "Birds sing in the old tree, and the cat is there"];
export const tokenizer = await Tokenizer.train([...texts, "query: passage: search"], {
  algorithm: "wordPiece",
  vocabSize: 160,
});

const sizes = { hiddenSize: WIDTH, intermediateSize: 24, numHiddenLayers: 1, numAttentionHeads: 2 };
/** A tokenizer that does not lowercase. */
export const cased = await Tokenizer.train([...texts, "query: "], { vocabSize: 280 });
export const newModel = (
  modelType: "bert" | "llama",
  embedding?: Partial<EmbeddingConfig>,
  vocabulary: Tokenizer = tokenizer,
) =>
  createModel(
    { modelType, maxPositionEmbeddings: 40, initializerRange: 0.3, ...sizes, ...(embedding && { embedding }) },
    { tokenizer: vocabulary, seed: 4 },
  );

export const json = (folder: string, file: string, value: unknown) => {
  mkdirSync(join(folder, file, ".."), { recursive: true });
  writeFileSync(join(folder, file), JSON.stringify(value));
};
export const read = (folder: string, file: string) => JSON.parse(readFileSync(join(folder, file), "utf8"));
export const module = (name: string, path: string, idx: number) => ({
  idx,
  name: String(idx),
  path,
  type: `sentence_transformers.models.${name}`,
});
export const f32 = (name: string, shape: number[], values: readonly number[]) => ({
  name,
  shape,
  dtype: "f32" as const,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
export const numbers = (length: number, seed: number) =>
  Array.from({ length }, (_, i) => Math.fround(Math.sin(seed + i * 1.3)));

/** The hidden states of a text's tokens. */
export async function statesOf(model: LanguageModel, text: string): Promise<number[][]> {
  const ids = model.tokenizer!.encode(text, { allowSpecial: true });
  const [all] = await pooledOutputs(model.model, [ids], { pooling: "all", contextLength: 40 });
  return Array.from(ids, (_, t) => Array.from(all!.subarray(t * WIDTH, (t + 1) * WIDTH)));
}

/** Reference pooling over the tokens from index `from`. `first` is always token 0, and weighted_mean counts positions from token 0. */
export function pooledBy(mode: PoolingMode, states: number[][], from = 0): number[] {
  const seen = states.slice(from);
  const column = (c: number) => seen.map((state) => state[c]!);
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return Array.from({ length: WIDTH }, (_, c) => {
    if (mode === "first") return states[0]![c]!;
    if (mode === "last") return states.at(-1)![c]!;
    if (mode === "max") return Math.max(...column(c));
    if (mode === "mean") return sum(column(c)) / seen.length;
    if (mode === "mean_sqrt_len") return sum(column(c)) / Math.sqrt(seen.length);
    return sum(column(c).map((v, i) => v * (from + i + 1))) / sum(seen.map((_, i) => from + i + 1));
  });
}
export const unit = (v: readonly number[]) => v.map((x) => x / Math.hypot(...v));
/** Expects that each value differs by less than `bound`, times the largest wanted value if that is above 1. */
export const close = (got: ArrayLike<number>, wanted: readonly number[], bound = 1e-5) => {
  expect(got.length).toBe(wanted.length);
  for (const [i, v] of wanted.entries()) expect(Math.abs(got[i]! - v)).toBeLessThan(bound * Math.max(1, ...wanted));
};

export const MODES = ["first", "max", "mean", "mean_sqrt_len", "weighted_mean", "last"] as const;

/** The weights of the layers in `foreignFolder`. */
const layers = {
  first: { weight: numbers(10 * 2 * WIDTH, 1), bias: numbers(10, 2) },
  norm: { weight: numbers(10, 3), bias: numbers(10, 4) },
  second: { weight: numbers(6 * 10, 5) },
};
/** Writes a sentence-transformers folder: cls and mean pooling, Dense with tanh, LayerNorm, Dense without bias, Normalize. */
export async function foreignFolder(): Promise<string> {
  const folder = temporaryFolder();
  await using base = newModel("bert");
  await base.save(folder);
  const names = ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense", "Normalize"];
  json(
    folder,
    "modules.json",
    names.map((name, i) => module(name, i === 0 ? "" : `${i}_${name}`, i)),
  );
  json(folder, "1_Pooling/config.json", { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true });
  const torch = "torch.nn.modules";
  json(folder, "2_Dense/config.json", {
    ...{ in_features: 2 * WIDTH, out_features: 10, bias: true, activation_function: `${torch}.activation.Tanh` },
  });
  json(folder, "3_LayerNorm/config.json", { dimension: 10 });
  json(folder, "4_Dense/config.json", {
    ...{ in_features: 10, out_features: 6, bias: false, activation_function: `${torch}.linear.Identity` },
    ...{ module_input_name: "sentence_embedding", module_output_name: null },
  });
  await saveWeights(join(folder, "2_Dense"), [
    f32("linear.weight", [10, 2 * WIDTH], layers.first.weight),
    f32("linear.bias", [10], layers.first.bias),
  ]);
  await saveWeights(join(folder, "3_LayerNorm"), [
    f32("norm.weight", [10], layers.norm.weight),
    f32("norm.bias", [10], layers.norm.bias),
  ]);
  await saveWeights(join(folder, "4_Dense"), [f32("linear.weight", [6, 10], layers.second.weight)]);
  return folder;
}

/** Returns the expected vector of a text in `foreignFolder`, by the definitions of its modules. */
export async function wantedOf(model: LanguageModel, text: string): Promise<number[]> {
  const states = await statesOf(model, text);
  const x = [...pooledBy("first", states), ...pooledBy("mean", states)];
  const product = (v: number[], w: number[], outputs: number, bias?: number[]) =>
    Array.from({ length: outputs }, (_, o) => v.reduce((n, a, i) => n + a * w[o * v.length + i]!, bias?.[o] ?? 0));
  const inner = product(x, layers.first.weight, 10, layers.first.bias).map(Math.tanh);
  const mean = inner.reduce((a, b) => a + b) / 10;
  const deviation = Math.sqrt(inner.reduce((n, v) => n + (v - mean) ** 2, 0) / 10 + 1e-5);
  const normed = inner.map((v, i) => ((v - mean) / deviation) * layers.norm.weight[i]! + layers.norm.bias[i]!);
  return unit(product(normed, layers.second.weight, 6));
}
