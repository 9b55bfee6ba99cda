// Arrays of few ids. V8 gives every typed array above 64 bytes memory of its own, which takes longer than encoding a short text does; so
// they are cut from common memory, as Node's small Buffers are.
import { lazily } from "../core/lazy.ts";

const threads = lazily<typeof import("node:worker_threads")>("node:worker_threads");

/** Ids of one piece of common memory: 4 KB, which is what a single array that is kept, or cloned for another thread, may cost. */
const chunkIds = 1024;
/** The longest array that is cut from it. */
const mostIds = 128;
/** So many arrays get memory of their own first: common memory needs node:worker_threads, a millisecond that few texts do not earn. */
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
