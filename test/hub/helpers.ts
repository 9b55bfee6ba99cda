// A new cache folder and server for each test of a file that imports this module.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { type HubFile, HubServer } from "./hub-server.ts";

const VARIABLES = [
  ...["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH"],
  ...["HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT", "OLLAMA_MODELS"],
  "HF_HUB_DISABLE_IMPLICIT_TOKEN",
];
const before = new Map(VARIABLES.map((name) => [name, process.env[name]]));

export let root: string;
/** The cache folder, new for each test. */
export let cache: string;
export let hub: HubServer;
let number = 0;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "heddle-hub-"));
});
beforeEach(async () => {
  for (const name of VARIABLES) delete process.env[name];
  cache = join(root, `cache-${number++}`);
  mkdirSync(cache);
  hub = await new HubServer().start();
  Object.assign(process.env, {
    HF_HOME: join(root, "home"),
    HF_HUB_CACHE: cache,
    HF_ENDPOINT: hub.endpoint,
    HF_HUB_DOWNLOAD_TIMEOUT: "10",
    OLLAMA_MODELS: join(root, "no-ollama"),
  });
});
afterEach(() => hub.stop());
afterAll(() => {
  for (const [name, value] of before)
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  rmSync(root, { recursive: true, force: true });
});

/** Returns the files of a small model with a tokenizer, its weights as a large file. */
export async function modelFiles(): Promise<Record<string, HubFile>> {
  const folder = join(root, "model");
  await using model = tinyModel({ tokenizer: await tinyTokenizer() });
  await model.save(folder);
  return folderFiles(folder);
}

/** Returns the files of a folder, its weights as large files. */
export async function folderFiles(folder: string): Promise<Record<string, HubFile>> {
  const names = await readdir(folder);
  return Object.fromEntries(
    names.map((name) => [name, { content: readFileSync(join(folder, name)), lfs: /\.(safetensors|gguf)$/.test(name) }]),
  );
}

/** Returns pseudo-random bytes, so that a shifted range is noticed. */
export function bytes(count: number, seed = 1): Buffer {
  const out = Buffer.alloc(count);
  for (let i = 0, state = seed; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    out[i] = state >>> 16;
  }
  return out;
}
