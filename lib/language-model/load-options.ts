// Options for loading a model.
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { checkFunction, checkWhole } from "../core/option-values.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import type { Device, QuantizedActivations } from "../graph/index.ts";
import type { PullOptions } from "../hub/pull.ts";
import { type CacheDType, checkedCacheDtype, checkedPageSize } from "../models/cache-shape.ts";
import type { LoadDType } from "../models/loading/load.ts";

/** Options of `LanguageModel.load`. */
export interface LoadOptions {
  /** The device: a name as for `openDevice` (`auto`, `cpu`, `cuda`, `cuda:N`), or a Device. Default: as for `openDevice`. */
  device?: string | Device | undefined;
  /** Number of CPU threads. Default: as for `openDevice`. */
  threads?: number | undefined;
  /** Whether f32 matrix products on CUDA devices may round their operands to tf32: see DeviceOptions. */
  allowTf32?: boolean | undefined;
  /**
   * Element type of the weights. `auto` keeps each weight as it is stored, mapped without a copy if the file's alignment allows. `q8_0`,
   * `q4_0`, `q4_k` and `q6_k` quantize matrices as they are read, by the rules of `convertModel`. Weights that are already quantized then
   * keep their type. Default: `auto`.
   */
  dtype?: LoadDType | undefined;
  /**
   * How activations are rounded before products with narrow weights when text is generated. `f32` does not round, which is slower. `int8`
   * (the default) rounds to 8 bits in groups of 32 for quantized weights. For 8-bit floats it rounds to e4m3 in groups of 128, and for bf16
   * weights to bf16. For long prompts, CUDA and processors with matrix tiles (AMX) instead round activations and quantized weights to bf16.
   */
  quantizedActivations?: QuantizedActivations | undefined;
  /** Called after each weight, with the number of loaded weights and the total. */
  onProgress?: ((progress: { loaded: number; total: number }) => void) | undefined;
  /** Aborts the call, which then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
  /**
   * Whether to fetch a model that is neither a path nor in the cache of Hugging Face's tools, as `pullModel` does: true, or options of
   * `pullModel`. Default: false, which fetches nothing.
   */
  download?: boolean | PullOptions | undefined;
  /** Maximum number of tokens of a sequence. Default: the model's limit. */
  contextLength?: number | undefined;
  /**
   * Element type of KV caches: f32, bf16, f16, or q8. bf16 and f16 take half the memory of f32, and q8 little more than a quarter. Default:
   * bf16 for bf16 weights and f16 for quantized ones. It is f32 for all other weights, and with `quantizedActivations: "f32"`.
   */
  cacheDtype?: CacheDType | undefined;
  /**
   * Page size of KV caches with several sequences, in tokens (16, 32, 64, 128 or 256). Common prefixes are then stored once, and each
   * sequence takes only the memory it needs. Results do not change. Default: contiguous rows per sequence.
   */
  cachePageSize?: number | undefined;
}

const LOAD_OPTIONS: Record<keyof LoadOptions, true> = {
  device: true,
  threads: true,
  allowTf32: true,
  dtype: true,
  quantizedActivations: true,
  contextLength: true,
  cacheDtype: true,
  cachePageSize: true,
  onProgress: true,
  signal: true,
  download: true,
};

/** Checks the options before anything is read. @throws HeddleError INVALID_ARGUMENT */
export function checkLoadOptions(options: LoadOptions): void {
  rejectUnknownNames(options, Object.keys(LOAD_OPTIONS));
  const { onProgress } = options;
  checkFunction("onProgress", onProgress);
  const { download } = options;
  if (download !== undefined && typeof download !== "boolean" && (typeof download !== "object" || download === null))
    throw invalidArgument("download", "true, false or options of pullModel", download);
  if (options.contextLength !== undefined) checkedContext(options.contextLength, 2 ** 31 - 1);
  if (options.cacheDtype !== undefined) checkedCacheDtype(options.cacheDtype);
  if (options.cachePageSize !== undefined) checkedPageSize(options.cachePageSize);
}

/** Checks a context length against the model's number of positions, and returns it. @throws HeddleError INVALID_ARGUMENT */
export function checkedContext(length: number, maxPositions: number): number {
  checkWhole("contextLength", length, 1);
  if (length > maxPositions)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `contextLength: expected at most the model's ${maxPositions} positions, got ${length}`,
    );
  return length;
}
