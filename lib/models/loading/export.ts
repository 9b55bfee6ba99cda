import { folderTensors } from "../../formats/folder-tensors.ts";
import { castElements } from "../../formats/native-cast.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import { type FloatDType, isQuantized, type Tensor } from "../../graph/index.ts";
import type { WeightSpec } from "../family.ts";
import { modelWeights } from "../heads.ts";
import type { Model } from "../model.ts";
import { dequantized, dequantizedShape } from "./dequantize.ts";

/**
 * Returns a tensor to be written to a file as `dtype`. Its bytes are read from the device when the tensor is written.
 */
export function tensorData(name: string, tensor: Tensor, dtype: FloatDType, spec?: WeightSpec): TensorData {
  const quantized = isQuantized(tensor.dtype) || tensor.scale !== undefined;
  const shape = quantized ? dequantizedShape(tensor, spec) : tensor.shape;
  return {
    name,
    dtype,
    shape,
    bytes: async () => {
      const data = quantized ? await dequantized(tensor, spec) : await tensor.read();
      const from = quantized ? "f32" : (tensor.dtype as FloatDType);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return from === dtype ? bytes : castElements(tensor.device, bytes, { name, from, to: dtype });
    },
  };
}

/**
 * Returns a model's weights for a safetensors file, in the model's order. Unstacks experts and head norms. `auto` keeps each weight's type, but
 * writes quantized ones as f32.
 */
export function weightData(model: Model, dtype: FloatDType | "auto" = "auto"): TensorData[] {
  const specs = modelWeights(model.config);
  const tensors = model.weightNames.map((name) => {
    const tensor = model.weight(name);
    const stored = isQuantized(tensor.dtype) || tensor.scale ? "f32" : (tensor.dtype as FloatDType);
    return tensorData(name, tensor, dtype === "auto" ? stored : dtype, specs.get(name));
  });
  return folderTensors(tensors, model.config, model.device);
}
