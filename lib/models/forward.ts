import {
  attention,
  cachedAttention,
  cacheWrite,
  cast,
  type FloatDType,
  input,
  tensor,
  type Value,
} from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import type { Model } from "./model.ts";

/** Ids and positions of a trace, both (rows) i32. */
export interface Rows {
  ids: Value;
  positions: Value;
}

function contextOf(model: Model, rows: Rows, dtype: FloatDType, attend: ForwardContext["attend"]): ForwardContext {
  const cache = new Map<string, Value>();
  return {
    ...rows,
    dtype,
    has: (name) => model.tensors.has(name),
    weight: (name) => {
      const stored = model.weight(name);
      const value = cache.get(name) ?? tensor(name, stored.dtype, stored.shape);
      cache.set(name, value);
      return value;
    },
    constant: (name) => {
      const key = `constant.${name}`;
      return tensor(key, "f32", model.weight(key).shape);
    },
    attend,
  };
}

/**
 * Whole sequences side by side, differentiable: rows = sequences · sequenceLength. With dtype bf16, matrices are rounded
 * to it as they enter the program, so that f32 weights stay the masters.
 * @returns hidden states after the last norm, (rows, width), and the matrix that makes logits of them
 */
export function sequenceForward(
  model: Model,
  rows: Rows,
  { sequenceLength, dtype = "f32" }: { sequenceLength: number; dtype?: FloatDType },
): { hidden: Value; head: Value } {
  const base = contextOf(model, rows, dtype, (_, heads, options) => attention(heads, { ...options, sequenceLength }));
  const cache = new Map<string, Value>();
  const context: ForwardContext = {
    ...base,
    weight: (name) => {
      let value = cache.get(name);
      if (!value) {
        const stored = base.weight(name);
        value = dtype === "f32" || stored.rank < 2 ? stored : cast(stored, dtype);
        cache.set(name, value);
      }
      return value;
    },
  };
  return {
    hidden: model.family.forward(context, model.config),
    head: context.weight(model.family.head(model.config).weight),
  };
}

/** Shape of a KV cache: `slots` sequences of at most `capacity` tokens. */
export interface CacheShape {
  slots: number;
  capacity: number;
  dtype: FloatDType;
}

/** Names and shapes of the cache tensors that cachedForward binds, two a layer. */
export function cacheTensors(model: Model, cache: CacheShape): { name: string; shape: number[] }[] {
  const { numHiddenLayers, numKeyValueHeads, headDim } = model.config;
  const shape = [cache.slots, numKeyValueHeads, cache.capacity, headDim];
  return Array.from({ length: numHiddenLayers }, (_, i) => [`cache.${i}.k`, `cache.${i}.v`])
    .flat()
    .map((name) => ({ name, shape }));
}

/**
 * New rows of several sequences over their KV caches.
 * @param segments (count, 4) i32: first row, row count, slot, past length
 */
export function cachedForward(
  model: Model,
  rows: Rows,
  segments: Value,
  cache: CacheShape,
): { hidden: Value; head: Value } {
  const { numKeyValueHeads, headDim } = model.config;
  const shape = [cache.slots, numKeyValueHeads, cache.capacity, headDim];
  const context = contextOf(model, rows, "f32", (layer, { q, k, v }, options) => {
    const cacheK = tensor(`cache.${layer}.k`, cache.dtype, shape);
    const cacheV = tensor(`cache.${layer}.v`, cache.dtype, shape);
    cacheWrite(cacheK, k, segments);
    cacheWrite(cacheV, v, segments);
    return cachedAttention({ q, cacheK, cacheV, segments }, options);
  });
  return {
    hidden: model.family.forward(context, model.config),
    head: context.weight(model.family.head(model.config).weight),
  };
}

/** The inputs `ids` and `positions` of a trace. */
export function rowInputs(rows: Value["shape"][number]): Rows {
  return { ids: input("ids", "i32", [rows]), positions: input("positions", "i32", [rows]) };
}
