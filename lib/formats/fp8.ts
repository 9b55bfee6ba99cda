// Weights of 8-bit floats in the layout of DeepSeek-V3's and Qwen3's folders: a matrix of F8_E4M3, and a tensor `…_scale_inv` by which each
// block of 128 × 128 is multiplied (quant_method "fp8", weight_block_size [128, 128]).
import { HeddleError } from "../core/errors.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Device } from "../graph/index.ts";
import type { StoredElements } from "../graph/lane-cast.ts";
import { FP8_BLOCK } from "../graph/ops/fp8.ts";
import { castBytes, hostOf } from "./native-cast.ts";
import { collect, type TensorData } from "./tensor-data.ts";
import { weightBytes } from "./weight-dtype.ts";
import type { StoredTensor, TensorInfo, WeightSource } from "./weights.ts";

const SUFFIX = "_scale_inv";
const STORED = "F8_E4M3";

/** The scales of the blocks of a stored matrix, in row-major order. */
export interface StoredFp8 {
  scales(): Float32Array;
}

/**
 * Presents matrices of 8-bit floats as bf16, the type that they were rounded from. Their field `fp8` holds the scales, and
 * `names` omits the tensors of scales.
 * @throws HeddleError INVALID_FILE for a matrix without scales, or with the wrong number of scales
 */
export function readFp8(weights: WeightSource): WeightSource {
  const matrices = new Map<string, TensorInfo>();
  for (const name of weights.names()) {
    const info = weights.info(name);
    if (info.storedDtype === STORED && info.shape.length === 2) matrices.set(name, info);
  }
  if (matrices.size === 0) return weights;
  const scalesOf = new Map([...matrices].map(([name, info]) => [name, checkedScales(weights, name, info)]));
  const scales = new Set(scalesOf.values());
  const infoOf = (info: TensorInfo): TensorInfo => ({
    ...info,
    dtype: "bf16",
    bytes: weightBytes("bf16", info.shape),
  });
  return {
    ...weights,
    names: () => weights.names().filter((name) => !scales.has(name)),
    has: (name) => weights.has(name) && !scales.has(name),
    info: (name) => {
      const found = matrices.get(name);
      return found ? infoOf(found) : weights.info(name);
    },
    tensor(name) {
      const info = matrices.get(name);
      if (!info) return weights.tensor(name);
      const stored = weights.tensor(name);
      const fp8 = { scales: () => numbersOf(weights.tensor(scalesOf.get(name)!)) };
      return { ...stored, ...infoOf(info), dtype: "bf16", fp8, sources: () => [elementsOf(stored, fp8)] };
    },
  };
}

/** Checks the scales of a matrix, and returns the name of their tensor. */
function checkedScales(weights: WeightSource, name: string, { shape }: TensorInfo): string {
  const scales = `${name}${SUFFIX}`;
  if (!weights.has(scales)) throw new HeddleError("INVALID_FILE", `${weights.path}: expected ${scales}, got none`);
  const got = weights.info(scales);
  const expected = shape.map((n) => Math.ceil(n / FP8_BLOCK));
  if (got.dtype === undefined || !isFloat(got.dtype) || String(got.shape) !== String(expected))
    throw new HeddleError(
      "INVALID_FILE",
      `${scales}: expected floats [${expected.join(", ")}], got ${got.storedDtype} [${got.shape.join(", ")}]`,
    );
  return scales;
}

/** Reads a tensor of f32, f16 or bf16 as f32. */
function numbersOf({ file, offset, bytes, dtype, name }: StoredTensor): Float32Array {
  const stored = new Uint8Array(file.bytes(offset, bytes));
  return new Float32Array(castBytes(stored, dtype as "f32", "f32", name).buffer);
}

function elementsOf({ file, offset, bytes, shape }: StoredTensor, { scales }: StoredFp8): StoredElements {
  return { data: file, offset, bytes, fp8: { scales: scales(), columns: shape[1]! } };
}

/**
 * Matches the names of matrices that are stored as 8-bit floats: those of linear layers whose names end in `_proj`, and Mixtral's experts.
 * Linear layers with other names, embeddings, heads and routers are excluded. GPT-2's c_proj is too, because it is transposed.
 */
export const FP8_WEIGHTS = /(?<!^classifier)\.((?!c_proj)[a-z_]+_proj|experts\.[0-9]+\.w[123])\.weight$/;

/** The entry `quantization_config` in config.json of a folder with 8-bit floats. */
export const FP8_CONFIG = {
  quant_method: "fp8",
  fmt: "e4m3",
  activation_scheme: "dynamic",
  weight_block_size: [FP8_BLOCK, FP8_BLOCK],
};

/**
 * Converts a matrix to 8-bit floats: bytes (rows, columns), and f32 scales of its blocks. `numbers` must not change
 * until the promise settles.
 * @throws HeddleError NUMERICAL if a number is not finite
 */
export async function quantizeFp8(
  device: Device,
  numbers: Float32Array,
  rows: number,
  columns: number,
): Promise<{ bytes: Uint8Array; scales: Uint8Array }> {
  const { bytes, scales } = await hostOf(device).lane.quantizeFp8(numbers, rows, columns);
  return { bytes: new Uint8Array(bytes), scales: new Uint8Array(scales) };
}

/**
 * Converts the matrices that match `FP8_WEIGHTS`, given in f32, to 8-bit floats. Memory holds one matrix at a time, and
 * the scales of matrices already written. If scales are requested before their matrix, the matrix is converted twice.
 * @throws NUMERICAL if a number is not finite
 */
export function writeFp8(tensors: readonly TensorData[], device: Device): TensorData[] {
  return tensors.flatMap((tensor): TensorData[] => {
    if (!FP8_WEIGHTS.test(tensor.name) || tensor.shape.length !== 2) return [tensor];
    const { name, shape } = tensor;
    const [rows, columns] = shape as [number, number];
    const made = async () => {
      const bytes = await collect(tensor);
      // A Float32Array needs an offset that is a multiple of 4.
      const { buffer, byteOffset, byteLength } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
      return quantizeFp8(device, new Float32Array(buffer, byteOffset, byteLength / 4), rows, columns);
    };
    let scales: Uint8Array | undefined;
    const blocks = shape.map((n) => Math.ceil(n / FP8_BLOCK));
    const bytes = async () => {
      const both = await made();
      scales = both.scales;
      return both.bytes;
    };
    return [
      { name, dtype: "u8", stored: STORED, shape, bytes },
      {
        name: `${name}${SUFFIX}`,
        dtype: "f32",
        late: true,
        shape: blocks,
        bytes: async () => scales ?? (await made()).scales,
      },
    ];
  });
}
