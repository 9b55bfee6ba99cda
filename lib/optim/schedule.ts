import { invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";

/** Names of the learning rate schedules, as in TRL and transformers. `constant_with_warmup` equals `constant`. */
export const lrSchedulers = ["cosine", "linear", "constant", "constant_with_warmup", "warmup_stable_decay"] as const;
type LrScheduler = (typeof lrSchedulers)[number];
/** Shapes of the decay at the end of `warmup_stable_decay`. */
export const decayTypes = ["cosine", "linear", "1-sqrt"] as const;
type DecayType = (typeof decayTypes)[number];
/**
 * A custom schedule. It returns the factor of learningRate for a step after the warm-up. It must be a pure function, so
 * that a resumed run has the same rates.
 * @param at.step step of the whole run, counted from 1 as in the log
 */
export type CustomSchedule = (at: { step: number; maxSteps: number }) => number;

/** Options of `learningRateSchedule`. */
export interface ScheduleOptions {
  /** The peak rate, at least 0, which the warm-up reaches at its end. */
  learningRate: number;
  /** Number of optimizer steps of the whole run. */
  maxSteps: number;
  /** The schedule's shape, or a function. Default "cosine". */
  lrScheduler?: LrScheduler | CustomSchedule;
  /** Steps of linear warm-up. Takes precedence over `warmupRatio` if it is above 0. */
  warmupSteps?: number;
  /** Warm-up as a share of `maxSteps`, rounded up. */
  warmupRatio?: number;
  /** The final rate as a share of the peak. Constant and custom schedules ignore it. Default 0. */
  minLearningRateRatio?: number;
  /** Length of the decay of `warmup_stable_decay`, in steps, up to the last step. Takes precedence over `decayRatio`. */
  decaySteps?: number | undefined;
  /** The length of the decay as a share of `maxSteps`, rounded up. Default 0.1, as in the paper. */
  decayRatio?: number | undefined;
  /** Shape of the decay of `warmup_stable_decay`. Default "cosine", as in transformers. */
  decayType?: DecayType | undefined;
}

/** Returns the learning rate of an optimizer step, counted from 1 as in the log. */
type Schedule = (step: number) => number;

/**
 * Returns a pure function from step to learning rate. A resumed run therefore needs no state of the schedule.
 *
 * The warm-up rises linearly: step 1 has peak / warmup, step `warmup` has the peak. From there, cosine and linear decay to
 * `minLearningRateRatio` of the peak at step `maxSteps`, and later steps keep that rate. warmup_stable_decay decays only in its last
 * steps (Hu et al. 2024, "MiniCPM").
 *
 * transformers counts steps from 0. Its first warm-up step has rate 0 and changes nothing, and its last step has not reached the final
 * rate. Here the first step has a rate above 0, and the last step has the final rate: with a minimum of 0 and more than one step, the
 * last step changes nothing.
 *
 * @throws HeddleError INVALID_ARGUMENT
 */
export function learningRateSchedule(options: ScheduleOptions): Schedule {
  const { learningRate, maxSteps, lrScheduler = "cosine", minLearningRateRatio: floor = 0 } = options;
  const { warmupSteps = 0, warmupRatio = 0 } = options;
  if (!(learningRate >= 0 && Number.isFinite(learningRate))) {
    throw invalidArgument("learningRate", "a number ≥ 0", learningRate);
  }
  checkWhole("maxSteps", maxSteps, 1);
  if (typeof lrScheduler !== "function" && !lrSchedulers.includes(lrScheduler))
    throw invalidArgument("lrScheduler", `${lrSchedulers.join(", ")}, or a function`, lrScheduler);
  checkWhole("warmupSteps", warmupSteps, 0);
  if (!(warmupRatio >= 0 && warmupRatio <= 1)) throw invalidArgument("warmupRatio", "a number in [0, 1]", warmupRatio);
  const decay = decayOf(options);
  if (!(floor >= 0 && floor <= 1)) throw invalidArgument("minLearningRateRatio", "a number in [0, 1]", floor);

  // A run of one step would only have the final rate, which is 0 by default, and change nothing. Treat it as all warm-up.
  const asked = warmupSteps > 0 ? warmupSteps : Math.ceil(warmupRatio * maxSteps);
  const warmup = maxSteps === 1 ? 1 : Math.min(maxSteps, asked);
  return (step) => {
    if (step <= warmup && warmup > 0) return (learningRate * Math.max(0, step)) / warmup;
    if (lrScheduler === "constant" || lrScheduler === "constant_with_warmup") return learningRate;
    if (typeof lrScheduler === "function") return learningRate * shareOf(lrScheduler, step, maxSteps);
    const decaySteps = decay ? Math.min(decay.steps, maxSteps - warmup) : maxSteps - warmup;
    if (decay?.steps === 0) return learningRate; // decayRatio 0: constant until the end
    const progress = decaySteps > 0 ? Math.min(1, Math.max(0, (step - (maxSteps - decaySteps)) / decaySteps)) : 1;
    const share = shareLeft(decay?.type ?? (lrScheduler === "linear" ? "linear" : "cosine"), progress);
    return learningRate * (floor + (1 - floor) * share);
  };
}

/** Share of the peak that remains at a point of the decay. */
function shareLeft(type: DecayType, progress: number): number {
  if (type === "linear") return 1 - progress;
  return type === "cosine" ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - Math.sqrt(progress);
}

/** Options of the decay of `warmup_stable_decay`; undefined for other schedules. */
function decayOf(options: ScheduleOptions): { steps: number; type: DecayType } | undefined {
  const { lrScheduler, maxSteps, decaySteps, decayRatio = 0.1, decayType = "cosine" } = options;
  if (lrScheduler !== "warmup_stable_decay") {
    const given = (["decaySteps", "decayRatio", "decayType"] as const).find((name) => options[name] !== undefined);
    if (given) throw invalidArgument(given, "no value unless lrScheduler is warmup_stable_decay", options[given]);
    return undefined;
  }
  if (decaySteps !== undefined) checkWhole("decaySteps", decaySteps, 1);
  if (!(decayRatio >= 0 && decayRatio <= 1)) throw invalidArgument("decayRatio", "a number in [0, 1]", decayRatio);
  if (!decayTypes.includes(decayType)) throw invalidArgument("decayType", decayTypes.join(", "), decayType);
  return { steps: decaySteps ?? Math.ceil(decayRatio * maxSteps), type: decayType };
}

function shareOf(schedule: CustomSchedule, step: number, maxSteps: number): number {
  const share: unknown = schedule({ step, maxSteps });
  if (typeof share === "number" && share >= 0 && Number.isFinite(share)) return share;
  throw invalidArgument(`lrScheduler: step ${step}`, "a number of at least 0, a share of learningRate", share);
}
