import { invalidArgument } from "../core/errors.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import { type DType, type FloatDType, Q8_SCALE_BYTES } from "../graph/index.ts";
import { slidingWindow } from "./decoder-weights.ts";
import type { ModelView } from "./model-view.ts";

/** How keys and values are kept: as floats, or `q8`: bytes with one scale for each head of a token, about a quarter of f32. */
export type CacheDType = FloatDType | "q8";

const CACHE_DTYPES: readonly CacheDType[] = ["f32", "bf16", "f16", "q8"];

export function isCacheDtype(dtype: unknown): dtype is CacheDType {
  return CACHE_DTYPES.includes(dtype as CacheDType);
}

/** @throws INVALID_ARGUMENT for anything else */
export function checkedCacheDtype(dtype: CacheDType): CacheDType {
  if (!isCacheDtype(dtype)) throw invalidArgument("cacheDtype", "f32, bf16, f16 or q8", dtype);
  return dtype;
}

/**
 * How keys and values are kept where nobody says: as exactly as the products that make them. f32 where activations meet
 * the weights as they are: f32 and f16 ones, and all with activations kept in f32. Else 16 bits: bf16 for bf16 weights, and for
 * quantised ones f16, whose rounding is far below that of activations in int8.
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
  /** Maximum capacity. */
  context: number;
  /** Layers that keep all positions keep them in `count` pages of `size` positions, which slots take as they grow. Default: each slot has its own rows. */
  pages?: { size: number; count: number } | undefined;
  /** Names of the adapters that take part: keys and values depend on them. Default: the model's active ones. */
  adapters?: readonly string[] | undefined;
}

/** Page sizes that the kernels take whole blocks of keys from. */
const PAGE_SIZES: readonly number[] = [16, 32, 64, 128, 256];

/** @throws INVALID_ARGUMENT for anything else */
export function checkedPageSize(size: number): number {
  if (!PAGE_SIZES.includes(size)) throw invalidArgument("cachePageSize", PAGE_SIZES.join(", "), size);
  return size;
}

/** The tensors' part of a cache's shape. */
export type CacheLayout = Omit<CacheShape, "adapters">;

/** Most rows of one sequence in one run over a cache. */
export const MOST_SEGMENT_ROWS = 256;
/** Rings are whole blocks of as many keys as the kernels take at a time. */
const RING_MULTIPLE = 64;

/**
 * How one layer's cache lies: position p of a sequence is in row p mod `rows`. `ring`: its window, where the rows are fewer
 * than the capacity and older positions give way; 0 where all stay.
 */
export interface LayerCache {
  rows: number;
  ring: number;
}

/**
 * A sliding layer keeps its window plus one run. After the last row of a run is written, its first row still has a whole window. One run of
 * tokens can be rolled back.
 */
export function layerCache(
  config: ModelConfig,
  layer: number,
  { capacity: rows, context, pages }: Pick<CacheLayout, "capacity" | "context" | "pages">,
): LayerCache {
  const capacity = pages ? context : rows; // a paged cache never becomes a ring as it grows
  const window = slidingWindow(config, layer);
  if (window === undefined) return { rows: capacity, ring: 0 };
  const ring = Math.ceil((window + MOST_SEGMENT_ROWS) / RING_MULTIPLE) * RING_MULTIPLE;
  return ring < capacity ? { rows: ring, ring: window } : { rows: capacity, ring: 0 };
}

/**
 * Element type and shape of a layer's keys, and of its values: (slots, key heads, rows, width), or in pages (pages, key heads, page
 * size, width); with q8 the width in bytes.
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

/** Names, types and shapes of the tensors that cachedForward binds, two a layer. */
export function cacheTensors(
  model: ModelView,
  cache: CacheLayout,
): { name: string; layer: number; dtype: DType; shape: number[]; paged: boolean }[] {
  const { config } = model;
  return Array.from({ length: config.numHiddenLayers }, (_, layer) =>
    ["k", "v"].map((part) => ({ name: `cache.${layer}.${part}`, layer, ...layerTensor(config, layer, cache) })),
  ).flat();
}
