import { type ModelConfig, rotaryDim } from "../formats/config/config.ts";
import type { RopeScaling } from "../formats/config/config-types.ts";
import { llama3Factors, ropeAttentionFactor } from "../formats/config/rope-scaling.ts";
import type { Rotary } from "../nn/rotary.ts";

type Yarn = Extract<RopeScaling, { ropeType: "yarn" }>;

const MAIN = "rope.frequencies";
const LONG = "rope.frequencies.long";
const LOCAL = "rope.frequencies.local";

/** Returns the angle per position of each rotated pair, (width / 2): θ^(−2i/width), divided by the factors if given. */
function frequencies(width: number, theta: number, factors?: ArrayLike<number>): Float32Array {
  return Float32Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width) / (factors?.[i] ?? 1));
}

/** Returns the frequency tables that a configuration's RoPE needs, by the names that `rotaryOf` uses. */
export function ropeConstants(config: ModelConfig): Map<string, Float32Array> {
  const { ropeTheta: theta, ropeScaling: scaling, ropeLocalTheta } = config;
  const width = rotaryDim(config);
  const tables = new Map([[MAIN, mainFrequencies(config, width)]]);
  if (scaling?.ropeType === "longrope") tables.set(LONG, frequencies(width, theta, scaling.longFactor));
  if (ropeLocalTheta !== undefined) tables.set(LOCAL, frequencies(width, ropeLocalTheta));
  return tables;
}

function mainFrequencies(config: ModelConfig, width: number): Float32Array {
  const { ropeTheta: theta, ropeScaling: scaling } = config;
  switch (scaling?.ropeType) {
    case undefined:
    case "dynamic":
      return frequencies(width, theta);
    case "linear":
      return frequencies(width, theta, new Float32Array(width / 2).fill(scaling.factor));
    case "llama3":
      return frequencies(width, theta, llama3Factors(scaling, width, theta));
    case "yarn":
      return frequencies(width, theta, yarnFactors(scaling, width, theta, config.maxPositionEmbeddings));
    case "longrope":
      return frequencies(width, theta, scaling.shortFactor);
    case "factors":
      return frequencies(width, theta, scaling.factors);
  }
}

/**
 * Returns YaRN's divisors of the frequencies (Peng et al. 2023, section 3.2). A pair with more than betaFast rotations
 * within the original context keeps its frequency. The frequency of a pair with fewer than betaSlow rotations is divided
 * by `factor`. Between these limits, the frequency is a linear mix of both.
 */
function yarnFactors(scaling: Yarn, width: number, theta: number, most: number): Float64Array {
  const { factor, betaFast = 32, betaSlow = 1, originalMaxPositionEmbeddings: original = most, truncate } = scaling;
  const pairOf = (turns: number) => (width * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = truncate ?? true;
  const low = Math.max(whole ? Math.floor(pairOf(betaFast)) : pairOf(betaFast), 0);
  const high = Math.min(whole ? Math.ceil(pairOf(betaSlow)) : pairOf(betaSlow), width - 1);
  // As in transformers, 0.001 avoids a division by zero.
  const span = high === low ? 0.001 : high - low;
  return Float64Array.from({ length: width / 2 }, (_, i) => {
    const interpolated = Math.min(Math.max((i - low) / span, 0), 1);
    return 1 / (interpolated / factor + (1 - interpolated));
  });
}

/** Returns the RoPE of a layer's queries and keys, or undefined if the layer has no RoPE (smollm3). */
export function rotaryOf(config: ModelConfig, layer: number): Rotary | undefined {
  if (config.noRopeLayers?.[layer] === 0) return undefined;
  if (config.ropeLocalTheta !== undefined && config.layerTypes[layer] === "sliding_attention")
    return { table: LOCAL, scale: 1 };
  const scale = ropeAttentionFactor(config);
  const { ropeScaling: scaling } = config;
  if (scaling?.ropeType === "dynamic")
    return { table: MAIN, scale, lengths: { original: trainedLength(config), factor: scaling.factor } };
  if (scaling?.ropeType === "longrope")
    return { table: MAIN, scale, lengths: { original: trainedLength(config), long: LONG } };
  return { table: MAIN, scale };
}

/** Returns the sequence length above which a length-dependent scaling changes the frequencies. */
function trainedLength({ ropeScaling: scaling, maxPositionEmbeddings: most }: ModelConfig): number {
  // Dynamic scaling ignores original_max_position_embeddings, as in transformers.
  return scaling?.ropeType === "longrope" ? (scaling.originalMaxPositionEmbeddings ?? most) : most;
}

/** Whether RoPE depends on the length of the sequence. */
export function turnsByLength({ ropeScaling: scaling }: ModelConfig): boolean {
  return scaling?.ropeType === "dynamic" || scaling?.ropeType === "longrope";
}

/**
 * Returns which set of frequencies a sequence of `length` positions uses: longrope's short (0) or long (1) set. Keys
 * cached under one set are invalid under the other. Dynamic scaling keeps old keys, as in transformers.
 */
export function ropeRegime(config: ModelConfig, length: number): number {
  return config.ropeScaling?.ropeType === "longrope" && length > trainedLength(config) ? 1 : 0;
}

/**
 * Whether cached keys depend on the length that their sequence had when they were computed (dynamic scaling). Such keys must not be reused
 * for another sequence with the same prefix.
 */
export function keysKeepLength({ ropeScaling: scaling }: ModelConfig): boolean {
  return scaling?.ropeType === "dynamic";
}

/** Upper limit of positions, far from the overflow of 32-bit integers. */
const MAX_POSITIONS = 2 ** 30;

/**
 * Returns the maximum number of positions of a sequence. Dynamic scaling and YaRN extend the trained length by their
 * factor, unless `max_position_embeddings` already includes it.
 */
export function contextLimit(config: ModelConfig): number {
  const { ropeScaling: scaling, maxPositionEmbeddings: most } = config;
  if (scaling?.ropeType !== "dynamic" && scaling?.ropeType !== "yarn") return most;
  const stretched = Math.floor((scaling.originalMaxPositionEmbeddings ?? most) * scaling.factor);
  return Math.max(most, Math.min(stretched, MAX_POSITIONS));
}
