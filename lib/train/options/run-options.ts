// Options that affect a run's losses. Checkpoints store them, and a resumed run must have the same options.
import { HeddleError } from "../../core/errors.ts";
import { infoOf, type Shape } from "./option.ts";
import { sharedShape } from "./shared-options.ts";

/** Options by name, as stored in JSON. null means that the option was not given. */
export type RecordedOptions = Readonly<Record<string, unknown>>;

/**
 * Selects the options that affect losses.
 * @param options a stage's checked options
 * @param shape the stage's own options; those that every stage has may be missing
 * @param processes number of processes that train together
 */
export function recordedOptions(options: object, shape: Shape, processes: number): RecordedOptions {
  const { gradientAccumulationSteps: steps, replay, ...given } = options as Record<string, unknown>;
  const all: Shape = { ...sharedShape, ...shape };
  // Record totals over all ranks. n ranks process and draw as much per step as one process with n times the
  // accumulation steps.
  const recorded: Record<string, unknown> = { gradientAccumulationSteps: Number(steps) * processes };
  if (typeof given.stepsPerGeneration === "number") given.stepsPerGeneration *= processes;
  // Record shared options as null if they are not given. Giving such an option later is then a change.
  for (const name of new Set([...Object.keys(sharedShape), ...Object.keys(given)])) {
    if (
      ["gradientAccumulationSteps", "replay"].includes(name) ||
      (Object.hasOwn(all, name) && infoOf(all[name]!).recorded === false)
    )
      continue;
    const value = plain(given[name] ?? null);
    if (value !== undefined) recorded[name] = value;
  }
  // Leave out the replayed data. It is checked when its position is restored.
  const { data: _, documentSeparator: _s, textField: _t, ...how } = (replay ?? {}) as Record<string, unknown>;
  // In each step every rank adds one batch of earlier data.
  how.perDeviceTrainBatchSize = Number(how.perDeviceTrainBatchSize ?? given.perDeviceTrainBatchSize) * processes;
  recorded.replay = replay === undefined ? null : how;
  return recorded;
}

/**
 * Converts a value to JSON. All functions become the same text. Returns undefined for models and other objects that
 * JSON cannot represent.
 */
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
 * Compares the options of a resumed run with those at its start. An option in only one of the two records is ignored,
 * because another version of heddle wrote the other record.
 * @param began undefined for a checkpoint that records no options
 * @returns a warning that names the changes, if they are allowed
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
    return `resume: continuing with changed options: ${changed
      .map((name) => `${name} ${text(now[name])}, before ${text(began[name])}`)
      .join("; ")}`;
  const [first, ...others] = changed;
  const more = others.length > 0 ? ` (changed too: ${others.join(", ")})` : "";
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `${first}: expected ${text(began[first!])} as in the resumed run, got ${text(now[first!])}${more}; use allowChangedOptions: true (--allow-changed-options) to continue anyway`,
  );
}
