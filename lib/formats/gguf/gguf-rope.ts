// Converts the RoPE scaling of GGUF files to the scaling types of config.json. GGUF has llama.cpp's keys and tables.
import { describe, HeddleError } from "../../core/errors.ts";
import { parseJson } from "../../io/json.ts";
import type { YarnRopeScaling } from "../config/config-types.ts";
import type { GgufFormat } from "../config/family-format.ts";
import { ropeScalingFromFactors, yarnAttentionFactor } from "../config/rope-scaling.ts";
import type { WeightSource } from "../weights.ts";
import { type GgufMetadata, tidy } from "./gguf-metadata.ts";

/**
 * Returns a file's RoPE scaling, or null for none. The configuration's schema checks it.
 * @param rotary number of rotated dimensions per head
 * @param yarn how the family's files describe YaRN
 * @throws HeddleError INVALID_FILE, UNSUPPORTED
 */
export function ropeScalingFromGguf(
  source: WeightSource,
  meta: GgufMetadata,
  { arch, rotary, theta, yarn = {} }: { arch: string; rotary: number; theta: number; yarn?: GgufFormat["yarn"] },
): unknown {
  const own = meta.string("heddle.rope_scaling");
  if (own !== undefined) return parseJson(Buffer.from(own), `${source.path}: heddle.rope_scaling`);
  const key = `${arch}.rope.scaling`;
  // As in llama.cpp, a factor without a type means linear scaling, and a factor of 0 means no scaling.
  const type = meta.string(`${key}.type`) ?? "linear";
  if (!["none", "linear", "yarn", "longrope"].includes(type)) throw unsupported(source, key, type);
  const declared = meta.real(`${key}.factor`) ?? meta.real(`${arch}.rope.scale_linear`);
  const factor = (type !== "none" && declared) || 1;
  const table = (name: string) => (source.has(name) ? factorsOf(source, name, rotary / 2) : undefined);
  const original = meta.number(`${key}.original_context_length`);

  // Besides the keys, a file may have tables of frequency divisors. A table has one divisor for each pair of dimensions.
  const [freqs, long, short] = ["rope_freqs", "rope_factors_long", "rope_factors_short"].map((name) =>
    table(`${name}.weight`),
  );
  if (type === "yarn" && (freqs || (long && short)))
    throw unsupported(source, key, type, " together with a table of factors");
  if (freqs)
    return ropeScalingFromFactors(
      freqs.map((value) => value * factor),
      rotary,
      theta,
    );
  if (long && short) {
    return {
      ropeType: "longrope",
      shortFactor: Array.from(short, (value) => tidy(value * factor)),
      longFactor: Array.from(long, (value) => tidy(value * factor)),
      ...(original !== undefined && { originalMaxPositionEmbeddings: original }),
      // Unlike transformers, llama.cpp does not derive the attention factor from the context lengths.
      attentionFactor: meta.real(`${key}.attn_factor`) ?? 1,
    };
  }
  switch (type) {
    case "longrope":
      throw unsupported(source, key, type, " without its tables of factors");
    case "yarn":
      return {
        ropeType: "yarn",
        factor,
        ...(original !== undefined && { originalMaxPositionEmbeddings: original }),
        ...yarnValues(meta, key, { factor, isWhole: yarn.wholeAttnFactor }),
        ...(yarn.truncate !== undefined && { truncate: yarn.truncate }),
      };
    default:
      return factor === 1 ? null : { ropeType: "linear", factor };
  }
}

function unsupported(source: WeightSource, key: string, type: string, where = ""): HeddleError {
  return new HeddleError("UNSUPPORTED", `${source.path}: ${key}.type ${describe(type)}${where} is not supported`);
}

/**
 * Returns the bounds of YaRN's ramp and its attention factor, if the file states them.
 * @param isWhole whether `attn_factor` is the attention factor itself. Otherwise the attention factor is `attn_factor`
 * times YaRN's default
 */
function yarnValues(
  meta: GgufMetadata,
  prefix: string,
  { factor, isWhole = false }: { factor: number; isWhole?: boolean | undefined },
): Record<string, number> {
  const real = (key: string) => meta.real(`${prefix}.${key}`);
  const [fast, slow, times, log] = ["yarn_beta_fast", "yarn_beta_slow", "attn_factor", "yarn_log_multiplier"].map(real);
  const usual: YarnRopeScaling = { ropeType: "yarn", factor, ...(log && { mscale: 1, mscaleAllDim: log }) };
  // llama.cpp's converter writes attention_factor of config.json under yarn_attn_factor.
  const whole = real("yarn_attn_factor") ?? (isWhole ? times : undefined);
  return {
    ...(fast !== undefined && { betaFast: fast }),
    ...(slow !== undefined && { betaSlow: slow }),
    ...(log && { mscale: 1, mscaleAllDim: log }),
    ...(times !== undefined && times !== 1 && { attentionFactor: tidy(times * yarnAttentionFactor(usual)) }),
    ...(whole !== undefined && { attentionFactor: whole }),
  };
}

/** Reads a table of `count` frequency divisors. */
function factorsOf(source: WeightSource, name: string, count: number): Float32Array {
  const { dtype, file, offset, bytes, shape } = source.tensor(name);
  if (dtype === "f32" && shape.length === 1 && shape[0] === count) return new Float32Array(file.bytes(offset, bytes));
  const got = `${dtype} [${shape.join(", ")}]`;
  throw new HeddleError("INVALID_FILE", `${source.path}: ${name}: expected f32 [${count}], got ${got}`);
}
