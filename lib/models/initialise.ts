import type { ModelConfig } from "../formats/config.ts";
import { type Device, Tensor } from "../graph/index.ts";
import type { WeightSpec } from "./family.ts";
import { modelWeights } from "./heads.ts";

/** Uniform 32-bit integers: xoshiro128** (Blackman & Vigna 2018), seeded by splitmix32. */
function generator(seed: number): () => number {
  let z = seed >>> 0;
  const s = Uint32Array.from({ length: 4 }, () => {
    z = (z + 0x9e3779b9) >>> 0;
    let x = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return x ^ (x >>> 15);
  });
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  return () => {
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  };
}

/** N(0, deviation²) by Box and Muller's transform. */
function normal(count: number, deviation: number, next: () => number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log((next() + 1) / 4294967296));
    const angle = (2 * Math.PI * next()) / 4294967296;
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** A name's own stream, so that adding a weight does not change the others. */
function streamOf(name: string, seed: number): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return (h ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}

/** Random values of one weight, or undefined where it starts as zeros. The same seed gives the same ones everywhere. */
export function drawWeight(
  name: string,
  { shape, init }: WeightSpec,
  config: Pick<ModelConfig, "initializerRange" | "numHiddenLayers">,
  seed: number,
): Float32Array | undefined {
  const elements = shape.reduce((n, d) => n * d, 1);
  if (init === "zeros") return undefined;
  if (init === "ones") return new Float32Array(elements).fill(1);
  const deviation = config.initializerRange / (init === "residual" ? Math.sqrt(2 * config.numHiddenLayers) : 1);
  return normal(elements, deviation, generator(streamOf(name, seed)));
}

/**
 * Random weights of a new model, f32, by name. The same seed gives the same weights on every machine. They are written by
 * the device's lane, ahead of everything that is asked of it later; `written` settles when they are.
 */
export function initialWeights(
  config: ModelConfig,
  device: Device,
  seed: number,
): { weights: Map<string, Tensor>; written: Promise<unknown> } {
  const weights = new Map<string, Tensor>();
  const writes: Promise<void>[] = [];
  for (const [name, spec] of modelWeights(config)) {
    if (spec.optional) continue;
    const tensor = Tensor.zeros(device, "f32", spec.shape);
    weights.set(name, tensor);
    const values = drawWeight(name, spec, config, seed);
    if (values) writes.push(tensor.write(values));
  }
  return { weights, written: Promise.all(writes) };
}
