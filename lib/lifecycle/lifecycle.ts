import { checkSeed, checkSignal, HeddleError, invalidArgument } from "../core/errors.ts";
import { Run } from "../core/run.ts";
import { rejectUnknownNames } from "../language-model/index.ts";
import type { LifecycleEvent, LifecycleResult } from "./types.ts";

/** Options of `lifecycle`. @experimental */
export interface LifecycleOptions {
  /** Output folder. A run with the same options in it is resumed. */
  out?: string | undefined;
  /** Minutes for all stages on two cores: steps scale with it. Default 20. */
  budgetMinutes?: number | undefined;
  /** Seed of data and training. Default: 1. */
  seed?: number | undefined;
  /** A tiny model and a few steps: the machinery in seconds, nothing is learned. */
  quick?: boolean | undefined;
  device?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called before the run if the budget is too short to learn from. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}

const NAMES: readonly (keyof LifecycleOptions)[] = [
  "out",
  "budgetMinutes",
  "seed",
  "quick",
  "device",
  "threads",
  "signal",
  "onWarning",
];

/**
 * The whole life of a small language model: tokenizer, pre-training, supervised fine-tuning, preference tuning (DPO; reward model and
 * GRPO), each measured on what was held out, and a report that shows it. A run that was stopped, or killed at any moment, goes on
 * where it was when it is called again.
 *
 * @throws HeddleError INVALID_ARGUMENT, IO, ABORTED after `signal` fired (what is done stays)
 * @example
 * for await (const event of lifecycle({ out: "life", budgetMinutes: 20 }))
 *   if (event.type === "step") console.log(event.stage, event.step, event.loss, event.secondsLeft);
 * @experimental
 */
export function lifecycle(options: LifecycleOptions = {}): Run<LifecycleEvent, LifecycleResult> {
  rejectUnknownNames(options, NAMES);
  const { out = "lifecycle", budgetMinutes = 20, seed = 1, quick = false } = options;
  if (typeof out !== "string" || out === "")
    throw new HeddleError("INVALID_ARGUMENT", `out: expected a folder, got ${String(out)}`);
  if (!(typeof budgetMinutes === "number" && budgetMinutes > 0 && budgetMinutes <= 10_000))
    throw new HeddleError("INVALID_ARGUMENT", `budgetMinutes: expected a number above 0, got ${String(budgetMinutes)}`);
  checkSeed(seed);
  if (typeof quick !== "boolean") throw invalidArgument("quick", "true or false", quick);
  checkSignal(options.signal);
  if (options.onWarning !== undefined && typeof options.onWarning !== "function")
    throw invalidArgument("onWarning", "a function", options.onWarning);
  return new Run(async function* () {
    // Its recipe, its stages and its report are a good part of the package: who imports the package may never ask for them.
    const [{ planOf }, { runPlan }] = await Promise.all([import("./plan.ts"), import("./run-plan.ts")]);
    return yield* runPlan(out, planOf({ seed, budgetMinutes, quick }), options);
  });
}
