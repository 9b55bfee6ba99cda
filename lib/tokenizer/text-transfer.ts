// Transfers texts and ids between JavaScript and native code in parts, because copying megabytes at once would block the event loop.
import type { NativeBatch } from "../binding/tokenizer.ts";
import { HeddleError } from "../core/errors.ts";
import { atOnce, inSlices, type Slices } from "../core/slices.ts";
import { finish } from "../io/native-jobs.ts";

/**
 * Number of UTF-16 units that are copied at a time: half a megabyte. Copying them to fresh memory takes a few milliseconds, because the
 * system provides each page on its first write.
 */
const PART = 1 << 18;
/** Number of ids or offsets that are copied at a time. */
const PART_NUMBERS = 1 << 17;
/**
 * Number of ids per part when they are copied into many arrays. It is large, because the garbage collector may move the existing arrays at
 * each yield.
 */
const PART_LISTED = 1 << 19;

/** Maximum number of UTF-16 units to reserve room for. Native code makes room for more on demand. */
const MAX_EXPECTED = 2 ** 32 - 1;
/** Fixed cost of passing a text, as a number of UTF-16 units that take as long to copy. */
const TEXT_UNITS = 16;
/** Fixed cost of creating an array, as a number of ids that take as long to copy. */
const LIST_IDS = 4;

/**
 * Passes texts to native code, a long text as several substrings. A substring shares the text's memory, so JavaScript does not copy it.
 */
export function* given(to: Pick<NativeBatch, "read">, texts: readonly string[]): Slices<void> {
  let from = 0;
  let units = 0;
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i]!;
    units += text.length + TEXT_UNITS;
    if (units < PART && i + 1 < texts.length) continue;
    if (text.length <= PART) {
      to.read(from === 0 && i + 1 === texts.length ? texts : texts.slice(from, i + 1), false);
      yield;
    } else {
      if (i > from) to.read(texts.slice(from, i), false);
      for (let at = 0; at < text.length; at += PART) {
        to.read([text.slice(at, at + PART)], at > 0);
        yield;
      }
    }
    from = i + 1;
    units = 0;
  }
}

/** Returns how many numbers an array has room for. The `length` of a detached array may be outdated in V8 11.3. */
function roomOf(array: Uint32Array): number {
  return array.byteLength / Uint32Array.BYTES_PER_ELEMENT;
}

/** Fills an array of `count` numbers part by part. @throws HeddleError INVALID_ARGUMENT if it is detached meanwhile */
function* filled(take: (room: Uint32Array) => number, array: Uint32Array, count: number): Slices<void> {
  for (let at = 0; at < count; at += PART_NUMBERS) {
    const end = Math.min(count, at + PART_NUMBERS);
    if (roomOf(array) < end || take(array.subarray(at, end)) !== end - at)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `output: expected an array that stays attached while it is filled, got an array of ${roomOf(array)} numbers`,
      );
    yield;
  }
}

/** Allocates an array. @throws HeddleError OUT_OF_MEMORY */
function numbers(count: number): Uint32Array {
  try {
    return new Uint32Array(count);
  } catch (cause) {
    throw new HeddleError("OUT_OF_MEMORY", `out of memory: expected room for ${4 * count} bytes`, { cause });
  }
}

/**
 * The ids of a batch. The first `total` elements of `ids` are the ids of all texts, one text after another; a caller's array may be longer.
 * `counts` has the number of ids of each text.
 */
export interface TakenIds {
  ids: Uint32Array;
  counts: Uint32Array;
  total: number;
  /** Offsets, two numbers per id. */
  offsets: Uint32Array | undefined;
}

/**
 * Encodes texts without blocking the event loop.
 * @param memory an array to use if it has room for all ids @param hasOffsets whether to return offsets, for a single text
 * @throws HeddleError ABORTED, OUT_OF_MEMORY
 */
export async function encodeTexts(
  batch: NativeBatch,
  texts: readonly string[],
  {
    memory,
    hasOffsets = false,
    signal,
  }: { memory?: Uint32Array | undefined; hasOffsets?: boolean; signal: AbortSignal | undefined },
): Promise<TakenIds> {
  try {
    let units = 0;
    for (let i = 0; i < texts.length; i++) units += texts[i]!.length;
    batch.expect(Math.min(units, MAX_EXPECTED));
    // Short texts are passed synchronously, which saves three turns of promises.
    const isShort = units + TEXT_UNITS * texts.length <= PART;
    const done = (work: Slices<void>) => (isShort ? atOnce(work) : inSlices(work, "encode", signal));
    const reading = done(given(batch, texts));
    if (reading) await reading;
    const counts = await finish(batch.run(), signal);
    let total = 0;
    for (const count of counts) total += count;
    const ids = memory && roomOf(memory) >= total ? memory : numbers(total);
    const taking = done(filled((room) => batch.takeIds(room), ids, total));
    if (taking) await taking;
    const offsets = hasOffsets ? numbers(2 * total) : undefined;
    if (offsets) await done(filled((room) => batch.takeOffsets(room), offsets, offsets.length));
    return { ids, counts, total, offsets };
  } finally {
    batch.close();
  }
}

/** Splits the ids into one array per text. */
export function* apart({ ids, counts }: Pick<TakenIds, "ids" | "counts">): Slices<Uint32Array[]> {
  const lists: Uint32Array[] = new Array(counts.length);
  let [at, copied] = [0, 0];
  for (let index = 0; index < counts.length; index++) {
    const count = counts[index]!;
    lists[index] = ids.slice(at, at + count);
    at += count;
    copied += count + LIST_IDS;
    if (copied < PART_LISTED) continue;
    yield;
    copied = 0;
  }
  return lists;
}
