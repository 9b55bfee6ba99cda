import { castBytes } from "../formats/cast.ts";
import type { TensorData } from "../formats/tensor-data.ts";
import type { FloatDType, Tensor } from "../graph/index.ts";
import type { Model } from "./model.ts";

/** A tensor on its way to a file, in `dtype`; its bytes are read from the device when its turn comes. */
export function tensorData(name: string, tensor: Tensor, dtype: FloatDType): TensorData {
  const { shape } = tensor;
  return {
    name,
    dtype,
    shape,
    bytes: async () => {
      const data = await tensor.read();
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return tensor.dtype === dtype ? bytes : castBytes(bytes, tensor.dtype as FloatDType, dtype, name);
    },
  };
}

/** A model's weights on their way to a safetensors file, in a checkpoint's order; `auto` keeps each one's type. */
export function weightData(model: Model, dtype: FloatDType | "auto" = "auto"): TensorData[] {
  return model.weightNames.map((name) => {
    const tensor = model.weight(name);
    return tensorData(name, tensor, dtype === "auto" ? (tensor.dtype as FloatDType) : dtype);
  });
}
