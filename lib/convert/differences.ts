// Differences between a model and what llama.cpp computes from its GGUF file. llama.cpp derives many properties from the architecture's
// name. heddle stores these properties under additional keys, which llama.cpp does not read.
import type { ModelConfig } from "../formats/config/config.ts";
import { formatOf } from "../formats/config/families.ts";
import type { LlamaCppLimits } from "../formats/config/family-format.ts";
import { ggufArchitecture } from "../formats/gguf/gguf-names.ts";

/** Describes the properties that keep llama.cpp from opening the file, because it expects tensors of other shapes or other tensors. */
function unopened(config: ModelConfig, arch: string, limits: LlamaCppLimits): string[] {
  const { attentionBias, mlpBias, tieWordEmbeddings, headDim, numAttentionHeads, hiddenSize, ropeScaling } = config;
  const tables = ["llama3", "longrope", "factors"] as const;
  const table = tables.find((kind) => kind === ropeScaling?.ropeType);
  const breaks = (value: boolean, limit: boolean | undefined) => limit !== undefined && value !== limit;
  const what = [
    breaks(attentionBias, limits.attentionBias) && `${attentionBias ? "" : "no "}attention biases`,
    breaks(mlpBias, limits.mlpBias) && "feed-forward biases",
    breaks(tieWordEmbeddings, limits.tiedHead) && `${tieWordEmbeddings ? "a tied" : "an untied"} head`,
    limits.headsOfWidth && headDim * numAttentionHeads !== hiddenSize && "heads whose total width is not hidden_size",
    table !== undefined && !limits.ropeTables?.includes(table) && `rope_scaling ${table}`,
    limits.unopened?.(config),
  ];
  return what
    .filter((text) => typeof text === "string")
    .map((text) => `llama.cpp cannot open ${arch} files with ${text}`);
}

/** Embedding settings that llama.cpp ignores and heddle stores under additional keys. */
function embeddingDifferences({ embedding }: ModelConfig): string[] {
  const { prompts = {}, defaultPromptName: name, truncateDim, maxSeqLength, lowercase } = embedding ?? {};
  const what = [
    name !== undefined &&
      prompts[name] !== "" &&
      `llama.cpp does not add the default prompt ${JSON.stringify(name)} to texts`,
    embedding?.includePrompt === false && "llama.cpp pools the prompt's tokens too, which the model excludes",
    embedding?.normalize === false && "llama.cpp normalizes vectors, which the model does not",
    truncateDim !== undefined && `llama.cpp does not truncate vectors to ${truncateDim} dimensions`,
    maxSeqLength !== undefined && `llama.cpp does not limit texts to ${maxSeqLength} tokens`,
    lowercase && "llama.cpp does not lowercase texts",
  ];
  return what.filter((text) => typeof text === "string");
}

/** Describes how llama.cpp's results from the GGUF file differ from the model. Empty for most published models. */
export function differencesInLlamaCpp(config: ModelConfig): string[] {
  const { modelType, slidingWindow, layerTypes, ropeScaling } = config;
  const { defaults, windowsUnscaled, encoder, experts, gguf } = formatOf(modelType);
  const limits = gguf?.llamaCpp ?? {};
  const arch = ggufArchitecture(config) ?? "";
  const found = [...unopened(config, arch, limits), ...embeddingDifferences(config)];
  const differs = (is: boolean, what: string) => {
    if (is) found.push(what);
  };
  const slides = slidingWindow !== null && layerTypes.includes("sliding_attention");
  const { windows = false } = limits;
  const slidesThere = typeof windows === "function" ? windows(layerTypes.length) : windows;
  // If llama.cpp infers sliding windows from the number of layers, it also infers from it which layers have RoPE.
  const rope = typeof windows === "function" ? " and RoPE" : "";
  differs(
    slides && !slidesThere,
    `llama.cpp does not support sliding windows in ${arch} files: every layer has full attention${rope}`,
  );
  differs(
    slidingWindow !== null && !slides && slidesThere,
    "llama.cpp cannot run a file with a sliding window that no layer uses",
  );
  found.push(...(limits.differences?.(config) ?? []));
  differs(
    windowsUnscaled === true && config.ropeLocalTheta !== config.ropeTheta,
    "llama.cpp uses the RoPE θ of the other layers in sliding layers too",
  );
  // Skip encoders. ModernBERT's files name the activation, and nomic_bert always has SiLU. The others have a form of GELU,
  // and llama.cpp computes all forms of it alike.
  const act = limits.hiddenAct ?? defaults.hiddenAct;
  differs(!encoder && config.hiddenAct !== act, `llama.cpp computes ${act} instead of hidden_act ${config.hiddenAct}`);
  const pooled = gguf?.classifier?.pooling ?? "mean";
  differs(
    Boolean(encoder && config.classifier && config.classifier.pooling !== pooled),
    `llama.cpp uses the pooling "${pooled}" for the classifier, not the model's`,
  );
  const { normTopkProb: normalized, decoderSparseStep = 1, mlpOnlyLayers = [] } = config;
  differs(
    experts !== undefined && normalized !== undefined && normalized !== experts.normalizedInGguf,
    `llama.cpp ${normalized ? "does not normalize" : "normalizes"} the experts' weights, though norm_topk_prob is ${normalized}`,
  );
  differs(
    experts !== undefined && (decoderSparseStep !== 1 || mlpOnlyLayers.length > 0),
    `llama.cpp cannot open ${arch} files with layers that have no experts`,
  );
  const usual = layerTypes.map((_, i) => Number((i + 1) % 4 !== 0));
  differs(
    config.noRopeLayers !== undefined && String(config.noRopeLayers) !== String(usual),
    "llama.cpp omits RoPE in every fourth layer, whatever no_rope_layers says",
  );
  if (ropeScaling?.ropeType === "yarn") {
    differs(
      ropeScaling.truncate === false,
      "llama.cpp rounds YaRN's bounds to whole dimensions, though truncate is false",
    );
    const { betaFast = 32, betaSlow = 1 } = ropeScaling;
    differs(
      betaFast !== 32 || betaSlow !== 1,
      "most versions of llama.cpp use 32 and 1 for YaRN's beta_fast and beta_slow",
    );
  }
  return found;
}
