// How long JavaScript's thread keeps the event loop. Plain JavaScript: programs that tests start use it as well.
import { existsSync, readFileSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout as after } from "node:timers/promises";

/** Whether the system says how long a thread has been on a processor. */
export const saysTurns = existsSync("/proc/thread-self/schedstat");

/** Turns below this are not remembered (milliseconds). */
const SHORT = 5;

/**
 * Watches the turns of this thread's event loop from now on. `stop` gives the longest, in milliseconds: the time that the thread was on a
 * processor, so that a busy machine does not count, without V8's own collections of garbage, which last as long as the heap is large.
 */
export function watchTurns() {
  const onProcessor = () => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6;
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
      await after(10); // what the collector did is told later
      collections.push(...observer.takeRecords());
      observer.disconnect();
      const own = turns.map((one) => {
        const within = collections.filter(({ startTime }) => startTime >= one.begin && startTime < one.end);
        // Told in time on the clock, of which the thread was on a processor for a part.
        const collected = within.reduce((sum, { duration }) => sum + duration, 0) / (one.end - one.begin);
        return one.busy * (1 - Math.min(1, collected));
      });
      return Math.max(0, ...own);
    },
  };
}
