import { invalidArgument } from "../core/errors.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import { type DType, type FloatDType, Q8_SCALE_BYTES } from "../graph/index.ts";
import { slidingWindow } from "./decoder-weights.ts";
import type { ModelView } from "./model-view.ts";

/**
 * Element type of cached keys and values. `q8` stores one byte per element, and one f32 scale per head and token. It
 * takes about a quarter of f32's memory.
 */
export type CacheDType = FloatDType | "q8";

const CACHE_DTYPES: readonly CacheDType[] = ["f32", "bf16", "f16", "q8"];

/** Whether a value is the name of a cache type. */
export function isCacheDtype(dtype: unknown): dtype is CacheDType {
  return CACHE_DTYPES.includes(dtype as CacheDType);
}

/** Returns a valid cache type. @throws INVALID_ARGUMENT for anything else */
export function checkedCacheDtype(dtype: CacheDType): CacheDType {
  if (!isCacheDtype(dtype)) throw invalidArgument("cacheDtype", "f32, bf16, f16 or q8", dtype);
  return dtype;
}

/**
 * Returns the default cache type, which is as exact as the matrix products that compute keys and values. It is f32 if
 * activations stay in f32, or if the weights are f32 or f16. It is bf16 for bf16 weights. It is f16 for quantized
 * weights, because f16 rounds far less than int8 activations. If the matrices have several types, the type of most of
 * their bytes decides.
 */
export function defaultCacheDtype(model: ModelView): CacheDType {
  if (model.quantizedActivations === "f32") return "f32";
  const bytes = new Map<CacheDType, number>();
  for (const name of model.languageWeightNames) {
    const weight = model.asStored(name);
    if (weight.shape.length < 2) continue;
    const { dtype: stored } = weight;
    const dtype = stored === "bf16" ? stored : stored === "f32" || stored === "f16" ? "f32" : "f16";
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + weight.bytes);
  }
  return [...bytes].reduce((most, next) => (next[1] > most[1] ? next : most), ["f32", 0] as [CacheDType, number])[0];
}

/** Shape of a KV cache: `slots` sequences of at most `capacity` tokens. */
export interface CacheShape {
  slots: number;
  capacity: number;
  dtype: CacheDType;
  /**
   * Maximum capacity that the cache may grow to. It decides where attention splits long contexts, so that results do not depend on the
   * current capacity.
   */
  context: number;
  /**
   * Pages of a paged cache: layers that keep all positions store them in `count` pages of `size` positions. Slots take pages as they grow.
   * Default: each slot has separate rows.
   */
  pages?: { size: number; count: number } | undefined;
  /** Names of the adapters to apply, which keys and values depend on. Default: the model's active ones. */
  adapters?: readonly string[] | undefined;
}

/** Allowed page sizes. Each is a divisor or a multiple of 64, the number of keys that kernels read at a time. */
const PAGE_SIZES: readonly number[] = [16, 32, 64, 128, 256];

/** Returns a valid page size. @throws INVALID_ARGUMENT for anything else */
export function checkedPageSize(size: number): number {
  if (!PAGE_SIZES.includes(size)) throw invalidArgument("cachePageSize", PAGE_SIZES.join(", "), size);
  return size;
}

/** The part of a cache's shape that determines its tensors. */
export type CacheLayout = Omit<CacheShape, "adapters">;

/** Maximum number of rows of one sequence in one run over a cache. */
export const MAX_SEGMENT_ROWS = 256;
/** The number of rows of a ring is a multiple of the number of keys that kernels read at a time. */
const RING_MULTIPLE = 64;

/**
 * Layout of one layer's cache: position p of a sequence is in row p mod `rows`. If there are fewer rows than the
 * capacity, `ring` is the layer's window, and new positions overwrite old ones. Otherwise `ring` is 0.
 */
interface LayerCache {
  rows: number;
  ring: number;
}

/**
 * Returns the layout of a layer's cache. A sliding-window layer stores its window plus one run of tokens, so that a run can be
 * rolled back. After a run's last row is written, the window of the run's first row is still stored.
 */
export function layerCache(
  config: ModelConfig,
  layer: number,
  { capacity: rows, context, pages }: Pick<CacheLayout, "capacity" | "context" | "pages">,
): LayerCache {
  const capacity = pages ? context : rows; // so that the layout of a paged cache does not change when it grows
  const window = slidingWindow(config, layer);
  if (window === undefined) return { rows: capacity, ring: 0 };
  const ring = Math.ceil((window + MAX_SEGMENT_ROWS) / RING_MULTIPLE) * RING_MULTIPLE;
  return ring < capacity ? { rows: ring, ring: window } : { rows: capacity, ring: 0 };
}

/**
 * Returns the element type and shape of a layer's keys, and of its values: (slots, key heads, rows, width), or paged
 * (pages, key heads, page size, width). With q8 the width is in bytes.
 */
export function layerTensor(
  config: ModelConfig,
  layer: number,
  cache: CacheLayout,
): { dtype: DType; shape: number[]; paged: boolean } {
  const { rows, ring } = layerCache(config, layer, cache);
  const { numKeyValueHeads: heads, headDim } = config;
  const q8 = cache.dtype === "q8";
  const { pages } = ring === 0 ? cache : {};
  const places = pages ? [pages.count, heads, pages.size] : [cache.slots, heads, rows];
  const dtype = cache.dtype === "q8" ? "u8" : cache.dtype;
  return { dtype, shape: [...places, q8 ? headDim + Q8_SCALE_BYTES : headDim], paged: pages !== undefined };
}

/** Returns the names, types and shapes of the tensors that cachedForward binds: two per layer. */
export function cacheTensors(
  model: ModelView,
  cache: CacheLayout,
): { name: string; layer: number; dtype: DType; shape: number[]; paged: boolean }[] {
  const { config } = model;
  return Array.from({ length: config.numHiddenLayers }, (_, layer) =>
    ["k", "v"].map((part) => ({ name: `cache.${layer}.${part}`, layer, ...layerTensor(config, layer, cache) })),
  ).flat();
}
