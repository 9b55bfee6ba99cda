// Asks the Hub for the commit and the files of a repository, by its client @huggingface/hub. Every field is checked, because the server
// is not trusted.
import { listFiles, modelInfo } from "@huggingface/hub";
import { HeddleError } from "../core/errors.ts";
import { isWhole } from "../core/is-whole.ts";
import { isCommit, type ModelName } from "./model-name.ts";
import { badAnswer, type HubRequests } from "./requests.ts";

const MAX_ENTRIES = 100_000;
const MAX_PAGES = 400;

/** A file of a repository. */
export interface RepositoryFile {
  path: string;
  size: number;
  /** The file's digest. It is also the name of the file's blob in the cache. */
  digest: { algorithm: "sha256" | "git-sha1"; hex: string };
}

/**
 * Returns the commit of a revision.
 * @throws HeddleError NOT_FOUND, INVALID_ARGUMENT (the token), IO, INVALID_FILE, ABORTED
 */
export async function commitOf({ repository, revision }: ModelName, requests: HubRequests): Promise<string> {
  const { sha } = await answered(requests, () =>
    modelInfo({
      name: repository,
      revision,
      additionalFields: ["sha"],
      hubUrl: requests.endpoint,
      fetch: requests.json,
    }),
  );
  if (!isCommit(sha)) throw badAnswer(requests.endpoint, "a commit of 40 hexadecimal digits");
  return sha;
}

/** Lists the files of a commit. @throws HeddleError as commitOf */
export async function filesOf(repository: string, commit: string, requests: HubRequests): Promise<RepositoryFile[]> {
  return answered(requests, async () => {
    const files: RepositoryFile[] = [];
    const repo = { type: "model", name: repository } as const;
    let [entries, pages] = [0, 0];
    const nextPage: typeof fetch = (input) => {
      if (++pages > MAX_PAGES) throw badAnswer(requests.endpoint, `a list of at most ${MAX_PAGES} pages`);
      return requests.json(input);
    };
    const listed = listFiles({
      repo,
      revision: commit,
      recursive: true,
      hubUrl: requests.endpoint,
      fetch: nextPage,
    });
    for await (const entry of listed) {
      if (++entries > MAX_ENTRIES) throw badAnswer(requests.endpoint, `at most ${MAX_ENTRIES} files and folders`);
      if (entry?.type === "directory") continue;
      files.push(checkedFile(entry, requests.endpoint));
    }
    const paths = new Set(files.map(({ path }) => path));
    if (paths.size < files.length) throw badAnswer(requests.endpoint, "a list of files without duplicate paths");
    return files;
  });
}

/** Runs a request of @huggingface/hub. An error that it throws itself means that the server's answer has an unexpected form. */
async function answered<T>(requests: HubRequests, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw badAnswer(requests.endpoint, "an answer of the Hub's API in JSON", error);
  }
}

function checkedFile(entry: unknown, endpoint: string): RepositoryFile {
  const { path, size, oid, lfs } = (entry ?? {}) as { path?: unknown; size?: unknown; oid?: unknown; lfs?: unknown };
  if (!isSafePath(path)) throw badAnswer(endpoint, "paths inside the repository", path);
  const large = lfs as { oid?: unknown; size?: unknown } | undefined | null;
  const digest: RepositoryFile["digest"] | undefined = large
    ? hasDigits(large.oid, 64)
      ? { algorithm: "sha256", hex: large.oid }
      : undefined
    : hasDigits(oid, 40)
      ? { algorithm: "git-sha1", hex: oid }
      : undefined;
  if (!digest) throw badAnswer(endpoint, `a digest of ${path}`);
  const bytes = large?.size ?? size;
  if (!isWhole(bytes)) throw badAnswer(endpoint, `a size of ${path}`, bytes);
  return { path, size: bytes as number, digest };
}

function hasDigits(value: unknown, count: number): value is string {
  return typeof value === "string" && value.length === count && /^[0-9a-f]+$/.test(value);
}

/** Whether a path stays in its folder on every operating system. A colon is not allowed, because it may name a drive on Windows. */
function isSafePath(path: unknown): path is string {
  if (typeof path !== "string" || path.length > 1000 || /[\\:\p{Cc}]/u.test(path)) return false;
  return path
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= 255);
}
