// Properties that a GGUF file cannot express for llama.cpp, which goes by the architecture's name. heddle stores them under additional keys.
import type { ModelConfig } from "../formats/config/config.ts";
import { formatOf } from "../formats/config/families.ts";
import type { LlamaCppLimits } from "../formats/config/family-format.ts";
import { ggufArchitecture } from "../formats/gguf/gguf-names.ts";

/** Models that llama.cpp cannot open, because tensors have another shape or are unexpected. */
function unopened(config: ModelConfig, arch: string, limits: LlamaCppLimits): string[] {
  const { attentionBias, mlpBias, tieWordEmbeddings, headDim, numAttentionHeads, hiddenSize, ropeScaling } = config;
  const tables = ["llama3", "longrope", "factors"] as const;
  const table = tables.find((kind) => kind === ropeScaling?.ropeType);
  const breaks = (value: boolean, limit: boolean | undefined) => limit !== undefined && value !== limit;
  const what = [
    breaks(attentionBias, limits.attentionBias) && (attentionBias ? "biases of attention" : "attention without biases"),
    breaks(mlpBias, limits.mlpBias) && "biases of the feed-forward block",
    breaks(tieWordEmbeddings, limits.tiedHead) && `a head that is ${tieWordEmbeddings ? "" : "not "}the embedding`,
    limits.headsOfWidth && headDim * numAttentionHeads !== hiddenSize && "heads that are not hidden_size wide together",
    table !== undefined && !limits.ropeTables?.includes(table) && `rope_scaling ${table}`,
    limits.unopened?.(config),
  ];
  return what
    .filter((text) => typeof text === "string")
    .map((text) => `${text} in ${arch} files: the file is not opened`);
}

/** Embedding settings that llama.cpp ignores and heddle stores under additional keys. */
function embedsOtherwise({ embedding }: ModelConfig): string[] {
  const { prompts = {}, defaultPromptName: name, truncateDim, maxSeqLength, lowercase } = embedding ?? {};
  const what = [
    name !== undefined && prompts[name] !== "" && `the prompt ${JSON.stringify(name)} before every text: texts alone`,
    embedding?.includePrompt === false && "pooling without the prompt's tokens: with them",
    embedding?.normalize === false && "vectors of any length: of length 1",
    truncateDim !== undefined && `vectors of ${truncateDim} numbers: whole ones`,
    maxSeqLength !== undefined && `texts of at most ${maxSeqLength} tokens: as long as the context`,
    lowercase && "texts in small letters: as they are",
  ];
  return what.filter((text) => typeof text === "string");
}

/** Describes how llama.cpp's results from the GGUF file differ from the model. Empty for most published models. */
export function differencesInLlamaCpp(config: ModelConfig): string[] {
  const { modelType, slidingWindow, layerTypes, ropeScaling } = config;
  const { defaults, windowsUnscaled, encoder, experts, gguf } = formatOf(modelType);
  const limits = gguf?.llamaCpp ?? {};
  const arch = ggufArchitecture(config) ?? "";
  const found = [...unopened(config, arch, limits), ...embedsOtherwise(config)];
  const differs = (is: boolean, what: string) => {
    if (is) found.push(what);
  };
  const slides = slidingWindow !== null && layerTypes.includes("sliding_attention");
  const { windows = false } = limits;
  const slidesThere = typeof windows === "function" ? windows(layerTypes.length) : windows;
  // Where the number of layers decides it, it also decides which layers turn.
  const turns = typeof windows === "function" ? ", and turns" : "";
  differs(slides && !slidesThere, `sliding windows of ${arch} files: every layer sees all that came before${turns}`);
  differs(
    slidingWindow !== null && !slides && slidesThere,
    "a sliding window that no layer has: the file opens, and nothing is computed",
  );
  found.push(...(limits.differences?.(config) ?? []));
  differs(
    windowsUnscaled === true && config.ropeLocalTheta !== config.ropeTheta,
    "θ of the sliding layers: that of the others",
  );
  // Encoders' files name an activation, or it is GELU, of which llama.cpp has one form.
  const act = limits.hiddenAct ?? defaults.hiddenAct;
  differs(!encoder && config.hiddenAct !== act, `hidden_act ${config.hiddenAct}: ${act}`);
  const pooled = gguf?.classifier?.pooling ?? "mean";
  differs(
    Boolean(encoder && config.classifier && config.classifier.pooling !== pooled),
    `the classifier's pooling: ${pooled}`,
  );
  const { normTopkProb: normalised, decoderSparseStep = 1, mlpOnlyLayers = [] } = config;
  differs(
    experts !== undefined && normalised !== undefined && normalised !== experts.normalisedInGguf,
    `norm_topk_prob ${normalised}: experts' shares ${normalised ? "do not add" : "add"} up to one`,
  );
  differs(
    experts !== undefined && (decoderSparseStep !== 1 || mlpOnlyLayers.length > 0),
    "layers without experts: the file is not opened",
  );
  const usual = layerTypes.map((_, i) => Number((i + 1) % 4 !== 0));
  differs(
    config.noRopeLayers !== undefined && String(config.noRopeLayers) !== String(usual),
    "no_rope_layers: every fourth",
  );
  if (ropeScaling?.ropeType === "yarn") {
    differs(ropeScaling.truncate === false, "yarn's truncate false: its bounds are whole dimensions");
    const { betaFast = 32, betaSlow = 1 } = ropeScaling;
    differs(betaFast !== 32 || betaSlow !== 1, "yarn's beta_fast and beta_slow: 32 and 1 in most versions");
  }
  return found;
}
