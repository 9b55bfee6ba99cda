// Small arrays of ids. V8 allocates separate memory for every typed array above 64 bytes, which takes longer than encoding a short text.
// Small arrays are therefore views of shared memory, like Node's small Buffers.
import { lazily } from "../core/lazy.ts";

const threads = lazily<typeof import("node:worker_threads")>("node:worker_threads");

/** Ids per block of shared memory. Keeping or cloning a single small array costs at most such a block of 4 KB. */
const chunkIds = 1024;
/** Maximum length of an array that shares memory. */
const mostIds = 128;
/**
 * Number of arrays with their own memory before blocks are used, because blocks need node:worker_threads, which takes a millisecond to
 * load.
 */
const ownArrays = 64;

/** Makes arrays of ids. Short arrays share memory. */
export class ShortIds {
  private chunk = new Uint32Array();
  private used = 0;
  private made = 0;

  /** Returns a copy of the first `count` ids. */
  copy(ids: Uint32Array, count: number): Uint32Array {
    if (count > mostIds || this.made < ownArrays) {
      this.made++;
      return ids.slice(0, count);
    }
    if (count > this.chunk.length - this.used) {
      this.chunk = new Uint32Array(chunkIds);
      this.used = 0;
      // Transferring one array to another thread would also move its neighbors. For a marked buffer, Node copies the
      // memory (Node 20) or throws.
      threads().markAsUntransferable(this.chunk.buffer);
    }
    const { chunk, used } = this;
    for (let i = 0; i < count; i++) chunk[used + i] = ids[i]!;
    this.used = used + count;
    return new Uint32Array(chunk.buffer, 4 * used, count);
  }
}
