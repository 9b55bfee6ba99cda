/** Milliseconds of work after which the event loop gets its turn. */
const SLICE_MS = 4;

/**
 * What JavaScript makes of runs, piece by piece: where that takes long, timers and sockets get their turn between two pieces. A run that is
 * ready when JavaScript comes for it is answered before the loop goes round, so the work of many runs adds up.
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
