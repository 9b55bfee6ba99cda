import { basename, dirname, join, resolve } from "node:path";
import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { latestCheckpoint } from "../../formats/checkpoint/checkpoint.ts";
import { type ModelCard, readModelCard } from "../../formats/model-card.ts";
import { exists, listFolder } from "../../io/atomic-files.ts";
import { LOG_FILE } from "../../train/tracking/run-log.ts";
import { readCompletions, type StepCompletions } from "./read-completions.ts";
import { type LogData, readLog } from "./read-log.ts";
import type { At } from "./thinned-curve.ts";

/** A training run, read from its folder. */
export interface RunData {
  /** A name that no other run of the report has. */
  name: string;
  folder: string;
  log: LogData;
  /** The card of the finished model, or of the newest checkpoint. */
  card: ModelCard | undefined;
  /** Sampled completions of some steps; empty if the run logged none. */
  completions: readonly StepCompletions[];
  /** Why the card could not be read, if it is broken. */
  cardProblem: string | undefined;
}

/** The figures of a run, which `heddle report --json` prints. */
interface RunSummary {
  name: string;
  folder: string;
  /** null if the folder has no model card yet. */
  stage: string | null;
  /** The last logged step. */
  steps: number;
  /** The planned number of steps. */
  maxSteps: number;
  tokensSeen: number | null;
  seconds: number | null;
  /** The last value of each metric of the training, by name. */
  training: Record<string, number>;
  /** The last value of each metric of evaluations on held-out data, by name. `loss` is evalLoss. */
  heldOut: Record<string, number>;
  /** The evaluation with the lowest loss. */
  bestEvaluation: { step: number; loss: number } | null;
  skippedSteps: number;
  lossSpikes: number;
  /** Number of lines of the log that could not be read. */
  unreadableLines: number;
}

/** Maximum number of runs in a report, as many as there are colors. */
const MAX_RUNS = 8;

/**
 * Reads runs from their folders, or from the paths of their logs.
 * @throws HeddleError INVALID_ARGUMENT for too many runs, NOT_FOUND, INVALID_FILE, IO
 */
export async function readRuns(paths: readonly string[]): Promise<RunData[]> {
  if (paths.length === 0 || paths.length > MAX_RUNS)
    throw new HeddleError("INVALID_ARGUMENT", `report: expected 1 to ${MAX_RUNS} runs, got ${paths.length}`);
  const folders = paths.map((path) => (basename(path) === LOG_FILE ? dirname(path) : path));
  const runs: RunData[] = [];
  for (const folder of folders) {
    if (!(await exists(join(folder, LOG_FILE)))) throw await withoutLog(folder);
    runs.push({
      name: basename(resolve(folder)),
      folder,
      log: await readLog(folder),
      completions: await readCompletions(folder),
      ...(await cardIn(folder)),
    });
  }
  const isTaken = (name: string) => runs.filter((run) => run.name === name).length > 1;
  return runs.map((run) => (isTaken(run.name) ? { ...run, name: run.folder } : run));
}

/** Returns the error for a folder without a log. The message names subfolders that have a log. */
async function withoutLog(folder: string): Promise<HeddleError> {
  const expected = `${folder}: expected the outputDir of a training run`;
  if (!(await exists(folder))) return new HeddleError("NOT_FOUND", `${expected}, got no such folder`);
  const inside: string[] = [];
  for (const name of (await listFolder(folder)).sort().slice(0, 200))
    if (await exists(join(folder, name, LOG_FILE)).catch(() => false)) inside.push(join(folder, name));
  const hint = inside.length > 0 ? `; runs are in ${firstOf(inside, 5)}` : "";
  return new HeddleError("NOT_FOUND", `${expected}, got a folder without ${LOG_FILE}${hint}`);
}

async function cardIn(folder: string): Promise<Pick<RunData, "card" | "cardProblem">> {
  try {
    const checkpoint = await latestCheckpoint(folder);
    const card = (await readModelCard(folder)) ?? (checkpoint && (await readModelCard(checkpoint.path)));
    return { card, cardProblem: undefined };
  } catch (error) {
    // Report the curves even if the card is broken.
    if (error instanceof HeddleError) return { card: undefined, cardProblem: error.message };
    throw error;
  }
}

/** Summarizes a run: its progress, the last value of each metric, and its lowest held-out loss. */
export function summaryOf({ name, folder, log, card }: RunData): RunSummary {
  const last = (curves: LogData["training"]) =>
    Object.fromEntries([...curves].flatMap(([name, { last }]) => (last ? [[name, last.value] as const] : [])));
  const best: At | undefined = log.heldOut.get("loss")?.lowest;
  return {
    name,
    folder,
    stage: card?.stage ?? null,
    steps: log.step,
    maxSteps: log.maxSteps,
    tokensSeen: log.tokensSeen ?? null,
    seconds: log.seconds ?? null,
    training: last(log.training),
    heldOut: last(log.heldOut),
    bestEvaluation: best ? { step: best.step, loss: best.value } : null,
    skippedSteps: log.skippedSteps,
    lossSpikes: log.lossSpikes,
    unreadableLines: log.unreadable,
  };
}
