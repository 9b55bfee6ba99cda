// Properties that a GGUF file cannot express for llama.cpp, which goes by the architecture's name. heddle stores them under additional keys.
import type { ModelConfig } from "../formats/config/config.ts";
import { formatOf } from "../formats/config/families.ts";
import { yarnAttentionFactor } from "../formats/config/rope-scaling.ts";
import { ggufArchitecture } from "../formats/gguf/gguf-names.ts";

/** Architectures whose sliding windows llama.cpp computes, in the layers that the file names; of EXAONE 4's models that of 64 layers alone. */
const WINDOWED = new Set(["gemma2", "gemma3", "gemma-embedding", "gpt-oss", "olmo2", "cohere2", "modern-bert"]);
const windowed = (gguf: string, layers: number) => WINDOWED.has(gguf) || (gguf === "exaone4" && layers === 64);

/** Architectures of which llama.cpp knows no biases of attention or of the feed-forward block, no tied head, or heads of one width alone. */
const WITHOUT_BIASES = [
  "qwen3",
  "gemma",
  "gemma2",
  "gemma3",
  "gemma-embedding",
  "olmo2",
  "exaone4",
  "hunyuan-dense",
  "phi3",
  "smollm3",
  "modern-bert",
  "command-r",
  "cohere2",
  "ernie4_5",
];
const WITHOUT_MLP_BIAS = new Set(["qwen2", "chatglm", "glm4", "seed_oss", ...WITHOUT_BIASES]);
const WITHOUT_BIAS = new Set(["qwen3moe", "olmoe", ...WITHOUT_BIASES]);
const WITH_BIASES = new Set(["gptneox", "starcoder2", "phi2"]);
const WITH_OWN_HEAD = new Set(["olmo2", "olmoe", "qwen2moe", "gpt-oss", "gptneox", "phi2"]);
const WITH_TIED_HEAD = new Set(["command-r", "cohere2"]);
const HEADS_OF_WIDTH = new Set([
  "qwen2",
  "chatglm",
  "olmo2",
  "olmoe",
  "exaone4",
  "phi2",
  "phi3",
  "qwen2moe",
  "starcoder2",
  "cohere2",
]);

/** Architectures of which llama.cpp reads tables of rotary divisors; those of longrope of phi3 as well. */
const WITH_ROPE_TABLES = new Set(["llama", "granite", "granitemoe"]);

/** A scaling that travels as tables where llama.cpp knows none. */
function unreadTables({ ropeScaling }: ModelConfig, gguf: string): string | false {
  const kind = ropeScaling?.ropeType;
  if (kind !== "llama3" && kind !== "longrope" && kind !== "factors") return false;
  return !WITH_ROPE_TABLES.has(gguf) && !(kind === "longrope" && gguf === "phi3") && `rope_scaling ${kind}`;
}

/** Architectures whose GELU llama.cpp has in its tanh form, whatever the family's own is. */
const TANH_GELU = new Set(["gptneox"]);

/** Models that llama.cpp cannot open, because tensors have another shape or are unexpected. */
function unopened(config: ModelConfig, gguf: string): string[] {
  const { attentionBias, mlpBias, tieWordEmbeddings, headDim, numAttentionHeads, hiddenSize } = config;
  const fewerKeyHeads = config.numKeyValueHeads !== numAttentionHeads;
  const what = [
    !attentionBias && WITH_BIASES.has(gguf) && "attention without biases",
    attentionBias && WITHOUT_BIAS.has(gguf) && "biases of attention",
    mlpBias && WITHOUT_MLP_BIAS.has(gguf) && "biases of the feed-forward block",
    tieWordEmbeddings && WITH_OWN_HEAD.has(gguf) && "a head that is the embedding",
    !tieWordEmbeddings && WITH_TIED_HEAD.has(gguf) && "a head that is not the embedding",
    headDim * numAttentionHeads !== hiddenSize &&
      HEADS_OF_WIDTH.has(gguf) &&
      "heads that are not hidden_size wide together",
    fewerKeyHeads && gguf === "olmoe" && "fewer heads of keys than of queries",
    unreadTables(config, gguf),
    gguf === "command-r" &&
      Boolean(config.useQkNorm) !== config.numHiddenLayers >= 64 &&
      `${config.numHiddenLayers} layers with${config.useQkNorm ? "" : "out"} norms of queries and keys`,
  ];
  return what.filter((text) => text !== false).map((text) => `${text} in ${gguf} files: the file is not opened`);
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
  const { defaults, windowsUnscaled, encoder, experts } = formatOf(modelType);
  const gguf = ggufArchitecture(config) ?? "";
  const found = [...unopened(config, gguf), ...embedsOtherwise(config)];
  const differs = (is: boolean, what: string) => {
    if (is) found.push(what);
  };
  const slides = slidingWindow !== null && layerTypes.includes("sliding_attention");
  const slidesThere = windowed(gguf, layerTypes.length);
  const turns = gguf === "exaone4" ? ", and turns" : "";
  differs(slides && !slidesThere, `sliding windows of ${gguf} files: every layer sees all that came before${turns}`);
  differs(
    slidingWindow !== null && !slides && slidesThere,
    "a sliding window that no layer has: the file opens, and nothing is computed",
  );
  differs(slidingWindow === null && modelType === "gemma2", "no sliding window: one of 4096 in every second layer");
  differs(slidingWindow === null && modelType === "gpt_oss", "no sliding window: the file is not opened");
  differs(
    slidingWindow === null && gguf === "exaone4" && slidesThere,
    "no sliding window in 64 layers: one of 4096 in three of every four",
  );
  differs(
    windowsUnscaled === true && config.ropeLocalTheta !== config.ropeTheta,
    "θ of the sliding layers: that of the others",
  );
  // Encoders' files name an activation, or it is GELU, of which llama.cpp has one form.
  const act = TANH_GELU.has(gguf) ? "gelu_pytorch_tanh" : defaults.hiddenAct;
  differs(!encoder && config.hiddenAct !== act, `hidden_act ${config.hiddenAct}: ${act}`);
  const pooled = gguf === "bert" ? "first" : "mean";
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
  differs(modelType === "gpt_oss" && config.swigluLimit !== defaults.swigluLimit, "swiglu_limit: 7");
  const usual = layerTypes.map((_, i) => Number((i + 1) % 4 !== 0));
  differs(
    config.noRopeLayers !== undefined && String(config.noRopeLayers) !== String(usual),
    "no_rope_layers: every fourth",
  );
  if (ropeScaling?.ropeType === "yarn") {
    differs(ropeScaling.truncate === false, "yarn's truncate false: its bounds are whole dimensions");
    const { betaFast = 32, betaSlow = 1 } = ropeScaling;
    differs(betaFast !== 32 || betaSlow !== 1, "yarn's beta_fast and beta_slow: 32 and 1 in most versions");
    const usual = yarnAttentionFactor({ ropeType: "yarn", factor: ropeScaling.factor });
    differs(
      slides && gguf === "gemma3" && yarnAttentionFactor(ropeScaling) !== usual,
      "yarn's attention factor: in the layers that slide as well",
    );
  }
  if (modelType === "gemma2" || modelType === "gemma3_text") {
    differs(config.queryPreAttnScalar !== config.headDim, "query_pre_attn_scalar: head_dim, but for the 27B models");
    const [attention, logits] = [config.attnLogitSoftcapping, config.finalLogitSoftcapping];
    const capped = modelType === "gemma2" ? !attention || !logits : Boolean(attention || logits);
    differs(capped, `soft caps: ${modelType === "gemma2" ? "50 and 30" : "none"}`);
  }
  return found;
}
