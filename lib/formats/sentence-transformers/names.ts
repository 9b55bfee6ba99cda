// Names in the files of sentence-transformers, for readers and writers.
import type { EmbeddingLayer, PoolingMode } from "../config/config-types.ts";

/** Keys of a Pooling module's config.json. */
export const POOLING_KEYS = {
  first: "pooling_mode_cls_token",
  max: "pooling_mode_max_tokens",
  mean: "pooling_mode_mean_tokens",
  mean_sqrt_len: "pooling_mode_mean_sqrt_len_tokens",
  weighted_mean: "pooling_mode_weightedmean_tokens",
  last: "pooling_mode_lasttoken",
} as const satisfies Record<PoolingMode, string>;

/** The same in its `pooling_mode`, which newer versions write. */
export const POOLING_NAMES = {
  cls: "first",
  max: "max",
  mean: "mean",
  mean_sqrt_len_tokens: "mean_sqrt_len",
  weightedmean: "weighted_mean",
  lasttoken: "last",
} as const satisfies Record<string, PoolingMode>;

type Activation = Extract<EmbeddingLayer, { type: "dense" }>["activation"];

/** A Dense module's `activation_function`: PyTorch's classes. */
export const TORCH_ACTIVATIONS = {
  identity: "torch.nn.modules.linear.Identity",
  tanh: "torch.nn.modules.activation.Tanh",
  relu: "torch.nn.modules.activation.ReLU",
  sigmoid: "torch.nn.modules.activation.Sigmoid",
  gelu: "torch.nn.modules.activation.GELU",
  silu: "torch.nn.modules.activation.SiLU",
} as const satisfies Record<Activation, string>;

/** Modules that are provided, in this order, and what each layer's is called. */
export const MODULES = ["Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"] as const;
export const LAYER_MODULES = { dense: "Dense", layer_norm: "LayerNorm" } as const satisfies Record<
  EmbeddingLayer["type"],
  string
>;
/** Prefix of a module's tensors in its file. */
export const LAYER_PREFIXES = { dense: "linear.", layer_norm: "norm." } as const satisfies Record<
  EmbeddingLayer["type"],
  string
>;

/** Names of the file that says how long texts may be, in the order in which sentence-transformers looks for them. */
export const TEXT_LIMIT_FILES = ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"].map(
  (name) => `sentence_${name}_config.json`,
);

/** Weights of layers behind pooling, by their number: `embedding_layers.0.weight` and `.bias`. */
export const EMBEDDING_LAYERS = "embedding_layers.";

/** LayerNorm's, which no file says. */
export const LAYER_NORM_EPS = 1e-5;
