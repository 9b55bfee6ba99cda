/** Maximum time of synchronous work before yielding to timers, sockets and signals, in milliseconds. */
const SLICE_MS = 8;

/**
 * Keeps long JavaScript work from blocking the event loop.
 *
 * @example
 * for (const document of documents) { work(document); if (pacer.isDue()) await pacer.rest(); }
 */
export class Pacer {
  #since = performance.now();

  isDue(): boolean {
    return performance.now() - this.#since > SLICE_MS;
  }

  /** Resolves after one turn of the event loop. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
