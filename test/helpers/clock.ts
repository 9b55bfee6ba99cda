// Other load only increases measured times, so the minimum of a few measurements is used.
import { watchTurns } from "./turns.mjs";

export { saysTurns } from "./turns.mjs";

/** CPU time of this process for `work`, in milliseconds. */
export function cpuMilliseconds(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The minimum of `measure`, repeated until it is below `limit`, at most `tries` times. */
export async function leastOf(limit: number, measure: () => number | Promise<number>, tries = 8): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < tries && !(least < limit); i++) least = Math.min(least, await measure());
  return least;
}

/**
 * Calls two measures alternately, and returns the minimum of the first divided by the minimum of the second. Calls each measure five times (once
 * under sanitizers), then until the ratio is below `limit`, at most `tries` times. (The minimum of single ratios would depend on slow
 * measurements of the second.)
 */
export async function leastRatio(
  limit: number,
  measures: readonly [() => number | Promise<number>, () => number | Promise<number>],
  tries = 10,
): Promise<number> {
  const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const enough = process.env.HEDDLE_SANITIZED ? 1 : 5;
  for (let i = 0; i < tries && !(i >= enough && least[0]! / least[1]! < limit); i++)
    for (const [side, measure] of measures.entries()) least[side] = Math.min(least[side]!, await measure());
  console.log(`${least.map((time) => time.toFixed(1)).join(" and ")} ms`);
  return least[0]! / least[1]!;
}

/** The longest turn of the event loop during `work`, in milliseconds; see `watchTurns`. */
export async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  const turns = watchTurns();
  let longest = 0;
  try {
    await work();
  } finally {
    longest = await turns.stop();
  }
  return longest;
}
