import { invalidArgument } from "../core/errors.ts";

/** How the learning rate goes from its peak on, in the names of TRL and transformers. `constant_with_warmup` is `constant`. */
export const lrSchedulers = ["cosine", "linear", "constant", "constant_with_warmup", "warmup_stable_decay"] as const;
export type LrScheduler = (typeof lrSchedulers)[number];
/** Along which curve the rate falls at the end of `warmup_stable_decay`. */
export const decayTypes = ["cosine", "linear", "1-sqrt"] as const;
export type DecayType = (typeof decayTypes)[number];
/**
 * A schedule of one's own: the share of learningRate that a step has, after the warm-up where there is one. Pure, so that a resumed run goes on alike.
 * @param at.step of the whole run, from 1 as in the log
 */
export type OwnSchedule = (at: { step: number; maxSteps: number }) => number;

export interface ScheduleOptions {
  /** the peak, reached at the end of the warm-up; ≥ 0 */
  learningRate: number;
  /** optimiser steps of the whole run */
  maxSteps: number;
  /** Default "cosine". */
  lrScheduler?: LrScheduler | OwnSchedule;
  /** Steps of linear warm-up. Counts before `warmupRatio` where it is above 0. */
  warmupSteps?: number;
  /** Warm-up as a share of `maxSteps`, rounded up. */
  warmupRatio?: number;
  /** The rate at the end, as a share of the peak, for all but constant ones. Default 0. */
  minLearningRateRatio?: number;
  /** Of `warmup_stable_decay`: steps in which the rate falls, up to the last. Counts before `decayRatio`. */
  decaySteps?: number | undefined;
  /** The same as a share of `maxSteps`, rounded up. Default 0.1, as in the paper. */
  decayRatio?: number | undefined;
  /** Default "cosine", as in transformers. */
  decayType?: DecayType | undefined;
}

/** The learning rate of an optimiser step, counted from 1 as in the log. */
export type Schedule = (step: number) => number;

/**
 * A pure function from step to learning rate, so that a resumed run needs no state of it.
 *
 * The warm-up rises by equal parts: step 1 has peak / warmup, step `warmup` the peak. From there cosine and linear fall,
 * warmup_stable_decay in its last steps alone (Hu et al. 2024, "MiniCPM"), and reach `minLearningRateRatio` of the peak at step
 * `maxSteps`; later steps keep that. (transformers counts steps from 0, so
 * that its first step of a warm-up has rate 0 and changes nothing, and its last step has not quite arrived. Here the first step counts, and the last has the rate at the end: with a floor of 0, where there
 * is more than one step, it changes nothing.)
 *
 * @throws HeddleError INVALID_ARGUMENT
 */
export function learningRateSchedule(options: ScheduleOptions): Schedule {
  const { learningRate, maxSteps, lrScheduler = "cosine", minLearningRateRatio: floor = 0 } = options;
  const { warmupSteps = 0, warmupRatio = 0 } = options;
  if (!(learningRate >= 0 && Number.isFinite(learningRate))) {
    throw invalidArgument("learningRate", "a number ≥ 0", learningRate);
  }
  if (!Number.isSafeInteger(maxSteps) || maxSteps < 1) throw invalidArgument("maxSteps", "an integer ≥ 1", maxSteps);
  if (typeof lrScheduler !== "function" && !lrSchedulers.includes(lrScheduler))
    throw invalidArgument("lrScheduler", `${lrSchedulers.join(", ")}, or a function`, lrScheduler);
  if (!Number.isSafeInteger(warmupSteps) || warmupSteps < 0) {
    throw invalidArgument("warmupSteps", "an integer ≥ 0", warmupSteps);
  }
  if (!(warmupRatio >= 0 && warmupRatio <= 1)) throw invalidArgument("warmupRatio", "a number in [0, 1]", warmupRatio);
  const falls = decayOf(options);
  if (!(floor >= 0 && floor <= 1)) throw invalidArgument("minLearningRateRatio", "a number in [0, 1]", floor);

  // A run of one step would have the rate at the end alone, which is 0 by default, and change nothing: it is all warm-up.
  const asked = warmupSteps > 0 ? warmupSteps : Math.ceil(warmupRatio * maxSteps);
  const warmup = maxSteps === 1 ? 1 : Math.min(maxSteps, asked);
  return (step) => {
    if (step <= warmup && warmup > 0) return (learningRate * Math.max(0, step)) / warmup;
    if (lrScheduler === "constant" || lrScheduler === "constant_with_warmup") return learningRate;
    if (typeof lrScheduler === "function") return learningRate * shareOf(lrScheduler, step, maxSteps);
    const falling = falls ? Math.min(falls.steps, maxSteps - warmup) : maxSteps - warmup;
    if (falls?.steps === 0) return learningRate; // decayRatio 0: stable to the end
    const progress = falling > 0 ? Math.min(1, Math.max(0, (step - (maxSteps - falling)) / falling)) : 1;
    const share = shareLeft(falls?.type ?? (lrScheduler === "linear" ? "linear" : "cosine"), progress);
    return learningRate * (floor + (1 - floor) * share);
  };
}

/** What of the peak is left when a share of the fall is over. */
function shareLeft(type: DecayType, progress: number): number {
  if (type === "linear") return 1 - progress;
  return type === "cosine" ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - Math.sqrt(progress);
}

/** How `warmup_stable_decay` falls; undefined for others. */
function decayOf(options: ScheduleOptions): { steps: number; type: DecayType } | undefined {
  const { lrScheduler, maxSteps, decaySteps, decayRatio = 0.1, decayType = "cosine" } = options;
  if (lrScheduler !== "warmup_stable_decay") {
    const given = (["decaySteps", "decayRatio", "decayType"] as const).find((name) => options[name] !== undefined);
    if (given) throw invalidArgument(given, "none without lrScheduler warmup_stable_decay", options[given]);
    return undefined;
  }
  if (decaySteps !== undefined && !(Number.isSafeInteger(decaySteps) && decaySteps >= 1))
    throw invalidArgument("decaySteps", "an integer ≥ 1", decaySteps);
  if (!(decayRatio >= 0 && decayRatio <= 1)) throw invalidArgument("decayRatio", "a number in [0, 1]", decayRatio);
  if (!decayTypes.includes(decayType)) throw invalidArgument("decayType", decayTypes.join(", "), decayType);
  return { steps: decaySteps ?? Math.ceil(decayRatio * maxSteps), type: decayType };
}

function shareOf(schedule: OwnSchedule, step: number, maxSteps: number): number {
  const share: unknown = schedule({ step, maxSteps });
  if (typeof share === "number" && share >= 0 && Number.isFinite(share)) return share;
  throw invalidArgument(`lrScheduler: step ${step}`, "a number of at least 0, a share of learningRate", share);
}
