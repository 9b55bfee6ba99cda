// Reads and writes the files in a tokenizer's folder.
import { type FileHandle, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import {
  checkAttached,
  checkObject,
  describe,
  HeddleError,
  invalidArgument,
  throwIfAborted,
} from "../../core/errors.ts";
import { stageTokenizer } from "../../formats/tokenizer-files.ts";
import { MAX_JSON_BYTES, makeFolder } from "../../io/atomic-files.ts";
import { isMissing } from "../../io/is-missing.ts";
import { checkJson, decodeUtf8 } from "../../io/json.ts";
import { openFile, readAll } from "../../io/open-file.ts";
import { writeTogether } from "../../io/staged-files.ts";
import { withEos } from "../pipeline/template-processor.ts";
import { withAdded } from "./added-tokens.ts";
import type { ConfigTexts, TokenizerConfig } from "./config.ts";
import { fairseqKind, readSentencePiece } from "./sentencepiece.ts";
import { readTemplates } from "./template-files.ts";
import { llama3Ranks, readTiktoken, type TiktokenOptions, tiktokenByName } from "./tiktoken.ts";
import { limits, type TokenizerFile } from "./tokenizer-file.ts";
import { parseTokenizerFile, parseTokenizerFileAsync } from "./tokenizer-json.ts";
import { readVocabAndMerges, readVocabText } from "./vocab-files.ts";
import { configToJson, tokenizerToJson } from "./write.ts";

/** The contents of a tokenizer's files. If there are several vocabularies, the first one in the order below is used. */
export interface TokenizerTexts extends ConfigTexts {
  /** tokenizer.json, as text or as bytes. Bytes are read faster. */
  tokenizer?: string | Uint8Array | undefined;
  /** @internal Path of the file that the bytes of `tokenizer` were read from. */
  tokenizerPath?: string | undefined;
  /** @internal The compiled form of `tokenizer`, from a cache. */
  compiled?: NativeJsonVocabulary | undefined;
  /** Bytes of tokenizer.model (or spiece.model): a SentencePiece model, or ranks in tiktoken's format. */
  model?: Uint8Array | undefined;
  /** @internal Whether `model` was read from sentencepiece.bpe.model, the name of models with fairseq's ids. */
  fairseq?: boolean | undefined;
  /** Text of vocab.json, which needs `merges`. */
  vocab?: string | undefined;
  /** Text of merges.txt. */
  merges?: string | undefined;
  /** Text of vocab.txt. */
  vocabText?: string | undefined;
  /** Text of a tiktoken rank file, which needs `tiktokenOptions`. */
  tiktoken?: string | undefined;
  /** Pattern and special tokens of `tiktoken`. */
  tiktokenOptions?: TiktokenOptions | undefined;
}

const TEXT_NAMES = [
  "tokenizerConfig",
  "specialTokensMap",
  "addedTokens",
  "generationConfig",
  "chatTemplate",
  "vocab",
  "merges",
  "vocabText",
  "tiktoken",
] as const;

/** Checks the types of the contents. @throws HeddleError INVALID_ARGUMENT unless each is text or, where allowed, bytes */
export function checkTexts(texts: TokenizerTexts): void {
  checkObject("texts", texts);
  for (const name of TEXT_NAMES) {
    const text: unknown = texts[name];
    if (text !== undefined && typeof text !== "string") throw invalidArgument(`texts.${name}`, "a file's text", text);
  }
  const { tokenizer, model } = texts;
  if (tokenizer !== undefined && typeof tokenizer !== "string" && !(tokenizer instanceof Uint8Array))
    throw invalidArgument("texts.tokenizer", "the text or the bytes of a tokenizer.json", tokenizer);
  if (model !== undefined && !(model instanceof Uint8Array))
    throw invalidArgument("texts.model", "the bytes of a tokenizer.model", model);
  checkAttached("texts.tokenizer", tokenizer);
  checkAttached("texts.model", model);
  if (texts.chatTemplates !== undefined) {
    checkObject("texts.chatTemplates", texts.chatTemplates);
    for (const [name, text] of Object.entries(texts.chatTemplates))
      if (typeof text !== "string") throw invalidArgument(`texts.chatTemplates.${name}`, "a template's text", text);
  }
  if (texts.tiktokenOptions !== undefined) checkObject("texts.tiktokenOptions", texts.tiktokenOptions);
}

/** Reads the vocabulary among the files. @throws HeddleError NOT_FOUND without one, INVALID_FILE, UNSUPPORTED */
export function readVocabulary(texts: TokenizerTexts, config: TokenizerConfig): TokenizerFile {
  if (texts.tokenizer !== undefined) return withEos(parseTokenizerFile(texts.tokenizer, texts.compiled), config);
  return withAdded(readPieces(texts, config), texts);
}

/** Like readVocabulary, mostly off the event loop. */
export async function readVocabularyAsync(
  texts: TokenizerTexts,
  config: TokenizerConfig,
  signal: AbortSignal | undefined,
): Promise<TokenizerFile> {
  if (texts.tokenizer === undefined) return readVocabulary(texts, config);
  return withEos(await parseTokenizerFileAsync(texts.tokenizer, texts.compiled, signal), config);
}

/** Reads a vocabulary in a format other than tokenizer.json. These formats say little about added tokens. */
function readPieces(texts: TokenizerTexts, config: TokenizerConfig): TokenizerFile {
  if (texts.fairseq && !fairseqKind(config))
    throw new HeddleError(
      "UNSUPPORTED",
      `${FAIRSEQ_NAME}: expected a tokenizer_class XLMRobertaTokenizer or CamembertTokenizer, whose ids are known, got ${describe(config.tokenizerClass)}`,
    );
  if (texts.model !== undefined) return readModelFile(texts.model, config);
  if (texts.vocab !== undefined && texts.merges !== undefined) {
    return readVocabAndMerges(texts.vocab, texts.merges, config);
  }
  if (texts.vocabText !== undefined) return readVocabText(texts.vocabText, config);
  if (texts.tiktoken !== undefined) {
    if (!texts.tiktokenOptions) throw invalidArgument("tiktokenOptions", "a pattern for the ranks", undefined);
    return readTiktoken(texts.tiktoken, texts.tiktokenOptions);
  }
  throw new HeddleError("NOT_FOUND", `Tokenizer.load: expected one of ${vocabularies.join(", ")}`);
}

/** File name of SentencePiece models whose ids are fairseq's. */
const FAIRSEQ_NAME = "sentencepiece.bpe.model";
const vocabularies = [
  "tokenizer.json",
  "tokenizer.model",
  "spiece.model",
  FAIRSEQ_NAME,
  "vocab.json and merges.txt",
  "vocab.txt",
];

/** Reads a tokenizer.model: tiktoken's ranks if the first line has a token in base64 and rank 0, else a SentencePiece model. */
function readModelFile(bytes: Uint8Array, config: TokenizerConfig): TokenizerFile {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString("latin1");
  if (!/^[A-Za-z0-9+/]+={0,2} 0\r?\n/u.test(head)) return readSentencePiece(bytes, config);
  return readTiktoken(Buffer.from(bytes).toString("latin1"), llama3Ranks);
}

async function readText(path: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  const bytes = await readBytes(path, signal, MAX_JSON_BYTES);
  // Count a large file's values before it is decoded, which takes as much memory again. A smaller file is too short to exceed the limit.
  if (bytes && path.endsWith(".json") && bytes.length > limits.jsonValues)
    checkJson(bytes, path, { values: limits.jsonValues });
  return bytes && decodeUtf8(bytes, path);
}

async function readBytes(
  path: string,
  signal: AbortSignal | undefined,
  maxBytes: number = limits.fileBytes,
): Promise<Buffer | undefined> {
  let file: FileHandle | undefined;
  try {
    throwIfAborted(signal, "Tokenizer.load");
    file = await openFile(path);
    const { size } = await file.stat();
    const isLarge = size >= largeFile && size <= maxBytes;
    const bytes = isLarge ? await readLarge(file, size, signal) : await readAll(file, path, maxBytes);
    throwIfAborted(signal, "Tokenizer.load");
    return bytes;
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    if (isMissing(cause)) return undefined;
    throw new HeddleError("IO", `${path}: ${(cause as Error).message}`, { cause });
  } finally {
    await file?.close();
  }
}

/** Minimum number of bytes for readLarge. */
const largeFile = 1 << 20;
/** Number of bytes to read before the signal is checked again. */
const bytesPerRead = 16 << 20;

/**
 * Reads a large file into memory that goes back to the operating system when it is freed. Memory of malloc would stay with its thread: each
 * thread that loads a vocabulary would keep as much memory as the file's size.
 */
async function readLarge(file: FileHandle, size: number, signal: AbortSignal | undefined): Promise<Buffer> {
  const bytes = memoryFor(size);
  let at = 0;
  while (at < size) {
    throwIfAborted(signal, "Tokenizer.load");
    const { bytesRead } = await file.read(bytes, at, Math.min(bytesPerRead, size - at), at);
    if (bytesRead === 0) break; // the file has been truncated
    at += bytesRead;
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, at);
}

function memoryFor(size: number): Uint8Array {
  try {
    return binding.bytesForFile(size);
  } catch {
    return Buffer.alloc(size); // for engines that do not allow external buffers, such as Electron
  }
}

/** Reads the files of a folder, or a single vocabulary file and its neighbors. */
export async function readFolder(path: string, signal?: AbortSignal): Promise<TokenizerTexts> {
  if (typeof path !== "string" || path === "") throw invalidArgument("path", "a folder or a vocabulary's file", path);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const folder = isFolder ? path : dirname(path);
  const text = (name: string) => readText(join(folder, name), signal);
  const config = {
    tokenizerConfig: await text("tokenizer_config.json"),
    specialTokensMap: await text("special_tokens_map.json"),
    addedTokens: await text("added_tokens.json"),
    generationConfig: await text("generation_config.json"),
    chatTemplates: await readTemplates(folder, (path) => readText(path, signal)),
  };
  if (isFolder) {
    for (const name of ["tokenizer.json", "tokenizer.model", "spiece.model", FAIRSEQ_NAME, "vocab.json", "vocab.txt"]) {
      const found = await readNamed(folder, name, signal);
      if (found) return { ...config, ...found };
    }
    throw new HeddleError("NOT_FOUND", `${path}: expected one of ${vocabularies.join(", ")}`);
  }
  const found = await readNamed(folder, basename(path), signal);
  if (!found) {
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    // If the vocabulary itself exists, its merges are missing.
    throw new HeddleError("NOT_FOUND", `${isThere ? join(folder, MERGES_NAME) : path}: no such file`);
  }
  return { ...config, ...found };
}

/** Name of the file that has the merges of a vocab.json. */
const MERGES_NAME = "merges.txt";

/** Reads a vocabulary file, whose name determines the format. Returns undefined if it does not exist, or if vocab.json has no merges.txt. */
async function readNamed(folder: string, name: string, signal?: AbortSignal): Promise<TokenizerTexts | undefined> {
  const bytes = await readBytes(join(folder, name), signal);
  if (bytes === undefined) return undefined;
  if (name.endsWith(".model")) return { model: bytes, fairseq: name === FAIRSEQ_NAME };
  if (!/\.(?:tiktoken|txt)$/u.test(name) && name !== "vocab.json") {
    return { tokenizer: bytes, tokenizerPath: join(folder, name) };
  }
  const file = join(folder, name);
  if (name === "vocab.json") checkJson(bytes, file, { values: limits.jsonValues });
  const text = decodeUtf8(bytes, file);
  if (name.endsWith(".tiktoken")) {
    const tiktokenOptions = tiktokenByName(name);
    if (!tiktokenOptions) {
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${name}: expected the name of a published rank file, or Tokenizer.fromFiles with tiktokenOptions`,
      );
    }
    return { tiktoken: text, tiktokenOptions };
  }
  if (name.endsWith(".txt")) return { vocabText: text };
  const merges = await readText(join(folder, MERGES_NAME), signal);
  return merges === undefined ? undefined : { vocab: text, merges };
}

/** Writes tokenizer.json and tokenizer_config.json into a folder, which is created if it is missing. @throws HeddleError IO */
export async function writeFolder(folder: string, file: TokenizerFile, config: TokenizerConfig): Promise<void> {
  await makeFolder(folder);
  const files = { "tokenizer.json": tokenizerToJson(file), "tokenizer_config.json": configToJson(file, config) };
  await writeTogether((staged) => stageTokenizer(staged, folder, files));
}
