// adapter_config.json of PEFT (Hugging Face), as far as it describes LoRA.
import { join } from "node:path";
import { describe, HeddleError } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { isObject } from "../core/is-object.ts";
import { isWhole, wholeRange } from "../core/is-whole.ts";
import { readJson } from "../io/atomic-files.ts";
import { modulePattern } from "./module-pattern.ts";

/** Name of an adapter's configuration file, as in PEFT. */
export const ADAPTER_CONFIG_FILE = "adapter_config.json";
/** Name of an adapter's weight file, as in PEFT. */
export const ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors";

/**
 * Maximum rank of an adapter. It bounds the memory that a file can request. Training has the same limit, so all saved
 * adapters load.
 */
export const MAX_ADAPTER_RANK = 4096;

/** The content of adapter_config.json. */
export interface AdapterFileConfig {
  r: number;
  alpha: number;
  dropout: number;
  useRslora: boolean;
  /** "all-linear", module names or their suffixes, or a regular expression. The adapter's weights show which layers matched. */
  targetModules: string | string[];
  modulesToSave: string[];
  /** Whether modules that are tied in the model stay tied in the adapter. */
  ensureWeightTying?: boolean | undefined;
  /** Ranks that differ from `r`. A key is a regular expression for the module's name (see modulePattern). */
  rankPattern: Record<string, number>;
  /** Alphas that differ from `alpha`, with keys as in rankPattern. */
  alphaPattern: Record<string, number>;
  /** Whether the adapted weights are stored (in, out), as GPT-2's are. */
  fanInFanOut: boolean;
  /** Name of the model that the adapter was trained on. */
  baseModel: string | undefined;
  /** Names of other adapters that were active during training. This adapter reproduces its training results only together with them. */
  beside?: string[] | undefined;
  /** Default: CAUSAL_LM. */
  taskType?: (typeof TASKS)[number] | undefined;
}

const TASKS = ["CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS", "FEATURE_EXTRACTION"] as const;

/** Features of PEFT that change the computation. A file that uses one is refused. */
const REFUSED: Record<string, (value: unknown) => boolean> = {
  use_dora: (v) => v === true,
  use_qalora: (v) => v === true,
  use_bdlora: (v) => v !== undefined && v !== null && v !== false,
  lora_bias: (v) => v === true,
  // These initializations subtract the initial update from the base weights. PEFT repeats the subtraction when it loads the adapter.
  init_lora_weights: (v) => typeof v === "string" && /^(pissa|corda|olora$|loftq$)/i.test(v),
  bias: (v) => v !== undefined && v !== "none",
  layer_replication: (v) => v !== undefined && v !== null,
  trainable_token_indices: (v) => v !== undefined && v !== null,
  alora_invocation_tokens: (v) => v !== undefined && v !== null,
  target_parameters: (v) => v !== undefined && v !== null && !(Array.isArray(v) && v.length === 0),
};

/** Reads a folder's adapter_config.json. @throws HeddleError NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED */
export async function readAdapterConfig(folder: string): Promise<AdapterFileConfig> {
  const path = join(folder, ADAPTER_CONFIG_FILE);
  return parseAdapterConfig(await readJson(path), path);
}

/**
 * Parses the content of adapter_config.json.
 * @throws HeddleError INVALID_FILE; UNSUPPORTED for a method other than LoRA or a REFUSED feature
 */
function parseAdapterConfig(value: unknown, path: string): AdapterFileConfig {
  const invalid = (name: string, expected: string, got: unknown) =>
    new HeddleError("INVALID_FILE", `${path}: ${name}: expected ${expected}, got ${describe(got)}`);
  if (!isObject(value)) throw invalid("content", "an object", value);
  if (value.peft_type !== "LORA")
    throw new HeddleError("UNSUPPORTED", `${path}: peft_type: expected LORA, got ${describe(value.peft_type)}`);
  for (const [name, uses] of Object.entries(REFUSED))
    if (uses(value[name]))
      throw new HeddleError("UNSUPPORTED", `${path}: ${name}: ${describe(value[name])} is not supported`);
  const number = (name: string, fallback: number | undefined, test: (v: number) => boolean, expected: string) => {
    const given = value[name] ?? fallback;
    if (typeof given !== "number" || !test(given)) throw invalid(name, expected, given);
    return given;
  };
  const rank = () => {
    const r = number("r", 8, (v) => isWhole(v, 1), wholeRange(1));
    if (r > MAX_ADAPTER_RANK) throw invalid("r", `at most ${MAX_ADAPTER_RANK}`, r);
    return r;
  };
  const flag = (name: string) => {
    const given = value[name] ?? false;
    if (typeof given !== "boolean") throw invalid(name, "true or false", given);
    return given;
  };
  const names = (name: string) => {
    const given = value[name] ?? [];
    if (!isStrings(given)) throw invalid(name, "an array of names", given);
    return given;
  };
  const pattern = (name: string) => {
    const given = value[name] ?? {};
    if (!isObject(given)) throw invalid(name, "an object", given);
    for (const [key, n] of Object.entries(given)) {
      if (!(Number.isFinite(n) && (n as number) > 0)) throw invalid(`${name}.${key}`, "a number above 0", n);
    }
    modulePattern(given, `${path}: ${name}`);
    return given as Record<string, number>;
  };
  const targets = value.target_modules;
  const base = value.base_model_name_or_path;
  return {
    r: rank(),
    alpha: number("lora_alpha", 8, (v) => v > 0 && Number.isFinite(v), "a number above 0"),
    dropout: number("lora_dropout", 0, (v) => v >= 0 && v < 1, "a number from 0 to below 1"),
    useRslora: flag("use_rslora"),
    targetModules:
      typeof targets === "string" ? targets.replace(/^all-linear$/i, "all-linear") : names("target_modules"),
    modulesToSave: names("modules_to_save"),
    ensureWeightTying: flag("ensure_weight_tying"),
    rankPattern: pattern("rank_pattern"),
    alphaPattern: pattern("alpha_pattern"),
    fanInFanOut: flag("fan_in_fan_out"),
    baseModel: typeof base === "string" && base !== "" ? base : undefined,
    beside: names("heddle_beside"),
    taskType: TASKS.find((task) => task === value.task_type),
  };
}

/** Returns the content of adapter_config.json, with the keys that PEFT's loader expects. */
export function adapterConfigToJson(config: AdapterFileConfig): Record<string, unknown> {
  return {
    peft_type: "LORA",
    task_type: config.taskType ?? "CAUSAL_LM",
    base_model_name_or_path: config.baseModel ?? null,
    r: config.r,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    use_rslora: config.useRslora,
    target_modules: config.targetModules,
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    // PEFT ignores keys that it does not know.
    ...(config.ensureWeightTying && { ensure_weight_tying: true }),
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    fan_in_fan_out: config.fanInFanOut,
    bias: "none",
    use_dora: false,
    init_lora_weights: true,
    inference_mode: true,
    ...(config.beside && config.beside.length > 0 && { heddle_beside: config.beside }),
  };
}
