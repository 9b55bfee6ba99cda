// Names of models on the Hugging Face Hub, and of their folders in the cache.
import { HeddleError } from "../core/errors.ts";

/** A parsed name: `OWNER/NAME[@REVISION][:TAG]`. */
export interface ModelName {
  /** `OWNER/NAME`, or `NAME` alone for the oldest models. */
  repository: string;
  /** A branch, a tag or a commit. Default: main. */
  revision: string;
  /** The quantization to choose among several GGUF files, such as Q4_K_M. */
  tag: string | undefined;
  /** The name as it was given. */
  given: string;
}

/** The revision of a name without one. */
export const DEFAULT_REVISION = "main";
/** The form of a name, for messages. */
const NAME_FORM = "OWNER/NAME[@REVISION][:TAG]";

const NAME = /^((?:[\w.-]{1,96}\/)?[\w.-]{1,96})(?:@([\w][\w./-]{0,199}))?(?::([\w.-]{1,100}))?$/;

/** Parses a model's name. Returns undefined for any other text. */
export function parseModelName(given: string): ModelName | undefined {
  const [, repository, revision = DEFAULT_REVISION, tag] = NAME.exec(given) ?? [];
  if (repository === undefined || !repository.split("/").every(isPart) || !isRevision(revision)) return undefined;
  return { repository, revision, tag, given };
}

/** Parses a model's name. @throws HeddleError INVALID_ARGUMENT for any other text */
export function needModelName(given: unknown): ModelName {
  const name = typeof given === "string" ? parseModelName(given) : undefined;
  if (name) return name;
  const got = typeof given === "string" ? JSON.stringify(given.slice(0, 200)) : typeof given;
  throw new HeddleError("INVALID_ARGUMENT", `name: expected ${NAME_FORM}, got ${got}`);
}

/** Whether an owner or name follows the Hub's rules. These keep every path inside the cache, and make the folders' names unambiguous. */
function isPart(part: string): boolean {
  return /^\w(?:.*\w)?$/.test(part) && !/--|\.\.|\.git$/.test(part);
}

/** Whether a revision, as a path below the folder `refs`, stays in that folder. */
function isRevision(revision: string): boolean {
  return revision.split("/").every((part) => /^\w/.test(part) && !/\.\.|\.$|\.lock$/.test(part));
}

/** Whether a text is a full commit hash. */
export function isCommit(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{40}$/.test(text);
}

const PREFIX = "models--";

/** Returns the name of a repository's folder in the cache. */
export function folderOfRepository(repository: string): string {
  return PREFIX + repository.replace("/", "--");
}

/** Returns the repository of a folder in the cache, or undefined for another folder. */
export function repositoryOfFolder(folder: string): string | undefined {
  if (!folder.startsWith(PREFIX)) return undefined;
  const repository = folder.slice(PREFIX.length).replace("--", "/");
  return parseModelName(repository)?.repository === repository ? repository : undefined;
}
