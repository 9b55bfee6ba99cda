// Checkpoints keep the options that a run's losses follow from, and a resumed run has to have the same.
import { HeddleError } from "../../core/errors.ts";
import type { trainingShape } from "./options.ts";

/** Options by name, as JSON keeps them; null: not given. */
export type RecordedOptions = Readonly<Record<string, unknown>>;

/** Shared options that may change when a run resumes. */
const FREE: readonly (keyof typeof trainingShape)[] = [
  "outputDir",
  "maxSteps",
  "gradientCheckpointing",
  "loggingSteps",
  "evalSteps",
  "evaluate",
  "loadBestModelAtEnd",
  "metricForBestModel",
  "greaterIsBetter",
  "earlyStoppingPatience",
  "earlyStoppingThreshold",
  "evalBatches",
  "saveSteps",
  "saveTotalLimit",
  "dtype",
  "saveDtype",
  "resume",
  "allowChangedOptions",
  "overwriteOutputDir",
  "skipNonFinite",
  "maxConsecutiveSkips",
  "name",
  "trainingCutoffDate",
  "licence",
  "card",
];
/** Further options of single stages that may change. */
const FREE_OF_STAGES = ["numTrainEpochs", "lossSpikeThreshold", "skipLossSpikes"];
/** Options with separate checks: the position in the data holds the data's, the checkpoint's tensors those of what is trained. */
const CHECKED_ELSEWHERE = [
  ...["data", "evalData", "evalFraction", "prompts", "evalPrompts", "documentSeparator", "textField", "packing"],
  ...["lora", "adapter", "parameterGroups"],
];
const LEFT_OUT = new Set<string>([...FREE, ...FREE_OF_STAGES, ...CHECKED_ELSEWHERE]);

/** Options without a default. They are recorded as null where they are not given, so that giving one later is a change. */
const OPTIONAL: readonly (keyof typeof trainingShape)[] = [
  "maxSeqLength",
  "decaySteps",
  "decayRatio",
  "decayType",
  "warmupSteps",
  "warmupRatio",
  "minLearningRateRatio",
  "replay",
];

/**
 * Picks the options that losses follow from.
 * @param options a stage's checked options
 * @param processes number of processes that train together
 */
export function recordedOptions(options: object, processes: number): RecordedOptions {
  const given: Record<string, unknown> = { ...options };
  const { gradientAccumulationSteps: steps, replay, ...rest } = given;
  // n ranks process as many micro-batches per step as one process with n times the accumulation steps.
  const recorded: Record<string, unknown> = { gradientAccumulationSteps: Number(steps) * processes };
  for (const name of new Set([...OPTIONAL, ...Object.keys(rest)])) {
    if (LEFT_OUT.has(name) || name === "replay") continue;
    const value = plain(rest[name] ?? null);
    if (value !== undefined) recorded[name] = value;
  }
  // The position in the replayed data is checked with the data's.
  const { data: _, documentSeparator: _s, textField: _t, ...how } = (replay ?? {}) as Record<string, unknown>;
  recorded.replay = replay === undefined ? null : how;
  return recorded;
}

/** Converts a value to JSON. All functions are alike. Returns undefined for models and other objects that JSON has no form for. */
function plain(value: unknown): unknown {
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map(plain);
    return items.includes(undefined) ? undefined : items;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  const entries = Object.entries(value).map(([name, inner]) => [name, plain(inner)] as const);
  return entries.some(([, inner]) => inner === undefined) ? undefined : Object.fromEntries(entries.sort());
}

/**
 * Compares the options of a resumed run with those that it began with. Options that only one of both records are from another version, and
 * are not compared.
 * @param began undefined for a checkpoint that records no options
 * @returns a warning that names the changes, where they are allowed
 * @throws HeddleError INVALID_ARGUMENT
 */
export function checkSameOptions(
  began: RecordedOptions | undefined,
  now: RecordedOptions,
  { allowed }: { allowed: boolean },
): string | undefined {
  if (began === undefined) return undefined;
  const text = (value: unknown) => (value === null ? "none" : JSON.stringify(value));
  const changed = Object.keys(now).filter(
    (name) => Object.hasOwn(began, name) && text(began[name]) !== text(now[name]),
  );
  if (changed.length === 0) return undefined;
  if (allowed)
    return `resume: goes on with options that the run did not begin with: ${changed
      .map((name) => `${name} ${text(now[name])}, before ${text(began[name])}`)
      .join("; ")}`;
  const [first, ...others] = changed;
  const more = others.length > 0 ? ` (changed too: ${others.join(", ")})` : "";
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `${first}: expected ${text(began[first!])}, as the run that is resumed began with, got ${text(now[first!])}${more}; allowChangedOptions: true (--allow-changed-options) goes on all the same`,
  );
}
