import { castElements } from "../../formats/native-cast.ts";
import {
  accumulate,
  compile,
  type FloatDType,
  input,
  isFloat,
  linear,
  scale,
  Tensor,
  tensor,
} from "../../graph/index.ts";
import type { WeightSpec } from "../family.ts";
import { modelWeights } from "../heads.ts";
import { dequantized, dequantizedShape, transposedNumbers } from "../loading/dequantize.ts";
import type { Model } from "../model.ts";
import type { Adapter, LowRank } from "./adapters.ts";

/**
 * Returns a weight with an adapter's update added: W + scale · B·A, summed in f32 and rounded to W's type. A quantized
 * W becomes f32, because quantized blocks would lose the update.
 * @param spec the family's specification of W
 */
async function mergedWeight(model: Model, name: string, low: LowRank, spec: WeightSpec): Promise<Tensor> {
  const stored = model.weight(name);
  const { device } = stored;
  const shape = dequantizedShape(stored, spec);
  const dtype = isFloat(stored.dtype) ? stored.dtype : "f32";
  const transposed = spec.transposed ?? false;
  const [a, b] = [model.weight(low.a), model.weight(low.b)];
  const [r, inputs] = a.shape as [number, number];
  const wide = await Tensor.fromOwn(device, "f32", shape, await dequantized(stored, spec));
  // For W (in, out) the update is (B·A)ᵀ = Aᵀ·Bᵀ. `linear` transposes B, so only A is transposed here.
  const transposedA = transposed ? await transposedNumbers(device, await a.toFloat32(), r, inputs) : undefined;
  const program = compile(() => {
    const right = tensor(low.b, "f32", b.shape);
    const update = transposedA
      ? linear(input("transposedA", "f32", [inputs, r]), right)
      : linear(right, tensor(low.a, "f32", a.shape), undefined, { transposed: true });
    // `keep` is 1, so this adds the update to the weight in place.
    accumulate(tensor("wide", "f32", shape), scale(update, low.scale), input("keep", "f32", [1]));
    return {};
  });
  const executable = program.bind(device, new Map([...model.tensors, ["wide", wide]]));
  try {
    await executable.run({ keep: Float32Array.of(1), ...(transposedA && { transposedA }) });
  } finally {
    executable.dispose();
  }
  if (dtype === "f32") return wide;
  const rounded = await Tensor.fromOwn(device, dtype, shape, await narrowed(wide, dtype, name));
  wide.dispose();
  return rounded;
}

async function narrowed(t: Tensor, dtype: FloatDType, name: string): Promise<Uint16Array> {
  const values = await t.toFloat32();
  const numbers = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bytes = await castElements(t.device, numbers, { name, from: "f32", to: dtype });
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

/** Returns the merged form of all weights that an adapter changes. */
export async function mergedWeights(model: Model, adapter: Adapter): Promise<Map<string, Tensor>> {
  const out = new Map<string, Tensor>();
  const specs = modelWeights(model.config);
  try {
    for (const [layer, low] of adapter.layers) {
      const name = `${layer}.weight`;
      out.set(name, await mergedWeight(model, name, low, specs.get(name)!));
    }
    for (const [name, own] of adapter.saved) {
      const copy = model.weight(own);
      out.set(name, await Tensor.fromOwn(model.device, "f32", copy.shape, await copy.toFloat32()));
    }
  } catch (error) {
    for (const t of out.values()) t.dispose();
    throw error;
  }
  return out;
}
