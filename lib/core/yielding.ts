/** Milliseconds of work before yielding to the event loop. */
const SLICE_MS = 4;

/**
 * Yields to the event loop between pieces of long work, so that timers and sockets get their turn. The time counts across calls of
 * `each`, because native runs that finish quickly do not give the event loop a turn.
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
