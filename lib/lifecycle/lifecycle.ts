import { checkSeed, checkSignal, HeddleError, invalidArgument } from "../core/errors.ts";
import { checkFlag, checkFunction } from "../core/option-values.ts";
import { Run } from "../core/run.ts";
import { rejectUnknownNames } from "../language-model/index.ts";
import type { LifecycleEvent, LifecycleResult } from "./types.ts";

/** Options of `lifecycle`. @experimental */
export interface LifecycleOptions {
  /** Output folder. If it holds a run with the same options, that run is resumed. */
  out?: string | undefined;
  /** Time budget for all stages on two cores, in minutes, at most 10,000. The number of steps is proportional to it. Default 20. */
  budgetMinutes?: number | undefined;
  /** Seed of data and training. Default: 1. */
  seed?: number | undefined;
  /** Whether to use a tiny model and a few steps: a smoke test of some seconds, which learns nothing. */
  quick?: boolean | undefined;
  /** The device's name. Default: as in `openDevice`. */
  device?: string | undefined;
  /** Number of worker threads on the CPU. Default: as in `openDevice`. */
  threads?: number | undefined;
  /** Stops the run. A later call with the same options resumes it. */
  signal?: AbortSignal | undefined;
  /** Called before the run if the budget is too short to learn from. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}

const MAX_MINUTES = 10_000;

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
 * Runs the whole life of a small language model: tokenizer, pre-training, supervised fine-tuning, preference tuning
 * (DPO; reward model and GRPO), and a comparison of two classifiers. Each stage is measured on held-out data, and a
 * report shows the results. A run that was stopped or killed at any moment resumes when `lifecycle` is called again.
 *
 * @throws HeddleError INVALID_ARGUMENT, IO, ABORTED after `signal` fired (finished work stays)
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
  if (!(typeof budgetMinutes === "number" && budgetMinutes > 0 && budgetMinutes <= MAX_MINUTES))
    throw invalidArgument("budgetMinutes", `a number above 0 and at most ${MAX_MINUTES}`, budgetMinutes);
  checkSeed(seed);
  checkFlag("quick", quick);
  checkSignal(options.signal);
  checkFunction("onWarning", options.onWarning);
  return new Run(async function* () {
    // Load the recipe, the stages and the report lazily. They are a large part of the package, and many programs never
    // use them.
    const [{ planOf }, { runPlan }] = await Promise.all([import("./plan.ts"), import("./run-plan.ts")]);
    return yield* runPlan(out, planOf({ seed, budgetMinutes, quick }), options);
  });
}
