// Measures how long turns of the event loop take. Plain JavaScript, because child processes of tests use it too.
import { existsSync, readFileSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout as after } from "node:timers/promises";

/** Whether the system reports CPU time per thread. */
export const saysTurns = existsSync("/proc/thread-self/schedstat");

/** Turns of at most this many milliseconds are ignored. */
const SHORT = 5;

/** CPU time of this thread, in milliseconds. */
export const onProcessor = () => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;

/**
 * Starts watching the turns of this thread's event loop. `stop` returns the longest in milliseconds of CPU time, so that other load does not
 * count. Garbage collection is excluded, since it depends on the heap size.
 */
export function watchTurns() {
  const collections = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ["gc"] });
  const turns = [];
  let begin = performance.now();
  let busy = onProcessor();
  let timer;
  const turn = () => {
    const [end, now] = [performance.now(), onProcessor()];
    if (now - busy > SHORT) turns.push({ begin, end, busy: now - busy });
    [begin, busy] = [end, now];
    timer = setTimeout(turn, 1);
  };
  turn();
  return {
    async stop() {
      clearTimeout(timer);
      turn();
      clearTimeout(timer);
      await after(10); // garbage collections are reported later
      collections.push(...observer.takeRecords());
      observer.disconnect();
      const own = turns.map((one) => {
        const within = collections.filter(({ startTime }) => startTime >= one.begin && startTime < one.end);
        // Garbage collections are reported in wall time, which includes waiting. So reduce the turn's CPU time by their
        // share of its wall time.
        const collected = within.reduce((sum, { duration }) => sum + duration, 0) / (one.end - one.begin);
        return one.busy * (1 - Math.min(1, collected));
      });
      return Math.max(0, ...own);
    },
  };
}
