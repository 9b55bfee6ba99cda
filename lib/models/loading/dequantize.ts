import { elementsIn, transposedView } from "../../formats/element-sources.ts";
import { castElements } from "../../formats/native-cast.ts";
import { type Device, isQuantized, type Tensor } from "../../graph/index.ts";
import { shapeOf, type WeightSpec } from "../family.ts";

/** Returns a weight as f32 numbers, in the shape of an unquantized weight. */
export async function dequantized(tensor: Tensor, spec: WeightSpec | undefined): Promise<Float32Array> {
  const numbers = await tensor.toFloat32();
  if (!spec?.transposed || !isQuantized(tensor.dtype)) return numbers;
  const [rows, columns] = shapeOf(spec, tensor.dtype) as [number, number];
  return transposedNumbers(tensor.device, numbers, rows, columns);
}

/** Transposes f32 numbers (rows, columns). The numbers must not change until the promise settles. */
export async function transposedNumbers(
  device: Device,
  numbers: Float32Array,
  rows: number,
  columns: number,
): Promise<Float32Array> {
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const source = elementsIn(bytes, transposedView(rows, columns));
  return new Float32Array((await castElements(device, source, { name: "weight", from: "f32", to: "f32" })).buffer);
}

/** Returns the shape of the result of `dequantized`. */
export function dequantizedShape(tensor: Tensor, spec: WeightSpec | undefined): readonly number[] {
  return spec ? shapeOf(spec, "f32") : tensor.shape;
}

const STORED = "stored/";

/** Returns the name under which a model keeps a weight whose rows are in the file's order, not in transformers' order. */
export function storedName(weight: string): string {
  return `${STORED}${weight}`;
}

/** Returns a weight's usual name, given the name from `storedName`. */
export function weightOfStored(name: string): string {
  return name.startsWith(STORED) ? name.slice(STORED.length) : name;
}

/** Returns the name, in the model, of the block scales of an FP8 weight. */
export function scaleName(weight: string): string {
  return `${weight}_scale_inv`;
}
