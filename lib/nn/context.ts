import type { AttentionOptions, FloatDType, Value } from "../graph/index.ts";

/** The operands of one layer's attention. */
export interface Heads {
  /** Queries, (rows, heads, width). */
  q: Value;
  /** Keys, (rows, key heads, width). */
  k: Value;
  /** Values, (rows, key heads, width). */
  v: Value;
  /** Attention sinks, (heads): logits in the softmax's denominator that have no value (gpt_oss). */
  sinks?: Value | undefined;
}

/**
 * The argument of a model's forward function. The same forward function serves training (whole sequences) and generation (new rows of
 * several sequences, over their KV caches). `attend` hides the difference.
 */
export interface ForwardContext {
  /** Token ids, (rows) i32. */
  readonly ids: Value;
  /** Position of each row in its sequence, (rows) i32. */
  readonly positions: Value;
  /**
   * Returns the current length of each row's sequence, (rows) i32, or one number for all rows. Dynamic and LongRoPE scaling depend on it.
   */
  lengths(): Value | number;
  /** Upper bound of the number of tokens in a text, if it is known. Distances between tokens are below this bound. */
  readonly longest?: number | undefined;
  /**
   * Returns the token type of each row, (rows) i32. BERT distinguishes the first sentence of a pair from the second by
   * it.
   */
  tokenTypes(): Value;
  /** Element type of the activations. */
  readonly dtype: FloatDType;
  /** Returns a weight by its Hugging Face name. */
  weight(name: string): Value;
  /** Whether the model has an optional weight, such as a bias. */
  has(name: string): boolean;
  /**
   * Applies the linear layer `prefix`: the weight, an optional bias, and the updates of the LoRA adapters in use.
   * @param options.transposed whether the weight is stored as (inputs, outputs), as in GPT-2
   * @param options.fp8 whether training with `fp8` rounds this layer's operands to 8-bit floats. False for a router. Default: true
   */
  linear(x: Value, prefix: string, options?: { transposed?: boolean | undefined; fp8?: boolean | undefined }): Value;
  /**
   * Whether the weight `prefix` of q or k has its rows in GGUF's order. RoPE then pairs adjacent dimensions of the output of `linear`.
   */
  interleaved(prefix: string): boolean;
  /**
   * Applies the linear layers `prefix` of routed experts: each row is multiplied by the matrices of its experts.
   * @param x (rows, inputs), or (rows, k, inputs) @param experts (rows, k) i32 @returns (rows, k, outputs)
   */
  experts(x: Value, prefix: string, experts: Value): Value;
  /** Transforms the token embeddings. In training it may add noise (NEFTune). @param x (rows, width) @returns (rows, width) */
  embedded(x: Value): Value;
  /**
   * Selects the rows of the last layer whose output is read. The layer needs the other rows for keys and values only. Default: all rows.
   * @param x (rows, width)
   */
  wanted?: ((x: Value) => Value) | undefined;
  /** Returns a constant of the family (such as RoPE frequencies) by name. */
  constant(name: string): Value;
  /**
   * Computes the attention of layer `layer`, causal unless the options say otherwise. Call it once per layer and pass.
   * @returns (rows, heads, width)
   */
  attend(layer: number, heads: Heads, options?: AttentionOptions): Value;
}
