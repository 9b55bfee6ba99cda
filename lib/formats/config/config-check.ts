import type { HeddleError, HeddleErrorCode } from "../../core/errors.ts";
import type { ModelConfig } from "./config.ts";
import { formatOf } from "./families.ts";

/** Returns the number of rotated dimensions of each head. */
export function rotaryDim({ headDim, partialRotaryFactor = 1 }: ModelConfig): number {
  return Math.floor(headDim * partialRotaryFactor);
}

/** Checks constraints between fields. @throws the error that `fail` returns, with config.json's keys in the message */
export function check(config: ModelConfig, fail: (message: string, code?: HeddleErrorCode) => HeddleError): void {
  const { numAttentionHeads: heads, numKeyValueHeads: groups, headDim, hiddenSize, layerTypes } = config;
  if (heads % groups !== 0) {
    throw fail(`num_key_value_heads: expected a divisor of num_attention_heads ${heads}, got ${groups}`);
  }
  const rotary = rotaryDim(config);
  const { modelType } = config;
  const { bidirectional, encoder, keys = {}, positions, toJson, ungated, wholeHeads } = formatOf(modelType);
  if (positions || encoder || wholeHeads) {
    // The config.json key of a field, for messages.
    const keyOf = (field: string) => (toJson ? Object.keys(keys).find((key) => keys[key] === field) : undefined);
    const [width = "hidden_size", count = "num_attention_heads"] = [keyOf("hiddenSize"), keyOf("numAttentionHeads")];
    if (hiddenSize % heads !== 0) throw fail(`${width}: expected a multiple of ${count} ${heads}, got ${hiddenSize}`);
    if (groups !== heads) throw fail(`num_key_value_heads: expected ${count} ${heads} for ${modelType}, got ${groups}`);
    if (headDim * heads !== hiddenSize)
      throw fail(`head_dim: expected ${width} / ${count} ${hiddenSize / heads} for ${modelType}, got ${headDim}`);
  }
  if (config.useBidirectionalAttention) {
    if (!bidirectional)
      throw fail(`use_bidirectional_attention: true is not supported for ${modelType}`, "UNSUPPORTED");
    if (!bidirectional.windows && config.slidingWindow !== null && layerTypes.includes("sliding_attention"))
      throw fail(
        `sliding_window: ${config.slidingWindow} with bidirectional attention is not supported for ${modelType}`,
        "UNSUPPORTED",
      );
  }
  const wrong = formatOf(modelType).check?.(config);
  if (wrong !== undefined) throw fail(wrong);
  if (encoder && config.ropeScaling !== null)
    throw fail(`rope_scaling: ${config.ropeScaling.ropeType} is not supported for ${modelType}`, "UNSUPPORTED");
  if (encoder && (config.partialRotaryFactor ?? 1) !== 1)
    throw fail(
      `partial_rotary_factor: ${config.partialRotaryFactor} is not supported for ${modelType}, expected 1`,
      "UNSUPPORTED",
    );
  // Feed-forward blocks without a gate have one of the two forms of GELU.
  if ((positions || ungated) && config.hiddenAct === "silu")
    throw fail(`hidden_act: expected gelu or gelu_pytorch_tanh for ${modelType}, got silu`);
  if (positions) {
    // Models with a position table have no RoPE.
  } else if (config.partialRotaryFactor !== undefined && (rotary < 2 || rotary % 2 !== 0)) {
    throw fail(`partial_rotary_factor: expected an even number of rotated dimensions, got ${rotary} of ${headDim}`);
  } else if (rotary % 2 !== 0) {
    throw fail(`head_dim: expected an even number for rotary positions, got ${headDim}`);
  }
  if (layerTypes.length !== config.numHiddenLayers) {
    throw fail(`layer_types: expected num_hidden_layers ${config.numHiddenLayers} entries, got ${layerTypes.length}`);
  }
  if (config.noRopeLayers && config.noRopeLayers.length !== config.numHiddenLayers) {
    const got = config.noRopeLayers.length;
    throw fail(`no_rope_layers: expected num_hidden_layers ${config.numHiddenLayers} entries, got ${got}`);
  }
  if (config.slidingWindow === null && layerTypes.includes("sliding_attention")) {
    throw fail("sliding_window: expected a number for the sliding_attention layers of layer_types, got null");
  }
  const { numExperts, numExpertsPerTok } = config;
  if (numExperts !== undefined && numExpertsPerTok !== undefined && numExpertsPerTok > numExperts) {
    throw fail(`num_experts_per_tok: expected at most num_experts ${numExperts}, got ${numExpertsPerTok}`);
  }
  const scaling = config.ropeScaling;
  const factors =
    scaling?.ropeType === "factors"
      ? [scaling.factors]
      : scaling?.ropeType === "longrope"
        ? [scaling.longFactor, scaling.shortFactor]
        : [];
  for (const { length } of factors) {
    if (length === rotary / 2) continue;
    const half = rotary === headDim ? "head_dim / 2" : "half the rotated dimensions";
    throw fail(`rope_scaling: expected ${half} = ${rotary / 2} factors, got ${length}`);
  }
  if (scaling?.ropeType === "llama3" && scaling.highFreqFactor <= scaling.lowFreqFactor) {
    throw fail(
      `rope_scaling: high_freq_factor: expected more than low_freq_factor ${scaling.lowFreqFactor}, got ${scaling.highFreqFactor}`,
    );
  }
}
