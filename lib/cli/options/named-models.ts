import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { LanguageModel } from "../../language-model/language-model.ts";
import type { LoadOptions } from "../../language-model/load-options.ts";
import { importModule } from "../../train/options/config-file.ts";

/** Loads models and reward functions that a configuration names by path. */
export class NamedModels {
  private readonly loadOptions: Pick<LoadOptions, "device" | "threads" | "signal">;
  private readonly models: LanguageModel[] = [];

  /** @param loadOptions options for loading models */
  constructor(loadOptions: Pick<LoadOptions, "device" | "threads" | "signal">) {
    this.loadOptions = loadOptions;
  }

  /**
   * Returns the options with `refModel` loaded and the paths in `rewards` resolved. The path of a .js or .ts module is
   * replaced by the functions that the module exports. If the default export is a function or an array of functions, the
   * named exports are ignored. Any other path is replaced by the reward model that is loaded from it.
   * @throws HeddleError NOT_FOUND, INVALID_FILE
   */
  async resolve(options: Record<string, unknown>): Promise<Record<string, unknown>> {
    const out = { ...options };
    if (typeof out.refModel === "string") out.refModel = await this.load(out.refModel);
    if (out.rewards === undefined) return out;
    const given = Array.isArray(out.rewards) ? out.rewards : [out.rewards];
    const rewards = [];
    for (const reward of given) {
      if (typeof reward !== "string") rewards.push(reward);
      else if (/\.[cm]?[jt]s$/.test(reward)) rewards.push(...(await rewardFunctions(reward)));
      else rewards.push(await this.load(reward));
    }
    return { ...out, rewards };
  }

  private async load(path: string): Promise<LanguageModel> {
    const model = await LanguageModel.load(path, this.loadOptions);
    this.models.push(model);
    return model;
  }

  async dispose(): Promise<void> {
    for (const model of this.models) await model.dispose();
  }
}

/** Wraps a reward function so that its errors name its file. The wrapper has the function's name. */
function namedCall(path: string, call: (input: unknown) => unknown): unknown {
  const wrapped = async (input: unknown) => {
    try {
      return await call(input);
    } catch (cause) {
      if (cause instanceof HeddleError) throw cause;
      const got = cause instanceof Error ? `${cause.name}: ${cause.message}` : describe(cause);
      throw new HeddleError("INVALID_ARGUMENT", `rewards: ${path}: ${call.name}: expected rewards, got ${got}`, {
        cause,
      });
    }
  };
  return Object.defineProperty(wrapped, "name", { value: call.name });
}

async function rewardFunctions(path: string): Promise<unknown[]> {
  const exported = await importModule(path, { all: true });
  if (typeof exported !== "object" || exported === null) throw invalidArgument(`rewards: ${path}`, "exports", exported);
  const { default: main, ...named } = exported as Record<string, unknown>;
  const all = Array.isArray(main) ? main : typeof main === "function" ? [main] : Object.values(named);
  const functions = all.filter((value) => typeof value === "function");
  if (functions.length > 0) return functions.map((call) => namedCall(path, call as (input: unknown) => unknown));
  const names = Object.keys(exported).join(", ") || "nothing";
  throw new HeddleError("INVALID_FILE", `${path}: expected a module that exports reward functions, got ${names}`);
}
