// Finds the files of a model by its name: a path, a model in the shared cache, or one of Ollama's.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { firstOf } from "../core/amounts.ts";
import { HeddleError } from "../core/errors.ts";
import { VOCABULARY_FILES } from "../formats/tokenizer-files.ts";
import { isMissing } from "../io/is-missing.ts";
import { cacheFolder, isOffline } from "./environment.ts";
import { isKnownMissing } from "./missing-files.ts";
import { folderOfRepository, type ModelName, parseModelName } from "./model-name.ts";
import { findOllamaModel, OLLAMA_PREFIX } from "./ollama.ts";
import type { PullOptions } from "./pull.ts";
import { isVocabulary, type ModelSelection, missingPart, selectFiles } from "./repository-files.ts";
import { allSnapshots, filesBelow, findSnapshot, refsOf, type Snapshot } from "./snapshot.ts";

/** Options of `resolveModel`. */
export interface ResolveOptions {
  /** Whether to fetch a model that is not in the cache. Default: false */
  download?: boolean | PullOptions | undefined;
  signal?: AbortSignal | undefined;
  /** The part that the caller needs. A tokenizer needs no weights. Default: model */
  needs?: "model" | "tokenizer";
}

/**
 * Returns the path of a model by a name. The name is an existing path, a model in the cache that Python's tools share, or
 * `ollama:NAME[:TAG]`. An existing path takes precedence. Any other text is returned unchanged, and opening it then fails.
 * @throws HeddleError NOT_FOUND for a model that is neither on the disk nor in the cache; UNSUPPORTED names the kind of
 * files that heddle cannot load; with `download`, also the errors of pullModel
 */
export async function resolveModel(given: string, options: ResolveOptions = {}): Promise<string> {
  const isOllama = given.startsWith(OLLAMA_PREFIX);
  const name = parseModelName(given);
  if ((!name && !isOllama) || (await isThere(given))) return given;
  if (isOllama) return (await findOllamaModel(given)).path;
  const { download = false, signal, needs = "model" } = options;
  const folder = join(cacheFolder(), folderOfRepository(name!.repository));
  const snapshot = await findSnapshot(folder, name!);
  if (!snapshot && isFileName(given)) return given;
  const cached = snapshot
    ? await cachedModel(name!, { ...snapshot, repository: folder }, needs)
    : { problem: await notCached(name!, folder) };
  const mayPull = download !== false && !isOffline();
  if ("path" in cached && !(mayPull && cached.lacksTokenizer)) return cached.path;
  if ("problem" in cached && !mayPull) throw cached.problem;
  const { pullModel } = await import("./pull.ts");
  const how = typeof download === "object" ? download : {};
  return (await pullModel(given, { ...how, signal: signal ?? how.signal })).path;
}

/** A model on the disk. */
export interface FoundModel {
  path: string;
  /** The name from which the path was resolved. Undefined if the caller gave the path itself. */
  name?: string | undefined;
}

/** Returns a path together with the name from which resolveModel resolved it. */
export function foundBy(given: string, path: string): FoundModel {
  return { path, name: given === path ? undefined : given };
}

/** Whether a name ends like a file's name. Such a name is a path unless the cache has the model, because few repositories have such names. */
function isFileName(given: string): boolean {
  return /\.(gguf|safetensors|json|jsonl|model|tiktoken|txt|bin)$/i.test(given);
}

/** Whether a text has the form of the name of a cached model. An existing path may have this form too. */
export function isCachedName(given: string): boolean {
  return given.startsWith(OLLAMA_PREFIX) || (parseModelName(given) !== undefined && !isFileName(given));
}

/** Whether a path exists. Returns true if this cannot be determined, so that opening the path reports the reason. */
async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => !isMissing(error),
  );
}

/** A model of the cache that can be opened. */
interface CachedPath {
  path: string;
  /** Whether the cache has no tokenizer, and the repository may have one. */
  lacksTokenizer: boolean;
}

/** Returns the path of a model in the cache, or the error that says what is missing. */
async function cachedModel(
  name: ModelName,
  snapshot: Snapshot & { repository: string },
  needs: "model" | "tokenizer",
): Promise<CachedPath | { problem: HeddleError }> {
  const files = await filesBelow(snapshot.folder);
  const lacks = (what: string) => ({
    problem: new HeddleError("NOT_FOUND", `${name.given}: ${snapshot.folder} lacks ${what} (${pullHint(name)})`),
  });
  if (files.length === 0) return lacks("all files");
  // If only the tokenizer is needed, ignore weights that heddle cannot load.
  if (needs === "tokenizer" && name.tag === undefined && files.some((file) => file.startsWith("tokenizer")))
    return { path: snapshot.folder, lacksTokenizer: false };
  let selection: ModelSelection;
  try {
    selection = selectFiles(files, { name: name.given, tag: name.tag });
  } catch (error) {
    // The repository may have more files than the cache.
    if (!(error instanceof HeddleError)) throw error;
    const message = `${error.message} in the cache (${pullHint(name)})`;
    return { problem: new HeddleError(error.code, message, { cause: error }) };
  }
  const missing = missingPart(selection.files) ?? (selection.kind === "tokenizer" ? "weights" : undefined);
  if (missing !== undefined && needs === "model") return lacks(missing);
  const lacksTokenizer =
    selection.kind === "safetensors" &&
    !files.some(isVocabulary) &&
    !(await isKnownMissing(snapshot.repository, snapshot.commit, VOCABULARY_FILES));
  return { path: pathOf(snapshot.folder, selection), lacksTokenizer };
}

/** Returns the path to open of a model's snapshot: a GGUF file, or the folder. */
export function pathOf(folder: string, { main }: Pick<ModelSelection, "main">): string {
  return main === undefined ? folder : join(folder, ...main.split("/"));
}

function pullHint({ given, repository }: ModelName): string {
  const offline = isOffline() ? "without HF_HUB_OFFLINE, " : "";
  return `${offline}heddle pull ${repository.includes("/") ? `${given} fetches it` : "OWNER/NAME fetches a model"}`;
}

async function notCached(name: ModelName, folder: string): Promise<HeddleError> {
  const refs = await refsOf(folder);
  const commits = (await allSnapshots(folder)).map(({ commit }) => commit);
  const known = [...refs].filter(([, commit]) => commits.includes(commit)).map(([ref]) => ref);
  const others = commits.filter((commit) => ![...refs.values()].includes(commit)).map((commit) => commit.slice(0, 12));
  const has = firstOf([...known, ...others], 8);
  const where =
    has === ""
      ? `and no model of this name in ${cacheFolder()}`
      : `and revision ${name.revision} is not in ${folder}, which has ${has}`;
  return new HeddleError(
    "NOT_FOUND",
    `${name.given}: cannot be opened: no such file or folder, ${where} (${pullHint(name)})`,
  );
}
