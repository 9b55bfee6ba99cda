import { isQuantised, type Tensor } from "../graph/index.ts";
import { shapeOf, type WeightSpec } from "./family.ts";

/** A quantised weight's numbers (laid out as shapeOf says) as the family's floating weights are laid out. */
export function asFloating(numbers: Float32Array, spec: WeightSpec): Float32Array {
  if (!spec.transposed) return numbers;
  const [columns, rows] = spec.shape as [number, number];
  const out = new Float32Array(numbers.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = numbers[r * columns + c]!;
  return out;
}

/** A weight as f32 numbers in the shape that a floating one has. */
export async function widened(tensor: Tensor, spec: WeightSpec | undefined): Promise<Float32Array> {
  const numbers = await tensor.toFloat32();
  return spec && isQuantised(tensor.dtype) ? asFloating(numbers, spec) : numbers;
}

/** The shape of `widened`. */
export function widenedShape(tensor: Tensor, spec: WeightSpec | undefined): readonly number[] {
  return spec ? shapeOf(spec, "f32") : tensor.shape;
}

const STORED = "stored/";

/** The name that a weight has among a model's tensors while its rows lie in another order than its own name says. */
export function storedName(weight: string): string {
  return `${STORED}${weight}`;
}

/** The weight's own name. */
export function weightOfStored(name: string): string {
  return name.startsWith(STORED) ? name.slice(STORED.length) : name;
}

/** The name that the scales of an 8-bit weight have among a model's tensors. */
export function scaleName(weight: string): string {
  return `${weight}_scale_inv`;
}
