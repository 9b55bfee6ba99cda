// Measures the error of a quantized file's logits against those of its dequantized weights, for heddle and node-llama-cpp. Both use int8
// activations and their default 16-bit cache. The reference has activations and cache in f32. Its logits differ from those of f32 weights
// by at most 1e-5 of their range (test/inference/whole-models/quantized.test.ts). Logits of f32 weights are as close to float64
// (test/models/families.test.ts).
// `npm run bench -- logits [--only 135M:q8_0]`

import type { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { report } from "../measure.ts";
import { benchModel, fileTypes, shapeNames } from "../models.ts";
import { openLlamaCpp } from "../peers/llama-cpp.ts";

/** Enough prompts to distinguish the errors, since each prompt is a random sample. */
const PROMPTS = [1, 4, 16, 33, 64, 128].flatMap((length) =>
  Array.from({ length: 24 }, (_, seed) => seed).map((seed) =>
    Array.from({ length }, (_, i) => 3 + (((i + 1) * 7919 + seed * 104_729) % 250)),
  ),
);

export async function benchLogits(device: Device, { peers = true, only = "" } = {}): Promise<void> {
  for (const shape of shapeNames)
    for (const type of fileTypes) {
      if (type === "bf16" || !`${shape}:${type}`.startsWith(only)) continue;
      await compare(device, `logits ${shape} ${type}`, await benchModel(shape, device, type), peers);
    }
}

async function compare(device: Device, name: string, file: string, peers: boolean) {
  const peer = peers ? await openLlamaCpp(file, device.threads) : undefined;
  const exact = await lastLogits(device, file, "f32");
  const ours = await lastLogits(device, file, "int8");
  const summary = (logits: readonly ArrayLike<number>[]) => {
    const errors = logits.map((l, i) => errorOf(l, exact[i]!));
    return { rmsError: rootMeanSquare(errors), worst: Math.max(...errors) };
  };
  const heddle = summary(ours);
  const theirs: number[][] = [];
  for (const ids of PROMPTS) if (peer) theirs.push(await peer.logits(ids));
  peer?.close();
  const nodeLlamaCpp = peer && summary(theirs);
  const ratio = nodeLlamaCpp && heddle.rmsError / nodeLlamaCpp.rmsError;
  report({ name, spread: rootMeanSquare(exact.map(rootMeanSquare)), heddle, nodeLlamaCpp, ratio });
}

async function lastLogits(device: Device, file: string, quantizedActivations: "int8" | "f32"): Promise<Float32Array[]> {
  await using model = await LanguageModel.load(file, { device, quantizedActivations });
  const logits: Float32Array[] = [];
  for (const ids of PROMPTS) logits.push((await model.logits(ids, { last: true }))[0]!);
  return logits;
}

const rootMeanSquare = (values: ArrayLike<number>) =>
  Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0) / values.length);

/** Returns the error's root mean square over the vocabulary. */
const errorOf = (logits: ArrayLike<number>, reference: Float32Array) =>
  rootMeanSquare(reference.map((r, i) => logits[i]! - r));
