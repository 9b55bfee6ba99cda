// Fetches a model from the Hugging Face Hub into the cache that Python's tools share.
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { onAbort } from "../core/abort-listeners.ts";
import { firstOf } from "../core/amounts.ts";
import { checkSignal, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFunction } from "../core/option-values.ts";
import { checkNames } from "../core/unknown-options.ts";
import { VOCABULARY_FILES } from "../formats/tokenizer-files.ts";
import { makeFolder, writeFileAtomically } from "../io/atomic-files.ts";
import { claim } from "../io/claim.ts";
import type { RepositoryFile } from "./api.ts";
import { downloadBlob, PARTIAL } from "./download.ts";
import { accessToken, cacheFolder, endpoint, isOffline, requestTimeout } from "./environment.ts";
import { matchesAny } from "./file-pattern.ts";
import { noteMissing } from "./missing-files.ts";
import { folderOfRepository, type ModelName, needModelName } from "./model-name.ts";
import { isVocabulary, type ModelKind, type ModelSelection, selectFiles } from "./repository-files.ts";
import { HubRequests, sleep } from "./requests.ts";
import { pathOf } from "./resolve.ts";
import { filesBelow, sizeOf } from "./snapshot.ts";
import { hasSize, isPlaced, placeFileIn } from "./snapshot-links.ts";

/** Progress of `pullModel`. */
export interface PullProgress {
  /** Bytes of all files that are in the cache, including those of earlier pulls. */
  loaded: number;
  /** Bytes of all files. */
  total: number;
  /** Whether the pull waits for another pull of the same model, or for its removal. The bytes are then 0. */
  isWaiting?: boolean;
  /** The file whose bytes were received. */
  file?: string | undefined;
}

/** Options of `pullModel`. */
export interface PullOptions {
  /** Patterns of the files to fetch, such as `*Q4_K_M.gguf`; `*` matches any characters. Default: the files that heddle needs. */
  include?: string | readonly string[] | undefined;
  /** The access token. Default: HF_TOKEN, or the one that `hf auth login` has stored. */
  token?: string | undefined;
  /** Called while files are fetched. */
  onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Stops the pull. Received bytes are kept, and the next pull continues there. */
  signal?: AbortSignal | undefined;
}

/** Result of `pullModel`. */
export interface PulledModel {
  /** The repository, `OWNER/NAME`. */
  name: string;
  /** The branch, tag or commit that was asked for. */
  revision: string;
  /** The commit that the revision named at the time of the pull. */
  commit: string;
  /** The path of the model in the cache. */
  path: string;
  /** The kind of the files; undefined if `include` chose them. */
  kind: ModelKind | undefined;
  /** Paths of the model's files within the repository. */
  files: string[];
  /** Size of the files in bytes. */
  bytes: number;
  /** Bytes received over the network. */
  fetched: number;
}

/** Number of files to fetch at once. */
const AT_ONCE = 4;
const LOCK_POLL_MS = 200;

/**
 * Fetches a model from the Hugging Face Hub into the cache that Python's tools share, unless the cache has it. `LanguageModel.load` then
 * finds it by the same name. The server is HF_ENDPOINT, or the public Hub. An interrupted pull resumes where it stopped.
 * @param name `OWNER/NAME`, with `@REVISION` for another branch, tag or commit than main, and `:TAG` for one of several GGUF files
 * @throws HeddleError INVALID_ARGUMENT for an option or the token; NOT_FOUND; UNSUPPORTED names the kind of files that heddle cannot load;
 *   INVALID_FILE for wrong bytes; IO for the network or a full disk; ABORTED
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<PulledModel> {
  const parsed = needModelName(name);
  const { include, token, signal, onProgress } = checkPullOptions(options);
  throwIfAborted(signal, "pull");
  if (isOffline())
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `HF_HUB_OFFLINE: expected network access for a pull of ${name}, got offline mode`,
    );
  const requests = new HubRequests({
    name: parsed,
    endpoint: endpoint(),
    token: await accessToken(token),
    timeout: requestTimeout(),
    signal,
  });
  const { commitOf, filesOf } = await import("./api.ts");
  const commit = await commitOf(parsed, requests);
  const listed = await filesOf(parsed.repository, commit, requests);
  const { files, selection } = choose(listed, parsed, include);
  const folder = join(cacheFolder(), folderOfRepository(parsed.repository));
  const onWait = () => onProgress?.({ loaded: 0, total: 0, isWaiting: true });
  const release = await lock(folder, { signal, onWait });
  try {
    // A removal that held the lock may have deleted the folder.
    await makeFolder(join(folder, "blobs"));
    const snapshot = join(folder, "snapshots", commit);
    const fetched = await fetchFiles(files, { folder, snapshot, parsed, commit, requests, signal, onProgress });
    if ((!selection || selection.kind === "safetensors") && !listed.some(({ path }) => isVocabulary(path)))
      await noteMissing(folder, commit, VOCABULARY_FILES);
    if (parsed.revision !== commit) await writeRef(join(folder, "refs", ...parsed.revision.split("/")), commit);
    return {
      name: parsed.repository,
      revision: parsed.revision,
      commit,
      path: selection ? pathOf(snapshot, selection) : await chosenPath(snapshot, parsed),
      kind: selection?.kind,
      files: files.map(({ path }) => path),
      bytes: files.reduce((sum, { size }) => sum + size, 0),
      fetched,
    };
  } finally {
    release();
  }
}

function checkPullOptions(options: PullOptions): PullOptions & { include: readonly string[] } {
  checkNames(options, { include: true, token: true, onProgress: true, signal: true });
  const { include = [], token, onProgress, signal } = options;
  const patterns = typeof include === "string" ? [include] : include;
  if (!Array.isArray(patterns) || patterns.some((pattern) => typeof pattern !== "string" || pattern === ""))
    throw invalidArgument("include", "patterns of file names", include);
  if (token !== undefined && (typeof token !== "string" || token === ""))
    throw new HeddleError("INVALID_ARGUMENT", "token: expected a nonempty text, got something else");
  checkFunction("onProgress", onProgress);
  checkSignal(signal);
  return { ...options, include: patterns as readonly string[] };
}

/** Returns the files to fetch, in the order of the listing. */
function choose(
  listed: readonly RepositoryFile[],
  { given: name, tag }: ModelName,
  include: readonly string[],
): { files: RepositoryFile[]; selection: ModelSelection | undefined } {
  const paths = listed.map(({ path }) => path);
  if (include.length === 0) {
    const selection = selectFiles(paths, { name, tag });
    const wanted = new Set(selection.files);
    return { files: listed.filter(({ path }) => wanted.has(path)), selection };
  }
  const files = listed.filter(({ path }) => matchesAny(path, include));
  if (files.length > 0) return { files, selection: undefined };
  throw new HeddleError(
    "NOT_FOUND",
    `include: expected a pattern of files of ${name}, got ${include.join(", ")}; it has ${firstOf(paths, 12)}`,
  );
}

interface Fetch {
  folder: string;
  snapshot: string;
  parsed: ModelName;
  commit: string;
  requests: HubRequests;
  signal: AbortSignal | undefined;
  onProgress: PullOptions["onProgress"];
}

/** Fetches the missing files, and links them in the snapshot when all are there. @returns the number of bytes received */
async function fetchFiles(files: readonly RepositoryFile[], fetch: Fetch): Promise<number> {
  const { folder, snapshot, onProgress } = fetch;
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const blobOf = ({ digest }: RepositoryFile) => join(folder, "blobs", digest.hex);
  const missing = new Map<string, RepositoryFile>();
  const unplaced: RepositoryFile[] = [];
  for (const file of files) {
    if (await isPlaced(snapshot, file)) continue;
    unplaced.push(file);
    if (!(await hasSize(blobOf(file), file.size))) missing.set(file.digest.hex, file);
  }
  const wanted = [...missing.values()];
  const expected = wanted.reduce((sum, { size }) => sum + size, 0);
  const partial = await Promise.all(
    wanted.map(async (file) => Math.min(await sizeOf(blobOf(file) + PARTIAL), file.size)),
  );
  const kept = partial.reduce((sum, size) => sum + size, 0);
  await needSpace(folder, expected - kept);
  let loaded = total - expected;
  let fetched = 0;
  const report = (bytes: number, file: string) => {
    loaded += bytes;
    onProgress?.({ loaded, total, file });
  };
  await inParallel(wanted, fetch, async (file, requests, signal) => {
    const onBytes = (bytes: number) => report(bytes, file.path);
    const received = await downloadBlob(fileUrl(fetch, file), file, blobOf(file), { requests, signal, onBytes });
    fetched += received;
  });
  // config.json comes last, because readers open it first.
  for (const file of unplaced.sort((a, b) => Number(a.path === "config.json") - Number(b.path === "config.json")))
    await placeFileIn(snapshot, file, blobOf(file));
  onProgress?.({ loaded: total, total });
  return fetched;
}

/** Runs `work` for all files, a few at once. The first failure stops the others. The bytes that they received are kept. */
async function inParallel(
  files: readonly RepositoryFile[],
  { requests, signal }: Pick<Fetch, "requests" | "signal">,
  work: (file: RepositoryFile, requests: HubRequests, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const forget = signal && onAbort(signal, () => stop.abort(signal.reason));
  const left = [...files];
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (let file = left.shift(); file && !failure; file = left.shift()) {
      try {
        await work(file, requests.until(stop.signal), stop.signal);
      } catch (error) {
        failure ??= { error };
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, files.length) }, worker));
  forget?.();
  throwIfAborted(signal, "pull");
  if (failure) throw failure.error;
}

function fileUrl({ requests, parsed, commit }: Fetch, { path }: RepositoryFile): string {
  return `${requests.endpoint}/${parsed.repository}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** Checks that the disk has room for `bytes` bytes. It allows the pull if the free space is unknown. */
async function needSpace(folder: string, bytes: number): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined);
  if (!disk) return;
  const free = disk.bavail * disk.bsize;
  if (bytes <= free) return;
  const megabytes = (n: number) => `${n.toLocaleString("en")} MB`;
  throw new HeddleError(
    "IO",
    `${folder}: expected ${megabytes(Math.ceil(bytes / 1e6))} of free disk space, got ${megabytes(Math.floor(free / 1e6))}; what earlier pulls fetched is kept`,
    { cause: Object.assign(new Error("no space left on the disk"), { code: "ENOSPC" }) },
  );
}

/** Takes the lock of a repository's folder, and creates the folder if it is missing. Waits while a pull or a removal has the lock. */
async function lock(
  folder: string,
  { signal, onWait }: { signal: AbortSignal | undefined; onWait: () => void },
): Promise<() => void> {
  for (;;) {
    await makeFolder(folder);
    try {
      return await claim(folder, "pull");
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      if (error.code === "NOT_FOUND") continue; // another process has removed the folder
      if (error.code !== "INVALID_ARGUMENT") throw error;
    }
    onWait();
    await sleep(LOCK_POLL_MS, signal);
  }
}

async function writeRef(path: string, commit: string): Promise<void> {
  await makeFolder(join(path, ".."));
  await writeFileAtomically(path, (sink) => sink.write(Buffer.from(commit)));
}

/** Returns the path of a model whose files `include` chose: a GGUF file, or the folder. */
async function chosenPath(snapshot: string, { given, tag }: ModelName): Promise<string> {
  try {
    return pathOf(snapshot, selectFiles(await filesBelow(snapshot), { name: given, tag }));
  } catch (error) {
    if (error instanceof HeddleError) return snapshot; // the files are not a model, or are several models
    throw error;
  }
}
