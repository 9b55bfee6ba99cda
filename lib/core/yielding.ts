/** Milliseconds of work after which the event loop gets its turn. */
const SLICE_MS = 4;

/**
 * Yields to the event loop between pieces of long work, so that timers and sockets get their turn. Runs that finish quickly are handled
 * without a turn of the event loop, so their work adds up.
 */
export class Pace {
  private spent = 0;

  async each<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
    let begun = performance.now() - this.spent;
    for (const item of items) {
      work(item);
      if (performance.now() - begun < SLICE_MS) continue;
      await new Promise<void>((resolve) => setImmediate(resolve));
      begun = performance.now();
    }
    this.spent = performance.now() - begun;
  }
}
