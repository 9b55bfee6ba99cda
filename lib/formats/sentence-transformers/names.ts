// Names in sentence-transformers' files, shared by reader and writer.
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

/** Names of pooling modes in the key `pooling_mode`, which newer versions write. */
export const POOLING_NAMES = {
  cls: "first",
  max: "max",
  mean: "mean",
  mean_sqrt_len_tokens: "mean_sqrt_len",
  weightedmean: "weighted_mean",
  lasttoken: "last",
} as const satisfies Record<string, PoolingMode>;

type Activation = Extract<EmbeddingLayer, { type: "dense" }>["activation"];

/** PyTorch's class names in a Dense module's `activation_function`. */
export const TORCH_ACTIVATIONS = {
  identity: "torch.nn.modules.linear.Identity",
  tanh: "torch.nn.modules.activation.Tanh",
  relu: "torch.nn.modules.activation.ReLU",
  sigmoid: "torch.nn.modules.activation.Sigmoid",
  gelu: "torch.nn.modules.activation.GELU",
  silu: "torch.nn.modules.activation.SiLU",
} as const satisfies Record<Activation, string>;

/** Supported modules in their required order. */
export const MODULES = ["Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"] as const;
/** The module of each layer type. */
export const LAYER_MODULES = { dense: "Dense", layer_norm: "LayerNorm" } as const satisfies Record<
  EmbeddingLayer["type"],
  string
>;
/** Prefix of a module's tensors in its file. */
export const LAYER_PREFIXES = { dense: "linear.", layer_norm: "norm." } as const satisfies Record<
  EmbeddingLayer["type"],
  string
>;

/** Possible names of the file with the maximum text length. sentence-transformers reads the first that exists. */
export const TEXT_LIMIT_FILES = ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"].map(
  (name) => `sentence_${name}_config.json`,
);

/** Prefix of the weights of layers after pooling, by index: `embedding_layers.0.weight` and `.bias`. */
export const EMBEDDING_LAYERS = "embedding_layers.";

/** The epsilon of LayerNorm modules: PyTorch's default, because no file states it. */
export const LAYER_NORM_EPS = 1e-5;
