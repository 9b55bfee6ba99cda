// The environment variables of Hugging Face's tools: the folder of the cache, the server and the token.
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HeddleError } from "../core/errors.ts";

const DEFAULT_ENDPOINT = "https://huggingface.co";
/** Seconds to wait for an answer, and for each next chunk of its bytes. */
const DEFAULT_TIMEOUT = 30;

/** Returns a variable's value; undefined if it is unset or empty, as Python's tools treat it. */
function variable(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** Whether a variable is true, by the rules of huggingface_hub. */
function flag(name: string): boolean {
  return /^(1|on|yes|true)$/i.test(process.env[name] ?? "");
}

/** Expands a leading `~`. */
function folder(path: string): string {
  return resolve(/^~(?=$|[/\\])/.test(path) ? join(homedir(), path.slice(1)) : path);
}

/** Returns the folder of Hugging Face's tools, which contains the cache and the token. */
function homeFolder(): string {
  return folder(variable("HF_HOME") ?? join(variable("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface"));
}

/** Returns the folder of the cache, which heddle shares with Python's tools: HF_HUB_CACHE, or `hub` in HF_HOME. */
export function cacheFolder(): string {
  return folder(variable("HF_HUB_CACHE") ?? variable("HUGGINGFACE_HUB_CACHE") ?? join(homeFolder(), "hub"));
}

/** Whether HF_HUB_OFFLINE (or transformers' variable) forbids requests. */
export function isOffline(): boolean {
  return flag("HF_HUB_OFFLINE") || flag("TRANSFORMERS_OFFLINE");
}

/**
 * Returns the server's address without a slash at the end: HF_ENDPOINT, or the public Hub.
 * @throws HeddleError INVALID_ARGUMENT unless it is an http or https URL without credentials, query and fragment; the message does not
 * show it
 */
export function endpoint(): string {
  const given = variable("HF_ENDPOINT") ?? DEFAULT_ENDPOINT;
  let url: URL | undefined;
  try {
    url = new URL(given);
  } catch {
    // The check below reports it.
  }
  if (!url || !/^https?:$/.test(url.protocol) || /[?#]/.test(url.href))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "HF_ENDPOINT: expected an http or https URL without a query or fragment, got something else",
    );
  // fetch rejects such URLs, with a message that contains the password.
  if (url.username !== "" || url.password !== "")
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "HF_ENDPOINT: expected a URL without a name and password, got one with them (set the token in HF_TOKEN instead)",
    );
  return url.href.replace(/\/+$/, "");
}

/** Returns how many milliseconds to wait for an answer, and for its next bytes. HF_HUB_DOWNLOAD_TIMEOUT sets it in seconds. */
export function requestTimeout(): number {
  const seconds = Number(variable("HF_HUB_DOWNLOAD_TIMEOUT") ?? DEFAULT_TIMEOUT);
  return 1000 * (seconds > 0 && seconds <= 3600 ? seconds : DEFAULT_TIMEOUT);
}

/**
 * Returns the token for requests: the given one, HF_TOKEN, or the one that `hf auth login` has stored.
 * @throws HeddleError INVALID_ARGUMENT for a token that cannot be sent; the message does not show it
 */
export async function accessToken(given: string | undefined): Promise<string | undefined> {
  const { token, source } = given === undefined ? await storedToken() : { token: given, source: "token" };
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${source}: expected printable ASCII characters without spaces, got other text`,
    );
  return token;
}

/** Returns the token of a variable or of the token file, if there is one, and the name of the variable or file. */
async function storedToken(): Promise<{ token?: string; source?: string }> {
  if (flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  const name = variable("HF_TOKEN") === undefined ? "HUGGING_FACE_HUB_TOKEN" : "HF_TOKEN";
  const token = variable(name)?.trim();
  if (token) return { token, source: name };
  const path = folder(variable("HF_TOKEN_PATH") ?? join(homeFolder(), "token"));
  const text = (await readFile(path, "utf8").catch(() => "")).trim();
  return text === "" ? {} : { token: text, source: path };
}
