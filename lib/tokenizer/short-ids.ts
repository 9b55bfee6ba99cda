// Small arrays of ids. V8 allocates separate memory for every typed array above 64 bytes, which takes longer than encoding a short text.
// Small arrays are therefore views of shared memory, like Node's small Buffers.
import { lazily } from "../core/lazy.ts";

const threads = lazily<typeof import("node:worker_threads")>("node:worker_threads");

/** Ids per block of shared memory. A block of 4 KB is the most that keeping or cloning a single array may cost. */
const chunkIds = 1024;
/** The longest array that is cut from it. */
const mostIds = 128;
/** Number of arrays with separate memory before blocks are used. Blocks need node:worker_threads, which takes a millisecond to load. */
const ownArrays = 64;

export class ShortIds {
  private chunk = new Uint32Array();
  private used = 0;
  private made = 0;

  /** A copy of the first `count` of `ids`. */
  copy(ids: Uint32Array, count: number): Uint32Array {
    if (count > mostIds || this.made < ownArrays) {
      this.made++;
      return ids.slice(0, count);
    }
    if (count > this.chunk.length - this.used) {
      this.chunk = new Uint32Array(chunkIds);
      this.used = 0;
      // To move one array to another thread would take its neighbours along: it is copied (Node 20) or refused.
      threads().markAsUntransferable(this.chunk.buffer);
    }
    const { chunk, used } = this;
    for (let i = 0; i < count; i++) chunk[used + i] = ids[i]!;
    this.used = used + count;
    return new Uint32Array(chunk.buffer, 4 * used, count);
  }
}
