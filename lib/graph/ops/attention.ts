import { fail, need, needDim, needDType, needFloat, needNames, needNumber, needShape, needValue } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import { fixed, type Value } from "../value.ts";
import type { QuantizedActivations } from "./linear.ts";

const type = (v: Value) => ({ dtype: v.dtype, shape: v.shape });

const ropeNode = defineOp({
  name: "rope",
  infer([x, positions, frequencies]) {
    const v = needFloat("rope", "x", x, 3);
    needDim("rope", "positions", needDType("rope", "positions", positions, "i32", 1).dim(0), v.dim(0));
    const f = needDType("rope", "frequencies", frequencies, "f32", frequencies?.rank === 2 ? 2 : 1);
    if (f.rank === 2) needDim("rope", "rows of frequencies", f.dim(0), v.dim(0));
    const half = f.last;
    if (half * 2 > v.last) fail("rope", "frequencies", `at most ${v.last / 2}`, half);
    return [type(v)];
  },
  vjp: ({ inputs: [, positions, frequencies], attributes }, [dy]) => [
    ropeNode([dy, positions, frequencies], {
      ...attributes,
      interleaved: attributes.interleaved_out!,
      interleaved_out: attributes.interleaved!,
      inverse: attributes.inverse ? 0 : 1,
    })[0],
    undefined,
    undefined,
  ],
});

/**
 * Rotary position embedding (Su et al. 2021): rotates pairs of the first R dimensions of each head by the angle
 * position · frequency.
 * @param x (rows, heads, width) @param positions (rows) i32
 * @param frequencies (R/2) f32, or (rows, R/2) with frequencies per row; R ≤ width
 * @param options.interleaved whether a pair is two adjacent dimensions (llama in GGUF) or one dimension of each half
 * (Hugging Face). `input`: pairs are adjacent in x, but in the result each half has one dimension of every pair
 * @param options.scale factor of cosine and sine (YaRN's attention factor)
 */
export function rope(
  x: Value,
  positions: Value,
  frequencies: Value,
  options: { interleaved?: boolean | "input" | undefined; scale?: number | undefined } = {},
): Value {
  needNames("rope: options", options, ["interleaved", "scale"]);
  return ropeNode([x, positions, frequencies], {
    interleaved: options.interleaved ? 1 : 0,
    interleaved_out: options.interleaved === true ? 1 : 0,
    scale: options.scale ?? 1,
    inverse: 0,
  })[0]!;
}

const ropeFrequenciesNode = defineOp({
  name: "rope_frequencies",
  infer([frequencies, long, lengths]) {
    const f = needDType("rope_frequencies", "frequencies", frequencies, "f32", 1);
    if (long) needShape("rope_frequencies", "long", needDType("rope_frequencies", "long", long, "f32", 1), f.shape);
    const rows = lengths && needDType("rope_frequencies", "lengths", lengths, "i32", 1).dim(0);
    return [{ dtype: "f32", shape: rows === undefined ? f.shape : [rows, f.dim(0)] }];
  },
});

/** How the rotary frequencies of sequences longer than `original` positions change. */
export interface LengthScaling {
  /** Context length of the original model. Only longer sequences are scaled. */
  original: number;
  /** The frequencies of longer sequences, (R/2) f32 (LongRoPE, Ding et al. 2024). Default: dynamic NTK scaling by `factor`. */
  long?: Value | undefined;
  /** Factor of dynamic NTK scaling (transformers' _compute_dynamic_ntk_parameters), in which the base θ grows with the length. */
  factor?: number | undefined;
}

/**
 * Computes rotary frequencies for one sequence length, or for rows that belong to sequences of different lengths.
 * @param frequencies (R/2) f32, for sequences of up to `original` positions @param lengths a number, or one length per
 * row, (rows) i32
 * @returns (R/2) f32, or (rows, R/2)
 */
export function ropeFrequencies(frequencies: Value, lengths: Value | number, scaling: LengthScaling): Value {
  const { original, long, factor = 1 } = needNames("ropeFrequencies: scaling", scaling, ["original", "long", "factor"]);
  const rows = typeof lengths === "number" ? undefined : lengths;
  const length = typeof lengths === "number" ? lengths : 1;
  return ropeFrequenciesNode([frequencies, long, rows], { length, original, factor })[0]!;
}

/** Options of all kinds of attention: the mask and the scores. */
export interface AttentionOptions {
  /** Whether a query sees only keys at its own position and before. Default: true. */
  causal?: boolean | undefined;
  /** Sliding window: query i sees key j if i − window < j ≤ i or, without causal, if |i − j| ≤ window / 2. Default: no limit. */
  window?: number | undefined;
  /** Factor of q·k. Default 1/√width. */
  scale?: number | undefined;
  /** Soft cap of the scores by tanh (Gemma 2). Default: none. */
  softcap?: number | undefined;
}

const SCORES = ["causal", "window", "scale", "softcap"] as const;
const OPTIONS = [...SCORES, "sequenceLength", "activations"] as const;
const OPERANDS = ["q", "k", "v", "documents", "sinks"] as const;
const CACHED_OPTIONS = [...SCORES, "context", "ring", "activations"] as const;
const CACHED_OPERANDS = ["q", "cacheK", "cacheV", "segments", "sinks", "pages"] as const;

function attributesOf(q: Value, { causal = true, window, scale, softcap }: AttentionOptions): Record<string, number> {
  return { causal: causal ? 1 : 0, window: window ?? 0, scale: scale ?? 1 / Math.sqrt(q.last), softcap: softcap ?? 0 };
}

function checkHeads(op: string, q: Value | undefined, k: Value | undefined, v: Value | undefined): Value {
  const query = needFloat(op, "q", q, 3);
  const key = needFloat(op, "k", k, 3);
  needShape(op, "v", needFloat(op, "v", v, 3), key.shape);
  needDim(op, "width of k", key.dim(2), query.dim(2));
  const heads = fixed(query.dim(1), "heads of q");
  const keyHeads = fixed(key.dim(1), "heads of k");
  if (heads % keyHeads) fail(op, "heads of q", `a multiple of ${keyHeads}`, heads);
  return query;
}

function checkSinks(op: string, sinks: Value | undefined, q: Value): void {
  if (sinks) needDim(op, "sinks", needFloat(op, "sinks", sinks, 1).dim(0), q.dim(1));
}

const attentionNode = defineOp({
  name: "attention",
  infer([q, k, v, documents, sinks], { sequenceLength }) {
    const query = checkHeads("attention", q, k, v);
    if (documents)
      needDim("attention", "documents", needDType("attention", "documents", documents, "i32", 1).dim(0), query.dim(0));
    checkSinks("attention", sinks, query);
    needDim("attention", "rows of k", k!.dim(0), query.dim(0));
    if (sequenceLength! > 0) {
      const rows = fixed(query.dim(0), "attention: rows");
      if (rows % sequenceLength!)
        fail("attention", "rows", `a multiple of the sequence length ${sequenceLength}`, rows);
    }
    return [type(query), { dtype: "f32", shape: [query.dim(0), query.dim(1)] }];
  },
  vjp({ inputs: [q, k, v, documents, sinks], outputs: [o, lse], attributes }, [dy]) {
    if (!dy) return [];
    const [dq, dk, dv] = backwardNode([dy, q, k, v, o, lse, documents, sinks], attributes);
    return [dq, dk, dv, undefined, sinks && sinksBackwardNode([dy, o, lse, sinks])[0]];
  },
});
const backwardNode = defineOp({
  name: "attention_backward",
  infer: ([, q, k, v]) => [type(q!), type(k!), type(v!)],
});
const sinksBackwardNode = defineOp({
  name: "attention_sinks_backward",
  infer: ([, , , sinks]) => [{ dtype: "f32", shape: sinks!.shape }],
});

/** The operands of `attention`, which sees whole sequences and no cache. */
export interface AttentionOperands {
  /** Queries, (rows, heads, width). */
  q: Value;
  /** Keys, (rows, key heads, width). */
  k: Value;
  /** Values, (rows, key heads, width). */
  v: Value;
  /**
   * Document ids, (rows) i32. Consecutive rows of a sequence with equal ids form a document. A row sees only rows of its document. Rows
   * with a negative id are padding: they see nothing, nothing sees them, and their result is 0. Tiles between different documents are
   * skipped.
   */
  documents?: Value | undefined;
  /** Attention sinks, (heads): one logit per head that is added to the softmax's denominator only (gpt_oss). */
  sinks?: Value | undefined;
}

/** Options of `attention`. */
export interface SequenceAttentionOptions extends AttentionOptions {
  /** Rows per sequence. Default: all rows are one sequence, which `documents` may divide. */
  sequenceLength?: number | undefined;
  /** `int8` allows rounding q, k, v and the attention weights to bf16 before multiplication. Default `f32`. */
  activations?: QuantizedActivations | undefined;
}

/**
 * Scaled dot-product attention with grouped queries, within sequences of `sequenceLength` rows. It needs no T×T matrix in memory (Dao
 * 2023, "FlashAttention-2").
 * @param operands.q (rows, heads, width); k, v (rows, key heads, width); rows = sequences · sequenceLength
 * @returns (rows, heads, width)
 */
export function attention(operands: AttentionOperands, options: SequenceAttentionOptions = {}): Value {
  const { q, k, v, documents, sinks } = needNames("attention: operands", operands, OPERANDS);
  const { sequenceLength, activations = "f32" } = needNames("attention: options", options, OPTIONS);
  needValue("attention: q", q);
  if (sequenceLength !== undefined) {
    needNumber("attention: sequenceLength", sequenceLength);
    if (!(sequenceLength > 0)) fail("attention", "sequenceLength", "at least 1", sequenceLength);
  }
  return attentionNode([q, k, v, documents, sinks], {
    sequenceLength: sequenceLength ?? 0,
    ...(activations === "int8" && { bf16: 1 }),
    ...attributesOf(q, options),
  })[0]!;
}

/**
 * Bytes of the scale at the end of each row of a q8 cache. Such a cache is u8, and its last dimension is the heads' width plus these
 * bytes.
 */
export const Q8_SCALE_BYTES = 4;

/** Requires a cache (slots, heads, rows, width) of floats or q8 rows, whose heads are as wide as those of `x`. */
function needCache(op: string, name: string, cache: Value | undefined, x: Value): Value {
  const q8 = cache?.dtype === "u8";
  const c = q8 ? needDType(op, name, cache, "u8", 4) : needFloat(op, name, cache, 4);
  needDim(op, `width of ${name}`, c.dim(3), q8 ? x.last + Q8_SCALE_BYTES : x.dim(2));
  return c;
}

const cacheWriteNode = defineOp({
  name: "cache_write",
  mutates: [0],
  infer([cache, x, segments, pages]) {
    const v = needFloat("cache_write", "x", x, 3);
    const c = needCache("cache_write", "cache", cache, v);
    needDim("cache_write", "heads of x", v.dim(1), c.dim(1));
    needDim("cache_write", "segments", needDType("cache_write", "segments", segments, "i32", 2).dim(1), 4);
    if (pages) needDType("cache_write", "pages", pages, "i32", 2);
    return [];
  },
});
/**
 * Writes rows into a cache. Position p is written to row p mod capacity.
 * @param cache (slots, heads, capacity, width) of floats, or (…, width + 4) u8 for q8: each row is rounded to 8 bits with one f32 scale
 * @param x (rows, heads, width)
 * @param segments (count, 4) i32: first row, row count, slot, past length
 * @param options.ring the window, if the cache is a ring buffer that keeps only the window's positions; 0 if all positions fit
 * @param options.pages page tables, (slots, n) i32; the cache is then (pages, heads, page size, width). Entry i of a slot is the page of
 * positions [i · page size, (i + 1) · page size). Slots may share pages (Kwon et al. 2023, "PagedAttention").
 */
export function cacheWrite(
  cache: Value,
  x: Value,
  segments: Value,
  options: { ring?: number | undefined; pages?: Value | undefined } = {},
): void {
  needNames("cacheWrite: options", options, ["ring", "pages"]);
  cacheWriteNode([cache, x, segments, options.pages], { ring: options.ring ?? 0 });
}

const cachedNode = defineOp({
  name: "cached_attention",
  infer([q, cacheK, cacheV, segments, sinks, pages]) {
    if (pages) needDType("cached_attention", "pages", pages, "i32", 2);
    const query = needFloat("cached_attention", "q", q, 3);
    checkSinks("cached_attention", sinks, query);
    const k = needCache("cached_attention", "cache_k", cacheK, query);
    needShape("cached_attention", "cache_v", need("cached_attention", "cache_v", cacheV), k.shape);
    needDim("cached_attention", "segments", needDType("cached_attention", "segments", segments, "i32", 2).dim(1), 4);
    return [type(query)];
  },
});
/** Options of `cachedAttention`. */
export interface CachedAttentionOptions extends AttentionOptions {
  /**
   * The maximum capacity of the caches. It decides where long contexts are split, so that results do not depend on the current capacity.
   */
  context?: number | undefined;
  /** The window, if the caches are ring buffers, as in cacheWrite. */
  ring?: number | undefined;
  /** As in `linear`. With a 16-bit cache, `int8` allows rounding queries, probabilities and an f16 cache to bf16. */
  activations?: QuantizedActivations | undefined;
}

/**
 * Attention of new rows over the caches of their sequences. The caches must contain the new rows already.
 * @param operands.q (rows, heads, width) @param operands.sinks as in `attention`
 * @param operands.cacheK as in `cacheWrite`, like `cacheV`, `segments` and `pages`
 * @returns (rows, heads, width)
 */
export function cachedAttention(
  operands: {
    q: Value;
    cacheK: Value;
    cacheV: Value;
    segments: Value;
    sinks?: Value | undefined;
    pages?: Value | undefined;
  },
  options: CachedAttentionOptions = {},
): Value {
  const { q, cacheK, cacheV, segments, sinks, pages } = needNames(
    "cachedAttention: operands",
    operands,
    CACHED_OPERANDS,
  );
  const { context = 0, ring = 0, activations = "f32" } = needNames("cachedAttention: options", options, CACHED_OPTIONS);
  needValue("cachedAttention: q", q);
  needValue("cachedAttention: cacheK", cacheK);
  return cachedNode([q, cacheK, cacheV, segments, sinks, pages], {
    ...attributesOf(q, options),
    context,
    ring,
    ...(activations === "int8" && (cacheK.dtype === "bf16" || cacheK.dtype === "f16") && { bf16: 1 }),
  })[0]!;
}
