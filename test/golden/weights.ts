// Weights derived from indices, as in scripts/golden/training.py.
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { type Device, Tensor } from "../../lib/graph/index.ts";
import { Model } from "../../lib/models/model.ts";
import { familyOf } from "../../lib/models/registry.ts";
import golden from "./training.json" with { type: "json" };

export type GoldenName = keyof typeof golden;
export const goldenNames = Object.keys(golden) as GoldenName[];

export interface GoldenCase {
  ids: number[][];
  targets: number[][];
  logitsAtLast: number[][];
  gradients: Record<string, { norm: number; first: number[] }>;
  losses: number[];
  gradNorms: number[];
}

export function goldenCase(name: GoldenName): GoldenCase {
  return golden[name] as unknown as GoldenCase;
}

/** Uniform values in [-0.5, 0.5) from a hash of tensor and element index. */
export function hashed(tensor: number, count: number): Float64Array {
  const out = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let h = (Math.imul(i + 1, 0x9e3779b1) + Math.imul(tensor + 1, 0x85ebca77)) >>> 0;
    h ^= h >>> 15;
    h = Math.imul(h, 0x2c1b3c6d) >>> 0;
    h ^= h >>> 12;
    h = Math.imul(h, 0x297a2d39) >>> 0;
    h = (h ^ (h >>> 15)) >>> 0;
    out[i] = h / 4294967296 - 0.5;
  }
  return out;
}

export async function goldenModel(name: GoldenName, device: Device): Promise<Model> {
  const c = golden[name].config as (typeof golden)["llama"]["config"] & { window?: number };
  const config = parseModelConfig({
    modelType: c.type,
    vocabSize: c.vocab,
    hiddenSize: c.hidden,
    intermediateSize: c.inner,
    numHiddenLayers: c.layers,
    numAttentionHeads: c.heads,
    numKeyValueHeads: c.kvHeads,
    headDim: c.headDim,
    maxPositionEmbeddings: c.positions,
    rmsNormEps: c.eps,
    layerNormEpsilon: c.eps,
    ropeTheta: c.theta,
    tieWordEmbeddings: c.tied,
    ...(c.window && { slidingWindow: c.window }),
  });
  const weights = new Map<string, Tensor>();
  let index = 0;
  for (const [weight, { shape }] of familyOf(config.modelType).weights(config)) {
    const values = hashed(
      index++,
      shape.reduce((n, d) => n * d, 1),
    );
    const offset = weight.endsWith("bias") || c.type === "gemma" ? 0 : 1;
    const data = Float32Array.from(values, (v) => (shape.length === 1 ? 0.2 * v + offset : v * 0.4));
    weights.set(weight, await Tensor.from(device, "f32", shape, data));
  }
  return Model.fromWeights(config, device, weights);
}
