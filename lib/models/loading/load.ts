import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import { type ModelConfig, rotaryDim } from "../../formats/config/config.ts";
import { ownHead } from "../../formats/config/heads.ts";
import { type OrderedElements, sourcesOf, transposed } from "../../formats/element-sources.ts";
import { FP8_WEIGHTS, type StoredFp8 } from "../../formats/fp8.ts";
import { castTensor } from "../../formats/native-cast.ts";
import { isQuantizedTarget, type QuantizedTarget, quantizedType } from "../../formats/quantization-choice.ts";
import { pieceOf } from "../../formats/weight-dtype.ts";
import type { StoredTensor } from "../../formats/weights.ts";
import { isNumber, type NumberDType } from "../../graph/dtype.ts";
import {
  type Device,
  type FloatDType,
  FP8_BLOCK,
  isQuantized,
  type QuantizedActivations,
  Tensor,
} from "../../graph/index.ts";
import { shapeOf, type WeightSpec } from "../family.ts";
import { modelWeights } from "../heads.ts";
import { Model } from "../model.ts";
import { familyOf } from "../registry.ts";
import { scaleName } from "./dequantize.ts";

/** The source of a model's weights, by their full Hugging Face names. `openModelFiles` provides it. */
export interface NamedWeights {
  names(): string[];
  has(name: string): boolean;
  tensor(name: string): StoredTensor;
  /**
   * Returns a tensor's elements in transformers' layout, or undefined if the file has this layout already. The order of
   * rows may still differ: see `rowOrder`.
   */
  reordered?(name: string): Promise<OrderedElements | undefined>;
  /** The order of reordered rows (q and k in GGUF): row r of each block of `order.length` rows is the stored row order[r] of that block. */
  rowOrder?(name: string): Int32Array | undefined;
}

/** Element types that weights may be loaded in. @useDeclaredType */
export type LoadDType = FloatDType | QuantizedTarget | "auto";

interface LoadWeightsOptions {
  device: Device;
  /**
   * `auto` keeps each weight in its stored type, mapped without a copy. A quantized type applies to matrices (see
   * wantedType).
   */
  dtype?: LoadDType | undefined;
  /** Rounding of activations in products with quantized and bf16 weights. Default: int8. */
  quantizedActivations?: QuantizedActivations | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Makes a model from stored weights. They are mapped if alignment and `dtype` allow, and converted otherwise.
 * @throws HeddleError INVALID_FILE for a weight that is missing, additional or of another shape, UNSUPPORTED for an element type
 */
export async function loadModel(
  config: ModelConfig,
  source: NamedWeights,
  options: LoadWeightsOptions,
): Promise<Model> {
  const { device, dtype = "auto", onProgress, signal } = options;
  const expected = modelWeights(config);
  const unknown = new Set(source.names());
  const tensors = new Map<string, Tensor>();
  let done = 0;
  try {
    for (const [name, spec] of expected) {
      throwIfAborted(signal, "load");
      if (!source.has(name)) {
        if (spec.optional) continue;
        throw missing(
          config,
          name,
          [...unknown].filter((other) => !expected.has(other)),
        );
      }
      unknown.delete(name);
      const t = source.tensor(name);
      const shape = shapeOf(spec, t.dtype);
      if (t.shape.length !== shape.length || t.shape.some((d, i) => d !== shape[i]))
        throw new HeddleError(
          "INVALID_FILE",
          `${name}: expected (${shape.join(", ")}) by the configuration, got (${t.shape.join(", ")})`,
        );
      if (t.fp8 && dtype === "auto" && FP8_WEIGHTS.test(name) && !spec.transposed)
        await placeFp8(name, t, t.fp8, device, tensors);
      else tensors.set(name, await place(name, t, spec, source, dtype, device, config, signal));
      onProgress?.(++done, expected.size);
    }
    rejectUnknown(config, unknown, source, tensors);
    const { quantizedActivations } = options;
    return await Model.fromWeights(config, device, tensors, { quantizedActivations });
  } catch (error) {
    for (const t of tensors.values()) t.dispose();
    throw error;
  }
}

/** The error for a missing weight, with the name that the file may have for it. */
function missing({ modelType }: ModelConfig, name: string, unknown: readonly string[]): HeddleError {
  const near = nearest(name, unknown);
  return new HeddleError(
    "INVALID_FILE",
    `${modelType}: expected a weight ${name}, found ${near === undefined ? "none" : `only ${near}, which the model does not have`}`,
  );
}

async function placeFp8(
  name: string,
  t: StoredTensor,
  fp8: StoredFp8,
  device: Device,
  tensors: Map<string, Tensor>,
): Promise<void> {
  const [rows, columns] = t.shape as [number, number];
  const shape = [Math.ceil(rows / FP8_BLOCK), Math.ceil(columns / FP8_BLOCK)];
  const scale = await Tensor.fromOwn(device, "f32", shape, fp8.scales());
  tensors.set(scaleName(name), scale);
  tensors.set(name, Tensor.fp8(Tensor.mapped(device, "u8", t.shape, t.file, t.offset), scale));
}

/** Refuses additional weights, because the model may compute something other than the configuration says. */
function rejectUnknown(
  config: ModelConfig,
  unknown: Set<string>,
  source: NamedWeights,
  loaded: ReadonlyMap<string, Tensor>,
): void {
  const own = ownHead(config);
  const { weight: table } = familyOf(config.modelType).head(config);
  for (const name of unknown) {
    // Ignore a stored head if it is tied to the embedding.
    const tied =
      config.tieWordEmbeddings &&
      (name === own || name.endsWith(`.${own}`)) &&
      sameSize(source.tensor(name), loaded.get(table));
    if (tied) continue;
    throw new HeddleError(
      "INVALID_FILE",
      `${config.modelType}: unexpected weight ${name}: the configuration has no such layer`,
    );
  }
}

function sameSize(t: StoredTensor, table: Tensor | undefined): boolean {
  return table !== undefined && t.shape.every((d, i) => d === table.shape[i]);
}

async function place(
  name: string,
  t: StoredTensor,
  spec: WeightSpec,
  source: NamedWeights,
  dtype: LoadDType,
  device: Device,
  config: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  if (!isNumber(t.dtype))
    throw new HeddleError("UNSUPPORTED", `${t.name}: expected floating or quantized weights, got ${t.storedDtype}`);
  const wanted = wantedType(name, { dtype: t.dtype, shape: t.shape }, spec, dtype, config);
  const order = source.rowOrder?.(name);
  const aligned = t.offset % (isQuantized(t.dtype) ? 1 : pieceOf(t.dtype).bytes) === 0;
  if (order && wanted === t.dtype) {
    const keepOrder = aligned && turnsWhole(name, order.length, source, config);
    return Tensor.mapped(device, t.dtype, t.shape, t.file, t.offset, { order, keepOrder });
  }
  const reordered = await source.reordered?.(name);
  if (wanted === t.dtype && !reordered && !t.sources && aligned)
    return Tensor.mapped(device, t.dtype, t.shape, t.file, t.offset);
  const ordered = reordered ?? { sources: sourcesOf(t), from: t.dtype };
  // A family may store matrices as (inputs, outputs), but quantized blocks are along the inputs.
  const transposes = spec.transposed && isQuantized(wanted) !== isQuantized(t.dtype);
  const { sources, from } = transposes
    ? await transposed(device, { ...t, dtype: ordered.from, sources: () => ordered.sources })
    : ordered;
  return castTensor(device, shapeOf(spec, wanted), sources, { name: t.name, from, to: wanted, signal });
}

/**
 * Whether the rows of q or k may stay in GGUF's order. RoPE then pairs adjacent dimensions instead. This needs RoPE over whole heads in
 * this layer, and no bias, because the order of a bias would have to match.
 */
function turnsWhole(name: string, width: number, source: NamedWeights, config: ModelConfig): boolean {
  const layer = Number(/\.layers\.([0-9]+)\./.exec(name)?.[1]);
  return (
    rotaryDim(config) === width && config.noRopeLayers?.[layer] !== 0 && !source.has(name.replace(/weight$/, "bias"))
  );
}

/**
 * Whether a weight is a matrix. Biases of experts and norms of each head have several dimensions, but are lists of
 * vectors.
 */
function isMatrix(name: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && !/\.bias$|\.[qk]_norm\.weight$/.test(name);
}

/**
 * Matches weights that are never quantized: tables indexed by position or token type, and small matrices whose errors
 * affect everything, such as expert routers and classifiers.
 */
const NEVER_QUANTIZED =
  /(wpe|position_embeddings|token_type_embeddings|relative_attention_bias|(mlp|block_sparse_moe)\.(gate|router(\.layer)?|shared_expert_gate)|^(score|classifier(\.out_proj)?))\.weight$/;

/**
 * Returns the type that a weight is loaded in. Vectors keep their stored type or get a wider requested type, because
 * they are small and their precision matters. Quantized vectors become f32, because ops do not take them. Weights that
 * are already quantized keep their type if another quantized type is requested, because converting would lose
 * precision.
 */
function wantedType(
  name: string,
  { dtype: stored, shape }: { dtype: NumberDType; shape: readonly number[] },
  spec: WeightSpec,
  dtype: LoadDType,
  config: ModelConfig,
): NumberDType {
  const matrix = isMatrix(name, shape);
  if (isQuantizedTarget(dtype)) {
    if (isQuantized(stored)) return matrix ? stored : "f32";
    if (!matrix || NEVER_QUANTIZED.test(name) || (spec.transposed && shape.length > 2)) return stored;
    const { weight: head } = familyOf(config.modelType).head(config);
    return quantizedType(dtype, { shape: shapeOf(spec, dtype), head: name === head });
  }
  if (matrix) return dtype === "auto" ? stored : dtype;
  if (isQuantized(stored)) return "f32";
  return dtype === "auto" || pieceOf(dtype).bytes < pieceOf(stored).bytes ? stored : dtype;
}
