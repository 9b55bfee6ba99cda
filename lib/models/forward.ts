import { checkParts } from "../core/checked-parts.ts";
import { describe, HeddleError } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import {
  type AttentionOptions,
  add,
  attention,
  cachedAttention,
  cacheWrite,
  cast,
  dropout,
  expertLinear,
  type FloatDType,
  fp8Linear,
  gatherRows,
  input,
  isFloat,
  isQuantized,
  type LogitHead,
  linear,
  type QuantizedActivations,
  scale,
  tensor,
  uniformNoise,
  Value,
} from "../graph/index.ts";
import type { ForwardContext, Heads } from "../nn/context.ts";
import type { Adapter } from "./adapters/adapters.ts";
import { type CacheShape, defaultCacheDtype, layerCache, layerTensor } from "./cache-shape.ts";
import { slidingWindow } from "./decoder-weights.ts";
import { isEncoder } from "./family.ts";
import { scaleName, storedName } from "./loading/dequantize.ts";
import type { ModelView } from "./model-view.ts";

/** Inputs of a trace: token ids and positions, both (rows) i32. */
export interface Rows {
  /** Token ids, (rows) i32. */
  ids: Value;
  /** Position of each row in its sequence, (rows) i32. */
  positions: Value;
  /**
   * Returns the number of tokens of each row's sequence or document, (rows) i32. It is only called if RoPE depends on lengths. Default:
   * sequences have no padding.
   */
  lengths?: (() => Value) | undefined;
}

/** Random inputs for dropout and NEFTune in training. */
export interface ForwardNoise {
  /** Returns (3) i32: seed, step, micro-batch. It is only called if dropout or NEFTune is applied. */
  key(): Value;
  /** Returns a new stream number, so that each node draws different random numbers. */
  stream(): number;
}

type Attend = (layer: number, heads: Heads, options: AttentionOptions) => Value;

const ATTENTION = { causal: "boolean", window: "number", scale: "number", softcap: "number" } as const;

/**
 * Checks a family's calls of attention: one call per layer, because a layer's cache holds the keys and values of one
 * call.
 */
function checkedAttend({ config }: ModelView, attend: Attend): ForwardContext["attend"] {
  const where = `${config.modelType}.forward: attend`;
  const layers = config.numHiddenLayers;
  const seen = new Set<number>();
  return (layer, heads, options = {}) => {
    checkWhole(`${where}: layer`, layer, 0, layers - 1);
    checkParts(`${where}: options`, options, ATTENTION);
    if (seen.has(layer))
      throw new HeddleError("INVALID_ARGUMENT", `${where}: expected each layer once, got layer ${layer} again`);
    seen.add(layer);
    return attend(layer, heads, options);
  };
}

interface ContextOptions {
  lengths: ForwardContext["lengths"];
  /** Element type of activations. */
  dtype: FloatDType;
  /** Type that matrices are cast to. Default: they keep their stored type. */
  matrices?: FloatDType | undefined;
  /** Weights that are already in the trace, by name. The map grows as more weights are used. */
  weights?: Map<string, Value> | undefined;
  /** Whether a row's bits must depend on its own sequence only. */
  rowwise?: boolean | undefined;
  /** Adapters to apply, in this order. */
  adapters: readonly Adapter[];
  /** Called for every linear layer. */
  onLinear?: ((name: string, transposed: boolean) => void) | undefined;
  /** Whether rows of q and k may stay in the file's order. Otherwise the model reorders them. */
  asStored?: boolean | undefined;
  /** Rounding of activations in products with quantized and bf16 matrices. */
  activations: QuantizedActivations;
  /** Whether linear layers round both operands to 8-bit floats. Default: false. */
  fp8?: boolean | undefined;
  /** Random inputs for dropout and embedding noise in a training pass. */
  noise?: ForwardNoise | undefined;
  /** Returns the scale of uniform noise on the embeddings (rows, width). */
  embeddingNoise?: ((width: number) => number) | undefined;
  attend: Attend;
  longest?: number | undefined;
  wanted?: ForwardContext["wanted"];
}

function contextOf(model: ModelView, rows: Rows, options: ContextOptions): ForwardContext {
  const {
    dtype,
    matrices,
    weights: cache = new Map<string, Value>(),
    adapters,
    onLinear,
    lengths,
    attend,
    wanted,
  } = options;
  const { rowwise = false, activations, fp8 = false, noise, embeddingNoise, asStored = false, longest } = options;
  const has = (name: string) => model.has(name);
  const interleaved = (prefix: string) => {
    const name = `${prefix}.weight`;
    if (!asStored || !model.tensors.has(storedName(name))) return false;
    return !adapters.some(({ layers, saved }) => layers.has(prefix) || saved.has(name)); // adapters expect rows in transformers' order
  };
  const weight = (given: string) => {
    // An adapter may replace a weight. If several adapters do, the last takes precedence.
    const own = adapters.findLast(({ saved }) => saved.has(given))?.saved.get(given) ?? given;
    const name = interleaved(given.replace(/\.weight$/, "")) ? storedName(own) : own;
    const known = cache.get(name);
    if (known) return known;
    const stored = model.weight(name);
    // Matrices are rounded as they enter a trace, so that a bf16 training step updates f32 master weights.
    const value = tensor(name, stored.dtype, stored.shape);
    const rounded = matrices !== undefined && stored.shape.length >= 2 && isFloat(value.dtype);
    const entered = rounded ? cast(value, matrices) : value;
    cache.set(name, entered);
    return entered;
  };
  return {
    ...rows,
    lengths,
    longest,
    tokenTypes: () => input("tokenTypes", "i32", [rows.ids.dim(0)]),
    dtype,
    has,
    weight,
    interleaved,
    embedded(x) {
      if (!noise || !embeddingNoise) return x;
      return uniformNoise(x, noise.key(), { scale: embeddingNoise(x.last), stream: noise.stream() });
    },
    linear(x, prefix, { transposed = false, fp8: rounds = true } = {}) {
      const w = weight(`${prefix}.weight`);
      // A quantized weight is always (out, in), because blocks run along the inputs.
      const isTransposed = transposed && !isQuantized(w.dtype);
      onLinear?.(prefix, isTransposed);
      const bias = has(`${prefix}.bias`) ? weight(`${prefix}.bias`) : undefined;
      const { scale: scales } = model.asStored(`${prefix}.weight`);
      let y =
        scales && w.dtype === "u8"
          ? fp8Linear(x, w, weight(scaleName(`${prefix}.weight`)), bias, { rowwise, activations })
          : linear(x, w, bias, {
              transposed: isTransposed,
              // A quantized weight is frozen, and its product does not use 8-bit floats.
              ...(fp8 && rounds && isFloat(w.dtype) ? { fp8 } : { rowwise, activations }),
            });
      for (const { layers, config } of adapters) {
        const low = layers.get(prefix);
        if (!low) continue;
        const p = noise ? config.dropout : 0;
        const dropped = p > 0 ? dropout(x, noise!.key(), { p, stream: noise!.stream() }) : x;
        const projected = scale(linear(dropped, weight(low.a), undefined, { rowwise }), low.scale);
        y = add(y, linear(projected, weight(low.b), undefined, { rowwise }));
      }
      return y;
    },
    experts(x, prefix, experts) {
      const bias = has(`${prefix}.bias`) ? weight(`${prefix}.bias`) : undefined;
      return expertLinear(x, weight(`${prefix}.weight`), experts, { bias, rowwise, activations });
    },
    constant: (name) => {
      const key = `constant.${name}`;
      return tensor(key, "f32", model.weight(key).shape);
    },
    attend: checkedAttend(model, attend),
    wanted,
  };
}

/** The results of a model's forward pass in a trace. */
export interface Forward {
  /** Hidden states after the last norm, (rows, width). */
  hidden: Value;
  /**
   * The head for next-token logits. A classifier may have no such head, so the head's matrix enters the trace only on
   * first use.
   */
  readonly head: LogitHead;
  /** Applies a head by name to `hidden`, or to a value derived from it. Its operands are never rounded to 8-bit floats. */
  linear: ForwardContext["linear"];
  /** A weight by its Hugging Face name, as it enters the trace. */
  weight: ForwardContext["weight"];
}

/** Whether products with the stored weights are computed in f32, so that keys and values have the precision of f32. */
function attendsExactly(model: ModelView): boolean {
  return defaultCacheDtype(model) === "f32";
}

/** Returns the family's hidden states of the wanted rows, even if the family's function does not select them. */
function hiddenOf(model: ModelView, context: ForwardContext): Value {
  const { modelType, hiddenSize } = model.config;
  const { wanted } = context;
  let picked = false;
  const picking = wanted && {
    ...context,
    wanted: (x: Value) => {
      picked = true;
      return wanted(x);
    },
  };
  const hidden: unknown = model.family.forward(picking ?? context, model.config);
  if (!(hidden instanceof Value) || hidden.rank !== 2 || hidden.dim(1) !== hiddenSize)
    throw new HeddleError(
      "SHAPE_MISMATCH",
      `${modelType}.forward: expected hidden states (rows, ${hiddenSize}), got ${hidden instanceof Value ? hidden : describe(hidden)}`,
    );
  return wanted && !picked ? wanted(hidden) : hidden;
}

function forwardOf(model: ModelView, context: ForwardContext, activations: QuantizedActivations): Forward {
  return {
    hidden: hiddenOf(model, context),
    get head() {
      // A bidirectional model has already seen the token that its logits would predict. Encoder families fail below,
      // because their head is not loaded.
      if (!model.family.encoder) needGeneration(model);
      const head = model.family.head(model.config);
      if (!context.has(head.weight))
        throw new HeddleError(
          "UNSUPPORTED",
          `model: expected a language-modeling head, got a ${model.config.modelType} without ${head.weight}`,
        );
      const { weight, bias, ...logits } = tempered(head, model.temperature);
      return {
        ...logits,
        weight: context.weight(weight),
        ...(bias !== undefined && { bias: context.weight(bias) }),
        activations,
      };
    },
    linear: (x, prefix, options) => context.linear(x, prefix, { ...options, fp8: false }),
    weight: context.weight,
  };
}

/** Checks that a model can generate. @throws HeddleError UNSUPPORTED for bidirectional attention */
function needGeneration(model: ModelView): void {
  const { modelType, useBidirectionalAttention } = model.config;
  if (!isEncoder(model)) return;
  const how = useBidirectionalAttention ? ` with bidirectional attention (useBidirectionalAttention)` : "";
  throw new HeddleError(
    "UNSUPPORTED",
    `model: expected a model that generates, got ${modelType}${how}, which is an encoder`,
  );
}

/** Returns a head whose logits are divided by a temperature, after the soft cap. */
export function tempered<Head extends { scale?: number | undefined; softcap?: number | undefined }>(
  head: Head,
  temperature: number,
): Head {
  if (temperature === 1) return head;
  const { scale = 1, softcap } = head;
  // (c / T) · tanh((s / T) x / (c / T)) = c · tanh(s x / c) / T
  return { ...head, scale: scale / temperature, ...(softcap && { softcap: softcap / temperature }) };
}

/** Gives access to layers after pooling without running the trunk. */
export function besideTrunk(model: ModelView): Pick<ForwardContext, "linear" | "weight"> {
  return contextOf(model, {} as Rows, {
    dtype: "f32",
    adapters: model.adaptersOf(undefined),
    activations: model.quantizedActivations,
    lengths: () => 0,
    attend: (_, { v }) => v, // unused: these layers have no attention
  });
}

interface SequenceForwardOptions {
  /**
   * Number of rows of each sequence. Default: all rows are one sequence, split into `documents`. With this default, the program has an
   * input `lengths` (rows) i32 if RoPE depends on lengths and `Rows.lengths` is not given.
   */
  sequenceLength?: number | undefined;
  /** Maximum number of tokens of a document, if that is less than the sequence length. */
  longest?: number | undefined;
  /** Rounding of activations in products with quantized and bf16 weights. Default f32. */
  activations?: QuantizedActivations | undefined;
  /** Element type of the activations. Default: f32. */
  dtype?: FloatDType | undefined;
  /** Whether the linear layers of the trunk, and their gradients, round both operands to 8-bit floats. Default: false. */
  fp8?: boolean | undefined;
  /**
   * Document ids, (rows) i32. A run of equal ids within a sequence is a document. Attention stays within a document.
   * Negative ids are padding. The caller's `positions` then start anew in each document.
   */
  documents?: Value | undefined;
  /** Weights shared by several passes in one trace, so that each weight enters the trace once. */
  weights?: Map<string, Value> | undefined;
  /** Names of the adapters to apply. Default: the model's active ones. */
  adapters?: readonly string[] | undefined;
  /** Called for every linear layer. */
  onLinear?: ((name: string, transposed: boolean) => void) | undefined;
  /** Whether rows of q and k may stay in the file's order. Default: the model reorders them. */
  asStored?: boolean | undefined;
  /** Random inputs for the adapters' dropout and for NEFTune in training. Default: neither is applied. */
  noise?: ForwardNoise | undefined;
  /**
   * Uniform noise on the embeddings in training, ± alpha / √(sequenceLength · width) (NEFTune, Jain et al. 2023). It needs `noise` and
   * `sequenceLength`. Default: 0.
   */
  neftuneNoiseAlpha?: number | undefined;
}

/**
 * The forward pass over whole sequences, differentiable: rows = sequences · sequenceLength. With dtype bf16, matrices
 * are rounded as they enter the program, so that training updates f32 master weights.
 */
export function sequenceForward(model: ModelView, rows: Rows, options: SequenceForwardOptions): Forward {
  const { sequenceLength, dtype = "f32", documents, weights, adapters, onLinear, noise } = options;
  const { neftuneNoiseAlpha: alpha = 0, asStored, activations = "f32" } = options;
  const exact = attendsExactly(model);
  const context = contextOf(model, rows, {
    dtype,
    weights,
    matrices: dtype === "f32" ? undefined : dtype,
    activations,
    fp8: options.fp8,
    adapters: model.adaptersOf(adapters),
    asStored,
    onLinear,
    lengths: rows.lengths ?? (() => sequenceLength ?? lengthInput(rows.ids.dim(0))),
    longest: options.longest ?? sequenceLength,
    noise,
    embeddingNoise: alpha > 0 && sequenceLength ? (width) => alpha / Math.sqrt(sequenceLength * width) : undefined,
    attend: (_, heads, more) =>
      attention({ ...heads, documents }, { ...more, sequenceLength, activations: exact ? "f32" : activations }),
  });
  return forwardOf(model, context, activations);
}

/**
 * The forward pass for new rows of several sequences over their KV caches. If RoPE depends on the sequence's length (turnsByLength), the
 * program has an input `lengths` (rows) i32. A paged cache has an input `pages` (slots, entries) i32, the page table.
 * @param segments (count, 4) i32: first row, row count, slot, past length
 * @param options.rowwise a row's bits do not depend on rows of other sequences
 * @param options.wanted (wanted rows) i32: the rows whose hidden states are returned. Default: all.
 */
export function cachedForward(
  model: ModelView,
  rows: Rows,
  segments: Value,
  cache: CacheShape,
  { rowwise = false, wanted }: { rowwise?: boolean | undefined; wanted?: Value | undefined } = {},
): Forward {
  let table: Value | undefined;
  const pageTable = ({ size }: { size: number }) => {
    table ??= input("pages", "i32", [cache.slots, Math.ceil(cache.capacity / size)]);
    return table;
  };
  needGeneration(model);
  // A bf16 cache holds rounded keys and values, so attention may round its other operands too.
  const exact = attendsExactly(model) && cache.dtype !== "bf16";
  const context = contextOf(model, rows, {
    dtype: "f32",
    rowwise,
    activations: model.quantizedActivations,
    adapters: model.adaptersOf(cache.adapters),
    asStored: true,
    lengths: () => lengthInput(rows.ids.dim(0)),
    wanted: wanted && ((x) => gatherRows(x, wanted)),
    attend: (layer, { q, k, v, sinks }, options) => {
      const { dtype, shape, paged } = layerTensor(model.config, layer, cache);
      const { ring } = layerCache(model.config, layer, cache);
      const window = slidingWindow(model.config, layer);
      if (window !== undefined && options.window !== window)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `attend: window of layer ${layer}: expected the configuration's ${window}, for which the layer's cache is sized, got ${options.window}`,
        );
      const pages = paged && cache.pages ? pageTable(cache.pages) : undefined;
      const cacheK = tensor(`cache.${layer}.k`, dtype, shape);
      const cacheV = tensor(`cache.${layer}.v`, dtype, shape);
      cacheWrite(cacheK, k, segments, { ring, pages });
      cacheWrite(cacheV, v, segments, { ring, pages });
      return cachedAttention(
        { q, cacheK, cacheV, segments, sinks, pages },
        { ...options, context: cache.context, ring, activations: exact ? "f32" : model.quantizedActivations },
      );
    },
  });
  return forwardOf(model, context, model.quantizedActivations);
}

/** Declares the inputs `ids` and `positions` of a trace. */
export function rowInputs(rows: Value["shape"][number]): Rows {
  return { ids: input("ids", "i32", [rows]), positions: input("positions", "i32", [rows]) };
}

function lengthInput(rows: Value["shape"][number], name = "lengths"): Value {
  return input(name, "i32", [rows]);
}

/**
 * Declares the inputs of padded sequences: ids, `positions`, and if RoPE depends on lengths, the number of tokens of each row's sequence.
 * @param names the inputs' names. Default: `ids` and `lengths`
 */
export function paddedRowInputs(
  rows: number,
  names: { ids: string; lengths: string } = { ids: "ids", lengths: "lengths" },
): Rows {
  const { positions } = rowInputs(rows);
  return { ids: input(names.ids, "i32", [rows]), positions, lengths: () => lengthInput(rows, names.lengths) };
}
