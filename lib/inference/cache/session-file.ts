// A session on disk: a safetensors file with the ids, and the keys and values of every layer in the cache's layout.
//   tokens          (n) I32
//   cache.<i>.k, .v (key heads, rows, width) F32, BF16 or F16. With q8 U8, where the width includes 4 bytes for the
//                   row's f32 scale. Position p is row p. In a sliding layer that keeps fewer than n rows, it is row
//                   p mod rows.
//   digest          (32) U8, SHA-256 of state, chat, tokens and rows, in this order
//   __metadata__    format "heddle-session", version, model (fingerprint), state (JSON), chat (JSON, of a chat)
import { createHash, type Hash } from "node:crypto";
import { HeddleError } from "../../core/errors.ts";
import { isStrings } from "../../core/is-iterable.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import { openSafetensors, type SafetensorsFile } from "../../formats/safetensors/safetensors.ts";
import { writeSafetensorsTo } from "../../formats/safetensors/safetensors-write.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import type { DType } from "../../graph/index.ts";
import { writeFileAtomically } from "../../io/atomic-files.ts";
import { parseJson } from "../../io/json.ts";
import { type CacheDType, cacheTensors, isCacheDtype, MAX_SEGMENT_ROWS } from "../../models/cache-shape.ts";
import { fingerprintOf } from "../../models/fingerprint.ts";
import type { ModelView } from "../../models/model-view.ts";
import { type CacheState, cacheCapacity, KvCache } from "./kv-cache.ts";

const FORMAT = "heddle-session";
const VERSION = 4;
const DIGEST = { name: "digest", dtype: "u8", shape: [32] } as const;
/** Maximum size of a conversation in the file's header. */
const MAX_CHAT_BYTES = 4 << 20;

/** The state that is not in tensors. */
interface Header extends Omit<CacheState, "ids" | "store"> {
  capacity: number;
  /** Whether the caller named the adapters. Otherwise they are the model's active adapters. */
  named: boolean;
}

interface SavedSession {
  cache: KvCache;
  named: boolean;
  /** The state of a chat as given to writeSession, unchecked. */
  chat?: unknown;
}

/**
 * Writes the content of a cache with one slot. The file appears complete or not at all.
 * @param fingerprint fingerprint of the model and adapters that computed the content
 * @throws HeddleError IO, INVALID_ARGUMENT
 */
export async function writeSession(
  path: string,
  cache: KvCache,
  { fingerprint, named, chat }: { fingerprint: string; named: boolean; chat?: unknown },
): Promise<void> {
  const { ids, store, ...state } = cache.state;
  const header: Header = { ...state, capacity: store.capacity, named };
  const chatJson = chat === undefined ? undefined : JSON.stringify(chat);
  if (chatJson !== undefined && Buffer.byteLength(chatJson) > MAX_CHAT_BYTES)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `chat: expected at most ${MAX_CHAT_BYTES} bytes of JSON, got ${Buffer.byteLength(chatJson)}`,
    );
  const metadata = {
    format: FORMAT,
    version: String(VERSION),
    model: fingerprint,
    state: JSON.stringify(header),
    ...(chatJson !== undefined && { chat: chatJson }),
  };
  const hash = digestOf(metadata.state, chatJson);
  const tokens = new Uint8Array(Int32Array.from(ids).buffer);
  hash.update(tokens);
  const tensors: TensorData[] = [{ name: "tokens", dtype: "i32", shape: [ids.length], bytes: tokens }];
  for (const { name, dtype, shape } of rowsAt(cache.model, header, ids.length))
    tensors.push({
      name,
      dtype: dtype as TensorData["dtype"],
      shape,
      bytes: () => hashed(hash, store.readSlot(name, 0, ids.length)),
    });
  // The digest must be written last. safetensors files order tensors by the width of their type, widest first, and no
  // type is narrower than u8.
  tensors.push({ ...DIGEST, bytes: () => hash.digest() });
  await writeFileAtomically(path, (sink) => writeSafetensorsTo(sink, tensors, { metadata }));
}

function digestOf(state: string, chat: string | undefined): Hash {
  return createHash("sha256").update(JSON.stringify([state, chat ?? null]));
}

async function* hashed(hash: Hash, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

/** Returns the names, types and shapes of the file's rows for a sequence of `length`. */
function rowsAt(
  model: ModelView,
  { capacity, contextLength: context, dtype }: { capacity: number; contextLength: number; dtype: CacheDType },
  length: number,
): { name: string; dtype: DType; shape: number[] }[] {
  return cacheTensors(model, { slots: 1, capacity, context, dtype }).map(
    ({ name, dtype, shape: [, heads, rows, width] }) => ({
      name,
      dtype,
      shape: [heads!, Math.min(length, rows!), width!],
    }),
  );
}

/**
 * Reads a file that writeSession wrote.
 * @param contextLength the model's maximum length of a session
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE for another kind of file, a damaged file, or a session of another
 * model
 */
export async function readSession(path: string, given: ModelView, contextLength: number): Promise<SavedSession> {
  const file = openSafetensors(path);
  // Hold the model's current state, because the fingerprint must match the weights that will be used with the keys.
  const model = given.hold();
  try {
    const invalid = (message: string) => new HeddleError("INVALID_FILE", `${path}: ${message}`);
    const { format, version, model: fingerprint, state, chat } = Object.fromEntries(file.metadata);
    if (format !== FORMAT) throw invalid(`expected a session (format ${FORMAT}), got ${format ?? "another file"}`);
    if (version !== String(VERSION)) throw invalid(`version: expected ${VERSION}, got ${version ?? "none"}`);
    const header = parseHeader(parseJson(state ?? "", `${path}: state`), invalid);
    if (header.contextLength > contextLength)
      throw invalid(`contextLength: expected at most the model's ${contextLength}, got ${header.contextLength}`);
    const unknown = header.adapters.filter((name) => !model.adapters.has(name));
    if (unknown.length > 0) throw invalid(`adapters: expected loaded adapters, got ${unknown.join(", ")}`);
    const own = await fingerprintOf(model, header.adapters);
    if (fingerprint !== own)
      throw invalid(
        `expected a session of this model (${own.slice(0, 12)}), got a session of another model (${short(fingerprint)})`,
      );
    const ids = readTokens(file, header, model.config.vocabSize, invalid);
    checkTensors(file, rowsAt(model, header, ids.length), invalid);
    const bytesOf = (name: string, at = 0, bytes = file.entries.get(name)!.bytes) =>
      new Uint8Array(file.file.bytes(file.entries.get(name)!.offset + at, bytes));
    const hash = digestOf(state!, chat).update(bytesOf("tokens"));
    const cache = await KvCache.restore(model, { ...header, ids }, header.capacity, async (store) => {
      for (const name of store.tensors.keys())
        await store.writeSlot(name, 0, ids.length, (at, bytes) => {
          const rows = bytesOf(name, at, bytes);
          hash.update(rows);
          return rows;
        });
      if (!hash.digest().equals(bytesOf(DIGEST.name)))
        throw invalid("digest: does not match the contents, so the file is damaged");
    });
    const { named } = header;
    return { cache, named, ...(chat !== undefined && { chat: parseJson(chat, `${path}: chat`) }) };
  } finally {
    model.release();
    file.file.close();
  }
}

type Invalid = (message: string) => HeddleError;

function short(fingerprint: string | undefined): string {
  return (fingerprint ?? "none").slice(0, 12);
}

function parseHeader(value: unknown, invalid: Invalid): Header {
  if (typeof value !== "object" || value === null) throw invalid("state: expected an object");
  const { contextLength, capacity, length, written, dtype, adapters, named } = value as Record<string, unknown>;
  const count = (name: string, n: unknown, least: number, most: number): number => {
    if (!isWhole(n, least, most)) throw invalid(`state: ${name}: expected ${wholeRange(least, most)}`);
    return n as number;
  };
  const context = count("contextLength", contextLength, 1, 2 ** 31 - 1);
  const held = count("capacity", capacity, 1, context);
  if (cacheCapacity(held, context) !== held)
    throw invalid(`state: capacity: expected ${cacheCapacity(held, context)}, got ${held}`);
  if (!isCacheDtype(dtype)) throw invalid("state: dtype: expected f32, bf16, f16 or q8");
  if (!isStrings(adapters)) throw invalid("state: adapters: expected an array of names");
  if (typeof named !== "boolean") throw invalid("state: named: expected true or false");
  return {
    contextLength: context,
    capacity: held,
    length: count("length", length, 0, context),
    written: count("written", written, 0, context + MAX_SEGMENT_ROWS),
    dtype,
    adapters,
    named,
  };
}

function readTokens(file: SafetensorsFile, header: Header, vocabSize: number, invalid: Invalid): number[] {
  const entry = file.entries.get("tokens");
  if (entry?.dtype !== "i32" || entry.shape.length !== 1) throw invalid("tokens: expected (n) I32");
  const [length] = entry.shape as [number];
  if (length > header.capacity)
    throw invalid(`tokens: expected at most the capacity, ${header.capacity}, got ${length}`);
  if (header.written < length) throw invalid(`state: written: expected at least ${length}, got ${header.written}`);
  const ids = Array.from(new Int32Array(file.file.bytes(entry.offset, entry.bytes)));
  const wrong = ids.find((id) => id < 0 || id >= vocabSize);
  if (wrong !== undefined) throw invalid(`tokens: expected ids of 0 to ${vocabSize - 1}, got ${wrong}`);
  return ids;
}

function checkTensors(
  file: SafetensorsFile,
  expected: readonly { name: string; dtype: DType; shape: number[] }[],
  invalid: Invalid,
): void {
  const all = [...expected, { ...DIGEST, shape: [...DIGEST.shape] }];
  const names = new Set(["tokens", ...all.map(({ name }) => name)]);
  for (const name of file.entries.keys()) if (!names.has(name)) throw invalid(`${name}: unknown tensor`);
  for (const { name, dtype, shape } of all) {
    const entry = file.entries.get(name);
    const want = `${dtype} (${shape.join(", ")})`;
    if (!entry) throw invalid(`${name}: expected ${want}, got none`);
    const got = `${entry.dtype ?? entry.storedDtype} (${entry.shape.join(", ")})`;
    if (got !== want) throw invalid(`${name}: expected ${want}, got ${got}`);
  }
}
