// The files of a tokenizer's folder.
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HeddleError, invalidArgument } from "../errors.ts";
import type { ConfigTexts, TokenizerConfig } from "./config.ts";
import { limits, type TokenizerFile } from "./tokenizer-file.ts";
import { configToJson, tokenizerToJson } from "./write.ts";

export interface TokenizerTexts extends ConfigTexts {
  /** tokenizer.json */
  tokenizer: string;
}

async function readText(path: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  try {
    const { size } = await stat(path);
    if (size > limits.fileBytes) {
      throw new HeddleError("INVALID_FILE", `${path}: expected at most ${limits.fileBytes} bytes, got ${size}`);
    }
    return await readFile(path, { encoding: "utf8", signal });
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    const error = cause as NodeJS.ErrnoException;
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    if (error.name === "AbortError") throw new HeddleError("ABORTED", "Tokenizer.load: aborted", { cause });
    throw new HeddleError("IO", `${path}: ${error.message}`, { cause });
  }
}

/** Reads tokenizer.json, given by its folder or its own name, and its neighbours. */
export async function readFolder(path: string, signal?: AbortSignal): Promise<TokenizerTexts> {
  if (typeof path !== "string" || path === "") throw invalidArgument("path", "a folder or a tokenizer.json", path);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const folder = isFolder ? path : dirname(path);
  const name = isFolder ? join(path, "tokenizer.json") : path;
  const tokenizer = await readText(name, signal);
  if (tokenizer === undefined) throw new HeddleError("NOT_FOUND", `${name}: no such file`);
  return {
    tokenizer,
    tokenizerConfig: await readText(join(folder, "tokenizer_config.json"), signal),
    specialTokensMap: await readText(join(folder, "special_tokens_map.json"), signal),
    generationConfig: await readText(join(folder, "generation_config.json"), signal),
    chatTemplate: await readText(join(folder, "chat_template.jinja"), signal),
  };
}

export async function writeFolder(folder: string, file: TokenizerFile, config: TokenizerConfig): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "tokenizer.json"), tokenizerToJson(file));
    await writeFile(join(folder, "tokenizer_config.json"), configToJson(file, config));
  } catch (cause) {
    throw new HeddleError("IO", `${folder}: ${(cause as Error).message}`, { cause });
  }
}
