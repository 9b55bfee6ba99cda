// RoPE in config.json, in both forms: `rope_theta` with `rope_scaling`, or `rope_parameters`.
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import type { JsonFields } from "../../io/json.ts";
import type { ModelConfig } from "./config-types.ts";
import { formatOf, saysRotated } from "./families.ts";
import { alphaTheta, ropeScalingFromJson, ropeScalingToJson } from "./rope-scaling.ts";

/**
 * Reads the RoPE settings of a config.json into `config`. The schema checks them.
 * @throws HeddleError INVALID_FILE, UNSUPPORTED
 */
export function readRope(
  raw: JsonFields,
  config: JsonFields,
  { modelType, where }: { modelType: string; where: string },
): void {
  const { full, sliding } = ropeSets(raw, where);
  if (sliding !== undefined) config.ropeLocalTheta = localTheta(full, sliding, modelType, where);
  const { rope_theta, partial_rotary_factor, ...given } = full;
  if (rope_theta !== undefined) config.ropeTheta = rope_theta;
  const { defaults, keys = {}, originalContextBeside, ropeAlpha } = formatOf(modelType);
  // null means that sliding layers use the same θ as the others.
  if (Object.entries(keys).some(([key, name]) => name === "ropeLocalTheta" && raw[key] === null))
    config.ropeLocalTheta ??= config.ropeTheta ?? defaults.ropeTheta;
  const partial = partial_rotary_factor ?? raw.partial_rotary_factor ?? undefined;
  // Omit a fraction of 1, which is the default, unless the family has another default.
  if (partial !== undefined && (partial !== 1 || saysRotated(modelType))) config.partialRotaryFactor = partial;
  const scaled = ropeAlpha && alphaTheta(given, raw, { given: config.ropeTheta, where });
  if (scaled) return void Object.assign(config, { ropeTheta: scaled, ropeScaling: null });
  const scaling = ropeScalingFromJson(given, where);
  config.ropeScaling = scaling;
  if (scaling?.ropeType !== "longrope" && scaling?.ropeType !== "yarn") return;
  const [beside, within] = [raw.original_max_position_embeddings ?? undefined, scaling.originalMaxPositionEmbeddings];
  const original = originalContextBeside ? (beside ?? within) : (within ?? beside);
  if (original !== undefined) scaling.originalMaxPositionEmbeddings = original;
  // For YaRN, a null factor means the ratio of the context lengths.
  const most = config.maxPositionEmbeddings;
  if (scaling.ropeType === "yarn" && given.factor === null && isPositive(most) && isPositive(original))
    scaling.factor = most / original;
}

/**
 * Returns the settings of all layers (`full`), or separate settings for full-attention and sliding layers. If a file has
 * both keys, transformers uses `rope_scaling`. It then takes θ, the rotary fraction and the sliding layers' settings
 * from `rope_parameters`.
 */
function ropeSets(raw: JsonFields, where: string): { full: JsonFields; sliding?: JsonFields } {
  const parameters = objectAt(raw, "rope_parameters", where);
  const scaling = objectAt(raw, "rope_scaling", where);
  // Either key may hold one set of settings (`flat`), or one set for each layer type (`nested`).
  const nested = [scaling, parameters].find(
    (sets) => isObject(sets.full_attention) || isObject(sets.sliding_attention),
  );
  const flat = isEmpty(scaling) || scaling === nested ? {} : scaling;
  const { full_attention, sliding_attention } = nested ?? {};
  const full = nested
    ? objectAt({ rope_parameters: full_attention ?? sliding_attention }, "rope_parameters", where)
    : parameters;
  const theta = nested ? full.rope_theta : (raw.rope_theta ?? full.rope_theta);
  const kept = withoutNulls({ rope_theta: theta, partial_rotary_factor: full.partial_rotary_factor });
  return {
    full: isEmpty(flat) ? full : { ...kept, ...flat },
    ...(isObject(full_attention) && isObject(sliding_attention) && { sliding: sliding_attention }),
  };
}

/** Drops undefined and null values. */
function withoutNulls(values: JsonFields): JsonFields {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
}

function objectAt(raw: JsonFields, key: string, where: string): JsonFields {
  const value = raw[key] ?? {};
  if (isObject(value)) return value;
  throw new HeddleError("INVALID_FILE", `${where}: ${key}: expected an object, got ${describe(value)}`);
}

/** Returns the sliding layers' θ, or undefined if they have the same settings as the other layers. */
function localTheta(full: JsonFields, local: JsonFields, type: string, where: string): unknown {
  const { defaults, windowsUnscaled } = formatOf(type);
  const always = defaults.ropeLocalTheta !== undefined || windowsUnscaled;
  if (!always && JSON.stringify(full) === JSON.stringify(local)) return undefined;
  const { rope_theta, rope_type = "default", ...others } = local;
  if (rope_type !== "default" || Object.values(others).some((value) => value !== null)) {
    const message = `rope_parameters: separate scaling of sliding_attention (${describe(rope_type)}) is not supported`;
    throw new HeddleError("UNSUPPORTED", `${where}: ${message}`);
  }
  return rope_theta;
}

/**
 * Returns the RoPE keys in the form that every version of transformers reads.
 * @throws UNSUPPORTED for GGUF's factors, which config.json cannot express
 */
export function ropeToJson(config: ModelConfig): JsonFields {
  return {
    ...originalContext(config),
    rope_scaling: config.ropeScaling === null ? null : ropeScalingToJson(config.ropeScaling),
    rope_theta: config.ropeTheta,
    ...ropeByLayerType(config),
  };
}

function originalContext({ modelType, ropeScaling }: ModelConfig): JsonFields {
  if (!formatOf(modelType).originalContextBeside || ropeScaling?.ropeType !== "longrope") return {};
  const original = ropeScaling.originalMaxPositionEmbeddings;
  return original === undefined ? {} : { original_max_position_embeddings: original };
}

/** Returns `rope_parameters` by layer type, if the sliding layers' θ differs and the family has no key for it. */
function ropeByLayerType({ modelType, ropeTheta, ropeScaling, ropeLocalTheta: local }: ModelConfig): JsonFields {
  const { keys = {}, windowsUnscaled } = formatOf(modelType);
  const isExpressed = Object.values(keys).includes("ropeLocalTheta") || (windowsUnscaled && local === ropeTheta);
  if (local === undefined || isExpressed) return {};
  const scaling = ropeScaling === null ? { rope_type: "default" } : ropeScalingToJson(ropeScaling);
  return {
    rope_parameters: {
      full_attention: { ...scaling, rope_theta: ropeTheta },
      sliding_attention: { rope_type: "default", rope_theta: local },
    },
  };
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && value > 0;
}

function isEmpty(value: JsonFields): boolean {
  return Object.keys(value).length === 0;
}
