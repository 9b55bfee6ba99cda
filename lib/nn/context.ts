import type { AttentionOptions, FloatDType, Value } from "../graph/index.ts";

/** Attention operands of one layer: q (rows, heads, width), k and v (rows, key heads, width), sinks (heads). */
export interface Heads {
  /** (rows, heads, width) */
  q: Value;
  /** (rows, key heads, width) */
  k: Value;
  /** (rows, key heads, width) */
  v: Value;
  /** (heads) of logits that take a share of the softmax and add nothing (gpt_oss) */
  sinks?: Value | undefined;
}

/**
 * The argument of a model's forward function. One function serves training (whole sequences) and generation (rows of several sequences
 * over their KV caches). Only `attend` differs.
 */
export interface ForwardContext {
  /** (rows) i32 */
  readonly ids: Value;
  /** (rows) i32: each row's position in its sequence. */
  readonly positions: Value;
  /**
   * How long the sequence of each row is at present, (rows) i32, or that of all rows: what frequencies of dynamic and
   * longrope scaling depend on.
   */
  lengths(): Value | number;
  /** Tokens of the longest text at most, where it is known: what distances between tokens stay below. */
  readonly longest?: number | undefined;
  /** The kind of segment that each row is of, (rows) i32: what BERT's first sentence and second differ in. */
  tokenTypes(): Value;
  /** The activations' element type. */
  readonly dtype: FloatDType;
  /** A weight by its Hugging Face name. */
  weight(name: string): Value;
  /** Whether the model has an optional weight (a bias). */
  has(name: string): boolean;
  /**
   * The linear layer `prefix`: its weight, its bias where the model has one, and what adapts it (LoRA).
   * @param options.transposed the weight is stored (in, out), as GPT-2's are
   */
  linear(x: Value, prefix: string, options?: { transposed?: boolean | undefined }): Value;
  /** Whether the output of `linear` for `prefix`, q or k, is in GGUF's row order, where RoPE pairs are neighbours. */
  interleaved(prefix: string): boolean;
  /**
   * The linear layers `prefix` of routed experts: each row through the matrices of those that it was given.
   * @param x (rows, inputs), or (rows, k, inputs) @param experts (rows, k) i32 @returns (rows, k, outputs)
   */
  experts(x: Value, prefix: string, experts: Value): Value;
  /** The token embeddings of a pass: in training they may get noise (NEFTune). @param x (rows, width) @returns (rows, width) */
  embedded(x: Value): Value;
  /**
   * The rows of a value of the last layer that anyone reads: once its keys and values are made, a row that makes no logits is not
   * needed. All where not given. @param x (rows, width)
   */
  wanted?: ((x: Value) => Value) | undefined;
  /** A constant of the family (RoPE frequencies) by name. */
  constant(name: string): Value;
  /** Attention of layer `layer`, once a pass, causal unless the options say otherwise. @returns (rows, heads, width) */
  attend(layer: number, heads: Heads, options?: AttentionOptions): Value;
}
