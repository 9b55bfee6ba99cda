import { HeddleError } from "../errors.ts";
import { type LoraOptions, parseLora } from "../models/lora.ts";
import { unknownOption } from "./option-names.ts";

/** The options of `lora`. PEFT's names for two of them, which adapter_config.json has, say the same. */
export interface StageLoraOptions extends LoraOptions {
  /** PEFT's name of `alpha`. */
  lora_alpha?: number | undefined;
  /** PEFT's name of `dropout`. */
  lora_dropout?: number | undefined;
}

/** The keys of `lora`; a record, so that the compiler misses none. */
const NAMES: Readonly<Record<keyof LoraOptions, true>> = {
  r: true,
  alpha: true,
  dropout: true,
  targetModules: true,
  useRslora: true,
  modulesToSave: true,
};
export const loraNames = Object.keys(NAMES);

/** In camelCase too, which is what reading a configuration file makes of every name. */
const PEFT_NAMES: Readonly<Record<string, "alpha" | "dropout">> = {
  lora_alpha: "alpha",
  loraAlpha: "alpha",
  lora_dropout: "dropout",
  loraDropout: "dropout",
};

/**
 * The options of `lora` under heddle's names, checked.
 * @throws HeddleError INVALID_ARGUMENT that names an option as it was given; also where one is given under both names
 */
export function stageLora(given: StageLoraOptions): LoraOptions {
  if (typeof given !== "object" || given === null || Array.isArray(given)) parseLora(given); // which throws
  const named = new Map<string, string>();
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    const name = Object.hasOwn(PEFT_NAMES, key) ? PEFT_NAMES[key]! : key;
    if (!Object.hasOwn(NAMES, name)) throw unknownOption("lora", key, loraNames);
    if (value === undefined) continue;
    const other = named.get(name);
    if (other !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", `lora.${key}: expected alone, got it beside lora.${other}`);
    named.set(name, key);
    options[name] = value;
  }
  try {
    parseLora(options);
  } catch (error) {
    throw error instanceof HeddleError ? asGiven(error, named) : error;
  }
  return options;
}

/** `lora.alpha: …` as `lora.lora_alpha: …`, where that was given. */
function asGiven(error: HeddleError, named: ReadonlyMap<string, string>): HeddleError {
  const message = error.message.replace(/^lora\.(\w+)(?=:)/, (_, name: string) => `lora.${named.get(name) ?? name}`);
  return new HeddleError(error.code, message, { cause: error });
}
