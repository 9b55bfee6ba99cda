// Training checkpoints: folders that are complete or absent, whenever the process or the machine stops.
//
// A checkpoint is written into a hidden folder, every file is fsynced, the folder is renamed to `checkpoint-<step>` and
// the parent fsynced. A manifest lists the files, their sizes and their digests. A folder that does not match its
// manifest, such as a broken copy, is skipped. Hidden folders of dead processes are removed.
import { cp, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument } from "../../core/errors.ts";
import { checkWhole } from "../../core/option-values.ts";
import { leftIn, temporaryName } from "../../core/temp-files.ts";
import { type Device, openDevice } from "../../graph/index.ts";
import { exists, FileSink, ioError, listFolder, makeFolder, readJson, syncFolder } from "../../io/atomic-files.ts";
import { mostJson } from "../../io/json-memory.ts";
import { Digest } from "../digest.ts";
import { writeSafetensorsTo } from "../safetensors/safetensors-write.ts";
import type { TensorData } from "../tensor-data.ts";
import {
  CHECKPOINT_FILE,
  Damage,
  findDamage,
  MANIFEST,
  manifestText,
  type Reading,
  readManifest,
} from "./checkpoint-manifest.ts";

const STATE = "trainer_state.json";
const MAX_STATE_BYTES = 1 << 28;
/** Maximum number of JSON values in the state. Preference training stores two numbers per row. */
const MAX_STATE_VALUES = 1 << 22;

/** The content of a new checkpoint. */
export interface CheckpointContent {
  /** Safetensors files by name, for example { "model.safetensors": […], "optimizer.safetensors": […] }. */
  tensors: Readonly<Record<string, Iterable<TensorData> | AsyncIterable<TensorData>>>;
  /** Any JSON value, written to trainer_state.json. */
  state: unknown;
  /** Further files by name: config.json, tokenizer.json, model_card.json, … */
  files?: Readonly<Record<string, string | Uint8Array>>;
  /** The device whose thread computes the digests while files are written. Default: the CPU. */
  device?: Device | undefined;
  signal?: AbortSignal;
}

/** A checkpoint in a folder: its path, and the optimizer step at which it was saved. */
export interface CheckpointInfo {
  path: string;
  step: number;
  /**
   * Ordinal among the folder's checkpoints. Steps do not determine which checkpoint is newest, because a restarted run counts steps from 0
   * again.
   */
  order: number;
}

/**
 * Writes `folder/checkpoint-<step>` and then removes the oldest checkpoints beyond `saveTotalLimit`. Replaces a checkpoint of the same step.
 * An older checkpoint is counted, and may be removed, only if its step is in `among` (default: all steps) and is not `keep`. The new
 * checkpoint is always counted and never removed. Errors: IO (disk full, permission; existing files stay), ABORTED, INVALID_ARGUMENT.
 */
export async function saveCheckpoint(
  folder: string,
  step: number,
  content: CheckpointContent,
  options: {
    saveTotalLimit?: number;
    keep?: number | undefined;
    among?: ReadonlySet<number> | undefined;
    /** Called if an older checkpoint cannot be removed, which is not an error. */
    warn?: ((message: string) => void) | undefined;
  } = {},
): Promise<CheckpointInfo> {
  checkWhole("step", step, 0);
  const limit = options.saveTotalLimit ?? Number.POSITIVE_INFINITY;
  if (!(limit >= 1)) throw invalidArgument("saveTotalLimit", "at least 1", limit);
  const files = plannedFiles(content);
  await makeFolder(folder);

  const path = join(folder, `checkpoint-${step}`);
  const temporary = hiddenName(folder, "tmp", step);
  const order = 1 + ((await latestCheckpoint(folder))?.order ?? 0);
  try {
    await makeFolder(temporary);
    const { device = openDevice({ device: "cpu" }) } = content;
    const sizes: Record<string, number> = {};
    const digests: Record<string, string> = {};
    for (const [name, write] of files) {
      const digest = new Digest(device);
      sizes[name] = await writeFile(join(temporary, name), write, join(path, name), digest);
      digests[name] = digest.text;
    }
    const manifest = Buffer.from(manifestText({ step, order, files: sizes, digests }));
    await writeFile(join(temporary, MANIFEST), (sink) => sink.write(manifest), join(path, MANIFEST));
    await syncFolder(temporary);
    await putInPlace(folder, temporary, path, step);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw ioError(error, path, "saved");
  }
  await removeOldest(folder, limit, step, options).catch((error: Error) =>
    options.warn?.(`saveTotalLimit: ${error.message}`),
  );
  return { path, step, order };
}

/**
 * Copies a checkpoint to `folder/checkpoint-<step>`, completely or not at all. Replaces a checkpoint of the same step.
 * Errors: IO.
 */
export async function copyCheckpoint(from: string, folder: string, step: number): Promise<void> {
  const path = join(folder, `checkpoint-${step}`);
  const temporary = hiddenName(folder, "tmp", step);
  try {
    await cp(from, temporary, { recursive: true });
    for (const entry of await readdir(temporary, { withFileTypes: true })) {
      if (!entry.isFile()) continue;
      // Windows syncs only files that are open for writing.
      const file = await open(join(temporary, entry.name), process.platform === "win32" ? "r+" : "r");
      await file.sync().finally(() => file.close());
    }
    await syncFolder(temporary);
    await putInPlace(folder, temporary, path, step);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw ioError(error, path, "saved");
  }
}

type Write = (sink: FileSink) => Promise<void>;

function plannedFiles(content: CheckpointContent): Map<string, Write> {
  const files = new Map<string, Write>();
  const add = (name: string, write: Write) => {
    if (!CHECKPOINT_FILE.test(name) || name === MANIFEST || files.has(name)) {
      throw invalidArgument("checkpoint file", `a unique plain file name other than ${MANIFEST}`, name);
    }
    files.set(name, write);
  };
  for (const [name, tensors] of Object.entries(content.tensors)) {
    add(name, async (sink) => {
      const list: TensorData[] = [];
      for await (const tensor of tensors) list.push(tensor);
      await writeSafetensorsTo(sink, list, { signal: content.signal });
    });
  }
  for (const [name, text] of Object.entries(content.files ?? {})) {
    add(name, (sink) => sink.write(typeof text === "string" ? Buffer.from(text) : text));
  }
  const state = JSON.stringify(content.state, null, 2);
  if (state === undefined) throw invalidArgument("state", "a value that JSON can hold", content.state);
  add(STATE, (sink) => sink.write(Buffer.from(`${state}\n`)));
  return files;
}

async function writeFile(path: string, write: Write, shown: string, digest?: Digest): Promise<number> {
  const sink = await FileSink.create(path, shown, { reader: digest });
  try {
    await write(sink);
    await sink.finish();
    return sink.position;
  } catch (error) {
    await sink.close();
    throw error;
  }
}

/**
 * Renames `temporary` to `path`. An existing checkpoint is first renamed to a hidden name from which sweep() can
 * restore it.
 */
async function putInPlace(folder: string, temporary: string, path: string, step: number): Promise<void> {
  let replaced: string | undefined;
  if (await exists(path)) {
    replaced = hiddenName(folder, "old", step);
    await rename(path, replaced);
  }
  try {
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    if (replaced !== undefined) {
      // The new name may or may not be on the disk. Restore the old checkpoint, whose files are certainly there.
      await rename(path, temporary).catch(() => {});
      await rename(replaced, path).catch(() => {});
    }
    throw error;
  }
  // If the removal fails, a later sweep() repeats it.
  if (replaced !== undefined) await rm(replaced, { recursive: true, force: true }).catch(() => {});
}

function hiddenName(folder: string, kind: "tmp" | "old", step: number): string {
  return join(folder, temporaryName(`.${kind}-checkpoint-${step}`));
}

/**
 * Removes hidden folders of dead processes, and restores a checkpoint whose replacement was interrupted. It keeps folders
 * of running processes on this host, and recent folders of other hosts.
 */
async function sweep(folder: string): Promise<void> {
  const hidden = /^\.(tmp|old)-checkpoint-([0-9]+)$/;
  for (const { path, stem } of await leftIn(folder, (name) => hidden.test(name.stem))) {
    const [, kind, step] = hidden.exec(stem)!;
    const target = join(folder, `checkpoint-${step}`);
    try {
      if (kind === "old" && !(await exists(target))) await rename(path, target);
      else await rm(path, { recursive: true, force: true });
    } catch {
      // Another process has removed it, or removal is not permitted. A leftover is harmless.
    }
  }
}

/** A checkpoint folder that a run cannot resume from. */
interface BrokenCheckpoint {
  path: string;
  step: number;
  /** The reason: `file: expected X, got Y`. */
  why: string;
}

/**
 * Lists the complete checkpoints in `folder`, oldest first. The list is empty if the folder does not exist. In a complete
 * checkpoint, all files exist with the sizes of its manifest. Their content is not checked.
 */
export async function listCheckpoints(folder: string): Promise<CheckpointInfo[]> {
  return (await surveyCheckpoints(folder)).complete;
}

/** Lists the complete checkpoints in `folder`, oldest first, and the broken ones, by step. */
export async function surveyCheckpoints(
  folder: string,
): Promise<{ complete: CheckpointInfo[]; broken: BrokenCheckpoint[] }> {
  await sweep(folder);
  const complete: CheckpointInfo[] = [];
  const broken: BrokenCheckpoint[] = [];
  for (const name of await listFolder(folder)) {
    const match = /^checkpoint-([0-9]{1,15})$/.exec(name);
    if (!match) continue;
    const path = join(folder, name);
    const step = Number(match[1]);
    const found = await readManifest(path);
    if (found instanceof Damage) broken.push({ path, step, why: String(found) });
    else if (found.step !== step)
      broken.push({
        path,
        step,
        why: `${MANIFEST}: expected the manifest of step ${step}, got that of step ${found.step}`,
      });
    else complete.push({ path, step, order: Number.isSafeInteger(found.order) ? found.order! : 0 });
  }
  complete.sort((a, b) => a.order - b.order || a.step - b.step);
  return { complete, broken: broken.sort((a, b) => a.step - b.step) };
}

/** Returns the newest complete checkpoint in `folder`, or undefined. */
export async function latestCheckpoint(folder: string): Promise<CheckpointInfo | undefined> {
  return (await listCheckpoints(folder)).at(-1);
}

/**
 * Returns the newest checkpoint whose content matches its digests. It reads whole checkpoints, from the newest to the
 * oldest, until one is intact.
 * @returns the checkpoint, and the skipped ones (`passed`): newer checkpoints with damaged content, and incomplete ones of later steps
 */
export async function latestIntact(
  folder: string,
  reading: Reading,
): Promise<{ latest: CheckpointInfo | undefined; passed: BrokenCheckpoint[] }> {
  const { complete, broken } = await surveyCheckpoints(folder);
  const damaged: BrokenCheckpoint[] = [];
  let latest: CheckpointInfo | undefined;
  for (const one of complete.reverse()) {
    const damage = await findDamage(one.path, reading);
    if (!damage) {
      latest = one;
      break;
    }
    damaged.push({ path: one.path, step: one.step, why: String(damage) });
  }
  const later = broken.filter(({ step }) => step > (latest?.step ?? -1));
  return { latest, passed: [...later, ...damaged].sort((a, b) => a.step - b.step) };
}

/** Reads the state that a checkpoint was saved with. Errors: NOT_FOUND, IO, INVALID_FILE. */
export async function readCheckpointState(path: string): Promise<unknown> {
  return readJson(join(path, STATE), { bytes: Math.min(MAX_STATE_BYTES, mostJson()), values: MAX_STATE_VALUES });
}

async function removeOldest(
  folder: string,
  limit: number,
  justSaved: number,
  { keep, among }: { keep?: number | undefined; among?: ReadonlySet<number> | undefined },
): Promise<void> {
  const counts = (step: number) => step === justSaved || (step !== keep && (among?.has(step) ?? true));
  const all = (await listCheckpoints(folder)).filter(({ step }) => counts(step));
  const older = all.filter(({ step }) => step !== justSaved);
  for (const { path, step } of older.slice(0, Math.max(0, all.length - limit)))
    await removeCheckpoint(folder, path, step);
}

/** Removes a checkpoint of a folder. Errors: IO. */
export async function removeCheckpoint(folder: string, path: string, step: number): Promise<void> {
  // Rename the folder to a hidden name first, because a half-removed checkpoint must not look like a complete one.
  const doomed = hiddenName(folder, "tmp", step);
  try {
    await rename(path, doomed);
    await rm(doomed, { recursive: true, force: true });
  } catch (error) {
    throw ioError(error, path, "removed");
  }
}
