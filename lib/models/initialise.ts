import type { ModelConfig } from "../formats/config.ts";
import { type Device, Tensor } from "../graph/index.ts";
import type { WeightSpec } from "./family.ts";
import { modelWeights } from "./heads.ts";
import { generator, normal, streamOf } from "./random.ts";

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
    if (values) writes.push(tensor.writeOwn(values));
  }
  return { weights, written: Promise.all(writes) };
}
