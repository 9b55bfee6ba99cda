// Scaling of RoPE frequencies beyond a model's original context length.
import { z } from "zod";
import { describe, HeddleError } from "../../core/errors.ts";
import { flag, positive, whole } from "../../core/schema-parts.ts";
import { tidy } from "../gguf/gguf-metadata.ts";
import type { Llama3RopeScaling, ModelConfig, RopeScaling, YarnRopeScaling } from "./config-types.ts";

const factor = positive(1e6);
const positions = whole(1, 2 ** 30);
const factors = z
  .array(positive(1e9), { error: "an array of numbers above 0" })
  .min(1, "at least one number")
  .max(4096, "at most 4096 numbers");

const KINDS: readonly RopeScaling["ropeType"][] = ["linear", "dynamic", "llama3", "yarn", "longrope", "factors"];

/** The normalized form of `rope_scaling` or `rope_parameters`. `config-types.ts` documents the fields. */
export const ropeScalingSchema = z.discriminatedUnion(
  "ropeType",
  [
    z.object({ ropeType: z.literal("linear"), factor }),
    z.object({ ropeType: z.literal("dynamic"), factor, originalMaxPositionEmbeddings: positions.optional() }),
    z.object({
      ropeType: z.literal("llama3"),
      factor,
      lowFreqFactor: factor,
      highFreqFactor: factor,
      originalMaxPositionEmbeddings: positions,
    }),
    z.object({
      ropeType: z.literal("yarn"),
      factor,
      originalMaxPositionEmbeddings: positions.optional(),
      attentionFactor: factor.optional(),
      betaFast: factor.optional(),
      betaSlow: factor.optional(),
      mscale: factor.optional(),
      mscaleAllDim: factor.optional(),
      truncate: flag().optional(),
    }),
    z.object({
      ropeType: z.literal("longrope"),
      shortFactor: factors,
      longFactor: factors,
      factor: factor.optional(),
      originalMaxPositionEmbeddings: positions.optional(),
      attentionFactor: factor.optional(),
    }),
    z.object({ ropeType: z.literal("factors"), factors }),
  ],
  { error: ({ code }) => (code === "invalid_union" ? `one of ${KINDS.join(", ")}` : undefined) },
);

const CAMEL = new Map(
  Object.entries({
    rope_type: "ropeType",
    low_freq_factor: "lowFreqFactor",
    high_freq_factor: "highFreqFactor",
    original_max_position_embeddings: "originalMaxPositionEmbeddings",
    attention_factor: "attentionFactor",
    beta_fast: "betaFast",
    beta_slow: "betaSlow",
    mscale_all_dim: "mscaleAllDim",
    short_factor: "shortFactor",
    long_factor: "longFactor",
  }),
);

/** Keys whose value 0 means unset in transformers and in DeepSeek's code. */
const NOT_USED_AT_0 = new Set(["mscale", "mscale_all_dim"]);

/**
 * Converts `rope_scaling` of config.json, which may have the old `type` key, to the form that the schema takes. Returns
 * null for "default".
 * @param where names the file in messages
 * @throws UNSUPPORTED for an unknown type, INVALID_FILE if the type is not a string
 */
export function ropeScalingFromJson(value: Record<string, unknown>, where: string): Record<string, unknown> | null {
  const unset = ([key, entry]: [string, unknown]) =>
    entry === null || entry === undefined || (entry === 0 && NOT_USED_AT_0.has(key));
  const entries = Object.entries(value).filter((entry) => !unset(entry));
  const result: Record<string, unknown> = Object.fromEntries(
    entries.map(([key, entry]) => [CAMEL.get(key) ?? key, entry]),
  );
  let type = result.ropeType ?? result.type ?? "default";
  if (type === "default") return null;
  if (type === "su") type = "longrope"; // name in the first Phi-3 files
  delete result.type;
  if (typeof type !== "string")
    throw new HeddleError("INVALID_FILE", `${where}: rope_scaling.rope_type: expected a string, got ${describe(type)}`);
  const known = KINDS.filter((name) => name !== "factors");
  if (!known.some((name) => name === type)) {
    const got = JSON.stringify(type.slice(0, 60));
    const message = `rope_scaling: type ${got} is not known (known: default, ${known.join(", ")})`;
    throw new HeddleError("UNSUPPORTED", `${where}: ${message}`);
  }
  for (const name of ["short_mscale", "long_mscale"])
    if (type === "longrope" && result[name] !== undefined)
      throw new HeddleError("UNSUPPORTED", `${where}: rope_scaling: ${name} is not supported`);
  return { ...result, ropeType: type };
}

/**
 * Returns θ · α^(d / (d − 2)) for heads of width d, in f32. With an `alpha`, "dynamic" scaling uses this θ at all
 * lengths (transformers' HunYuanDenseV1RotaryEmbedding).
 * @param where names the file in messages
 * @returns undefined for other settings, for an alpha of 0, which means unset, and for invalid values of other keys,
 * which the schema reports
 * @throws HeddleError INVALID_FILE for an invalid alpha
 */
export function alphaTheta(
  scaling: Record<string, unknown>,
  { head_dim, hidden_size, num_attention_heads, rope_theta }: Record<string, unknown>,
  { given, where }: { given: unknown; where: string },
): number | undefined {
  const { alpha, rope_type: type = scaling.type } = scaling;
  if (type !== "dynamic" || alpha === undefined || alpha === null || alpha === 0) return undefined;
  if (typeof alpha !== "number" || !(alpha > 0 && alpha < Infinity))
    throw new HeddleError(
      "INVALID_FILE",
      `${where}: rope_scaling.alpha: expected a finite number of at least 0, got ${describe(alpha)}`,
    );
  const [theta, width] = [given ?? rope_theta ?? 1e4, head_dim ?? Number(hidden_size) / Number(num_attention_heads)];
  if (typeof theta !== "number") return undefined;
  return typeof width === "number" && width > 2 ? tidy(theta * alpha ** (width / (width - 2))) : undefined;
}

/** Returns the snake_case object for config.json. */
export function ropeScalingToJson(scaling: RopeScaling): Record<string, unknown> {
  if (scaling.ropeType === "factors") {
    throw new HeddleError(
      "UNSUPPORTED",
      "rope_scaling: frequency factors from a GGUF file that match no llama3 scaling cannot be written to config.json",
    );
  }
  const snake = new Map([...CAMEL].map(([from, to]) => [to, from]));
  const entries = Object.entries(scaling).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([key, value]) => [snake.get(key) ?? key, value]));
}

/**
 * Returns llama3 scaling as divisors of the inverse frequencies theta^(-2i/headDim), i < headDim/2. They are 1 for
 * short wavelengths, `factor` for long ones, and blended in between (Llama 3.1; transformers'
 * _compute_llama3_parameters).
 */
export function llama3Factors(scaling: Llama3RopeScaling, headDim: number, theta: number): Float32Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original } = scaling;
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headDim);
    if (wavelength < original / highFreqFactor) return 1;
    if (wavelength > original / lowFreqFactor) return factor;
    const smooth = (original / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/**
 * Returns the llama3 scaling that yields the given divisors. GGUF stores only the divisors. Published models have
 * lowFreqFactor 1, highFreqFactor 4 and a power of two as original context length, so the search tries only these values.
 * If none fits, returns the divisors as a scaling. Returns null if all divisors are 1.
 */
export function ropeScalingFromFactors(factors: Float32Array, headDim: number, theta: number): RopeScaling | null {
  if (factors.every((value) => value === 1)) return null;
  const factor = factors.reduce((a, b) => Math.max(a, b), 0);
  for (let original = 64; original <= 1 << 20; original *= 2) {
    const scaling: Llama3RopeScaling = {
      ropeType: "llama3",
      factor,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: original,
    };
    const candidate = llama3Factors(scaling, headDim, theta);
    // The tolerance is above the rounding errors of f32.
    if (candidate.length === factors.length && candidate.every((v, i) => Math.abs(v - factors[i]!) <= 1e-5 * v)) {
      return scaling;
    }
  }
  return { ropeType: "factors", factors: [...factors] };
}

/**
 * Returns the attention factor, which scales cosine and sine: YaRN's (Peng et al. 2023, eq. 22; with DeepSeek's mscale),
 * or LongRoPE's (Ding et al. 2024). It is 1 for other types.
 */
export function ropeAttentionFactor({ ropeScaling: scaling, maxPositionEmbeddings: most }: ModelConfig): number {
  if (scaling?.ropeType === "yarn") return yarnAttentionFactor(scaling);
  if (scaling?.ropeType === "longrope") {
    const { attentionFactor, originalMaxPositionEmbeddings: declared, factor: given = 1 } = scaling;
    // transformers ignores `factor` if the original context length is known.
    const [original, factor] = declared === undefined ? [most, given] : [declared, most / declared];
    return attentionFactor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)));
  }
  return 1;
}

/** Returns YaRN's attention factor, by DeepSeek's formula if both `mscale` values are set. */
export function yarnAttentionFactor({ factor, attentionFactor, mscale, mscaleAllDim }: YarnRopeScaling): number {
  const temperature = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  if (attentionFactor !== undefined) return attentionFactor;
  return mscale && mscaleAllDim ? temperature(mscale) / temperature(mscaleAllDim) : temperature(1);
}
