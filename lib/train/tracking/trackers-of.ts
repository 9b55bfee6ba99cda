import { basename, join, resolve } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import type { Model } from "../../models/model.ts";
import type { TrainingOptions } from "../options/parse-options.ts";
import { tensorBoard } from "./tensorboard/tensorboard.ts";
import type { TrackedRun, Tracker } from "./tracker.ts";

/** Name of the folder in outputDir for TensorBoard's event files. */
const EVENTS_FOLDER = "runs";

/** Returns the trackers that the options name. @throws HeddleError INVALID_ARGUMENT for event files without a folder */
export function trackersOf(options: TrainingOptions, warn: (message: string) => void): Tracker[] {
  const { trackers = [], reportTo, loggingDir, outputDir } = options;
  if (![reportTo].flat().includes("tensorboard")) {
    if (loggingDir !== undefined) warn('loggingDir: it has no effect without reportTo: "tensorboard"');
    return [...trackers];
  }
  const folder = loggingDir ?? (outputDir === undefined ? undefined : join(outputDir, EVENTS_FOLDER));
  if (folder === undefined)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "loggingDir: expected a folder for the event files, or outputDir, got none",
    );
  return [...trackers, tensorBoard(folder)];
}

/** Describes a run for its trackers. @param step number of steps before a resume */
export function trackedRun(stage: string, model: Model, options: TrainingOptions, step: number): TrackedRun {
  const { name, outputDir, maxSteps } = options;
  const { trackers: _, ...rest } = options;
  return {
    name: name ?? (outputDir === undefined ? stage : basename(resolve(outputDir))),
    stage,
    step,
    maxSteps,
    config: { stage, model: plain(model.config) ?? null, ...(plain(rest) as Record<string, unknown>) },
  };
}

/** Maximum length of an array that is an option. Longer arrays are data, such as rows. */
const MAX_ITEMS = 100;

/**
 * Converts a value to JSON. Functions become their names. Leaves out models, rows and other objects that JSON cannot
 * represent.
 */
function plain(value: unknown, depth = 0): unknown {
  if (typeof value === "function") return value.name || "a function";
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value !== "object" || value === null)
    return ["string", "number", "boolean"].includes(typeof value) || value === null ? value : undefined;
  if (depth > 5) return undefined;
  if (Array.isArray(value))
    return value.length > MAX_ITEMS ? undefined : value.map((item) => plain(item, depth + 1) ?? null);
  if (Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  const entries = Object.entries(value).map(([name, inner]) => [name, plain(inner, depth + 1)] as const);
  return Object.fromEntries(entries.filter(([, inner]) => inner !== undefined));
}
