// Times contenders in turn, in CPU time and wall-clock time, for the tokenizer bench.
import { median, report } from "../../measure.ts";

export const byteCount = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);

export interface Contender {
  name: string;
  run(): unknown;
}
export interface Timing {
  name: string;
  /** CPU seconds of one run, median over the rounds. */
  cpu: number;
  /** Wall-clock seconds of one run, median over the rounds. */
  wall: number;
}

/** Minimum seconds of a round, so that the microsecond steps of the CPU clock and a garbage collection hardly matter. */
const roundSeconds = 0.1;

export async function inTurn(contenders: Contender[], rounds: number): Promise<Timing[]> {
  const timings = contenders.map(() => ({ cpu: [] as number[], wall: [] as number[] }));
  for (let round = -1; round < rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const cpu = process.cpuUsage();
      const start = performance.now();
      let runs = 0;
      let wall = 0;
      do {
        await contender.run();
        runs++;
        wall = (performance.now() - start) / 1000;
      } while (wall < roundSeconds);
      const used = process.cpuUsage(cpu);
      if (round < 0) continue;
      timings[i]!.cpu.push((used.user + used.system) / 1e6 / runs);
      timings[i]!.wall.push(wall / runs);
    }
  }
  return contenders.map(({ name }, i) => ({ name, cpu: median(timings[i]!.cpu), wall: median(timings[i]!.wall) }));
}

export const rounded = (x: number) => Number(x.toPrecision(3));

/** Reports rates in `amount` per run: heddle's, the peers', and the ratio of heddle's to the fastest peer's. */
export function reportRates(
  name: string,
  unit: string,
  amount: number,
  timings: Timing[],
  by: "cpu" | "wall" = "cpu",
): void {
  const [ours, ...peers] = timings;
  const rate = (t: Timing) => rounded(amount / t[by]);
  const fastest = Math.max(...peers.map((t) => amount / t[by]));
  report({
    name,
    unit: by === "cpu" ? `${unit} per CPU second` : `${unit} per second`,
    heddle: rate(ours!),
    ...(by === "cpu" && { heddleWall: rounded(amount / ours!.wall) }),
    peers: Object.fromEntries(peers.map((t) => [t.name, rate(t)])),
    ...(peers.length > 0 && { ratio: rounded(amount / ours![by] / fastest) }),
  });
}
