import { median } from "../lib/bench/measure.ts";

export { median };

import { readFileSync, writeFileSync } from "node:fs";

/** A contender of a comparison. `run` does the work once and returns its seconds. */
export interface Contender {
  name: string;
  run(): Promise<number>;
}

export interface Timing {
  name: string;
  /** Seconds, median over the rounds. */
  median: number;
  best: number;
  /** Seconds of each round, in order. */
  rounds: readonly number[];
}

/**
 * Times contenders in turn, A B A B …, so that a slow phase of a shared machine affects all of them. The first round warms up and does not
 * count.
 */
export async function interleave(contenders: readonly Contender[], rounds = 7): Promise<Timing[]> {
  const seconds = contenders.map(() => [] as number[]);
  for (let round = -1; round < rounds; round++)
    for (const [i, contender] of contenders.entries()) {
      const s = await contender.run();
      if (round >= 0) seconds[i]!.push(s);
    }
  return contenders.map(({ name }, i) => ({
    name,
    median: median(seconds[i]!),
    best: Math.min(...seconds[i]!),
    rounds: seconds[i]!,
  }));
}

/** Returns the median over the rounds of a round's time relative to `base` in the same round. */
export function pairedRatio(timing: Timing, base: Timing): number {
  return Number(median(timing.rounds.map((s, i) => s / base.rounds[i]!)).toFixed(3));
}

/** Waits until the threads of the previous contender have stopped spinning. libgomp's threads spin for some milliseconds. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 30));
}

/** Returns the bytes of this process's largest resident set while `work` runs. Undefined if the system does not report it. */
export async function peakResident(work: () => Promise<unknown>): Promise<number | undefined> {
  try {
    writeFileSync("/proc/self/clear_refs", "5"); // resets the recorded peak
  } catch {
    await work();
    return undefined;
  }
  await work();
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
  return peak ? Number(peak[1]) * 1024 : undefined;
}

/** Returns the seconds that `work` takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Prints a result as one JSON line on stdout. */
export function report(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
