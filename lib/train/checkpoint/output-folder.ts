// The folder that a run writes, and the rules for a folder with files of an earlier run or a model.
import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { listed } from "../../core/amounts.ts";
import { describe, HeddleError } from "../../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "../../formats/adapter-config.ts";
import { removeCheckpoint, surveyCheckpoints } from "../../formats/checkpoint/checkpoint.ts";
import { WEIGHT_FILES } from "../../formats/safetensors/safetensors-write.ts";
import { ioError, listFolder } from "../../io/atomic-files.ts";
import { realPathIfAny } from "../../io/real-path.ts";
import { COMPLETIONS_FILE, LOG_FILE, RunLog } from "../tracking/run-log.ts";

/** Names of the files of a finished model or adapter. */
const MODEL_FILE = /^(config\.json|adapter_config\.json|.*\.safetensors)$/;

/** The options that determine how a run uses its folder. */
interface OutputUse {
  outputDir: string;
  resume: boolean | string;
  overwriteOutputDir: boolean;
}

/** Throws for options that contradict each other. @throws HeddleError INVALID_ARGUMENT */
export function checkOverwrite({ resume, overwriteOutputDir }: Pick<OutputUse, "resume" | "overwriteOutputDir">): void {
  if (overwriteOutputDir && (resume === true || resume === "auto"))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `overwriteOutputDir: cannot be combined with resume: ${describe(resume)}`,
    );
}

/**
 * Throws if a run would overwrite another run's files or a model without permission. A resuming run continues in its
 * own folder. This folder may have only a log, if the run was stopped before its first checkpoint.
 * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE if log.jsonl is not a run's log, IO
 */
export async function needUsable(use: OutputUse): Promise<void> {
  const { outputDir, resume, overwriteOutputDir } = use;
  checkOverwrite(use);
  const isLogged = await new RunLog(outputDir).isThere();
  if (resume === true) return; // loading the checkpoint reports a missing one
  const resumesOwn = typeof resume === "string" && resume !== "auto" && (await isInFolder(resume, outputDir));
  if (overwriteOutputDir) {
    if (!resumesOwn) return;
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `overwriteOutputDir: cannot be combined with resume from a checkpoint in outputDir (${resume})`,
    );
  }
  if (resumesOwn) return;
  const { complete, broken } = await surveyCheckpoints(outputDir);
  const checkpoints = [...broken, ...complete];
  if (resume === "auto" && checkpoints.length > 0) return;
  const holds: string[] = [];
  if (checkpoints.length > 0) {
    const many = checkpoints.length === 1 ? "a checkpoint" : `${checkpoints.length} checkpoints`;
    holds.push(`${many} (newest: ${basename(checkpoints.at(-1)!.path)})`);
  }
  const model = (await listFolder(outputDir)).find((name) => MODEL_FILE.test(name));
  if (model !== undefined) holds.push(`a model (${model})`);
  const isNewRun = resume !== "auto";
  if (isNewRun && isLogged) holds.push(`the log of a run (${LOG_FILE})`);
  if (holds.length === 0) return;
  const resuming = isNewRun && checkpoints.length > 0 ? 'resume: "auto" (--resume) continues that run; ' : "";
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `outputDir: expected a folder without a run or a model, got ${outputDir}, which holds ${listed(holds)}; ${resuming}overwriteOutputDir: true (--overwrite-output-dir) replaces it`,
  );
}

/**
 * Removes an earlier run's checkpoints and log, so that nobody resumes or reads a mixture of two runs. A finished model
 * of the other kind (adapter or weights) is removed too, because an adapter next to a model's config.json is never
 * loaded. A finished model of the same kind stays until it is replaced.
 * @param file the safetensors file that this run writes
 * @throws HeddleError IO
 */
export async function clearRun(outputDir: string, file: string): Promise<void> {
  try {
    for (const log of [LOG_FILE, COMPLETIONS_FILE]) await rm(join(outputDir, log), { force: true });
    const { complete, broken } = await surveyCheckpoints(outputDir);
    for (const { path, step } of [...broken, ...complete]) await removeCheckpoint(outputDir, path, step);
    const isAdapter = file === ADAPTER_WEIGHTS_FILE;
    const isOther = (name: string) =>
      isAdapter
        ? name === "config.json" || WEIGHT_FILES.test(name)
        : name === ADAPTER_CONFIG_FILE || name === ADAPTER_WEIGHTS_FILE;
    for (const name of (await listFolder(outputDir)).filter(isOther)) await rm(join(outputDir, name), { force: true });
  } catch (error) {
    throw ioError(error, outputDir, "cleared of an earlier run");
  }
}

/**
 * Throws if an adapter would overwrite its own base.
 * @param base path of the base: a folder, or a weights file next to its config.json
 * @throws HeddleError INVALID_ARGUMENT
 */
export async function needApart(outputDir: string, base: string): Promise<void> {
  const folder = base.endsWith(".safetensors") ? dirname(base) : base;
  if (await isSameFolder(folder, outputDir))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `outputDir: expected a folder other than the adapter's base, got ${outputDir}`,
    );
}

/** Whether a checkpoint's folder is directly in another folder. */
export async function isInFolder(checkpoint: string, folder: string): Promise<boolean> {
  return isSameFolder(dirname(checkpoint), folder);
}

async function isSameFolder(a: string, b: string): Promise<boolean> {
  return (await realPathIfAny(a)) === (await realPathIfAny(b));
}
