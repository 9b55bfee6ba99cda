// Models that Ollama has fetched. A manifest names blobs by their digests, and the model's blob is a GGUF file.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { exists, readJson } from "../io/atomic-files.ts";
import { filesBelow } from "./snapshot.ts";

/** Prefix of the names of Ollama's models, such as `ollama:llama3.2:1b`. */
export const OLLAMA_PREFIX = "ollama:";

const REGISTRY = "registry.ollama.ai";
const MODEL_LAYER = "application/vnd.ollama.image.model";
const ADAPTER_LAYER = "application/vnd.ollama.image.adapter";
/** Where Ollama's installer for Linux keeps the models of its service. */
const SERVICE_FOLDER = "/usr/share/ollama/.ollama/models";
const MAX_MANIFEST_BYTES = 1_000_000;

/** Returns Ollama's folder: OLLAMA_MODELS, or the folder in the user's home, or the folder of the Linux service. */
export async function ollamaFolder(): Promise<string> {
  if (process.env.OLLAMA_MODELS) return resolve(process.env.OLLAMA_MODELS);
  const own = join(homedir(), ".ollama", "models");
  if (process.platform !== "linux" || (await exists(own).catch(() => true))) return own;
  return (await exists(SERVICE_FOLDER).catch(() => false)) ? SERVICE_FOLDER : own;
}

/** A model of Ollama. */
interface OllamaModel {
  /** The name for `LanguageModel.load`. */
  name: string;
  /** The GGUF file. */
  path: string;
  bytes: number;
  /** Digest of the model's blob. */
  digest: string;
}

/**
 * Returns the GGUF file of a model, by a name such as `ollama:llama3.2:1b`. The tag is `latest` if it is missing.
 * @throws HeddleError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT
 */
export async function findOllamaModel(given: string): Promise<OllamaModel> {
  const [, path, tag = "latest"] = /^ollama:([\w.-]+(?:\/[\w.-]+){0,2})(?::([\w.-]+))?$/.exec(given) ?? [];
  const parts = path?.split("/") ?? [];
  if (parts.length === 0 || [...parts, tag].some((part) => /^\.+$/.test(part)))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `model: expected ollama:NAME[:TAG], got ${JSON.stringify(given.slice(0, 200))}`,
    );
  const [host, owner] = parts.length === 3 ? parts : [REGISTRY, parts.length === 2 ? parts[0]! : "library"];
  const folder = await ollamaFolder();
  const manifest = join(folder, "manifests", host!, owner!, parts.at(-1)!, tag);
  if (!(await exists(manifest)))
    throw new HeddleError("NOT_FOUND", `${given}: no model of this name in ${folder} (ollama pull fetches it)`);
  return modelOf(given, manifest, folder);
}

/** Lists Ollama's models. For a model that cannot be used, the result has a `problem` instead of a path. */
export async function ollamaModels(): Promise<(OllamaModel | { name: string; problem: string })[]> {
  const folder = await ollamaFolder();
  const models = [];
  for (const path of await filesBelow(join(folder, "manifests"))) {
    const parts = path.split("/");
    if (parts.length !== 4) continue;
    const [host, owner, model, tag] = parts as [string, string, string, string];
    const short = host !== REGISTRY ? `${host}/${owner}/${model}` : owner === "library" ? model : `${owner}/${model}`;
    const name = `${OLLAMA_PREFIX}${short}:${tag}`;
    try {
      models.push(await modelOf(name, join(folder, "manifests", path), folder));
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      models.push({ name, problem: error.message });
    }
  }
  return models;
}

async function modelOf(name: string, manifest: string, folder: string): Promise<OllamaModel> {
  const content = await readJson(manifest, { bytes: MAX_MANIFEST_BYTES });
  const all = isObject(content) && Array.isArray(content.layers) ? content.layers.filter(isObject) : [];
  if (all.some(({ mediaType }) => mediaType === ADAPTER_LAYER))
    throw new HeddleError("UNSUPPORTED", `${manifest}: expected a model without adapters, got a model with an adapter`);
  const layers = all.filter(({ mediaType }) => mediaType === MODEL_LAYER);
  if (layers.length !== 1)
    throw new HeddleError("UNSUPPORTED", `${manifest}: expected one layer with a GGUF model, got ${layers.length}`);
  const { digest, size } = layers[0]!;
  // Check the digest, because it becomes part of a path.
  if (typeof digest !== "string" || !/^sha256:[0-9a-f]{64}$/.test(digest))
    throw new HeddleError("INVALID_FILE", `${manifest}: digest: expected sha256: and 64 hexadecimal digits`);
  const path = join(folder, "blobs", digest.replace(":", "-"));
  if (!(await exists(path))) throw new HeddleError("NOT_FOUND", `${name}: the model's GGUF file is missing: ${path}`);
  return { name, path, digest, bytes: typeof size === "number" ? size : 0 };
}
