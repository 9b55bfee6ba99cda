import { z } from "zod";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import type { BenchReport, BenchResult } from "./types.ts";

const pair = z.tuple([z.number(), z.number()]);
const baselineSchema = z.object({
  machine: z.object({
    device: z.string(),
    gpu: z.string().optional(),
    cpu: z.string().optional(),
    instructionSet: z.string().optional(),
    threads: z.number().optional(),
  }),
  // Require a case, because an empty baseline would accept every result.
  results: z
    .array(
      z.object({
        name: z.string(),
        value: z.number().positive(),
        unit: z.enum(["GFLOP/s", "GB/s", "tokens/s", "MB/s"]),
        relative: z.object({ value: z.number().positive(), interval: pair }),
      }),
    )
    .min(1, "expected at least one case"),
});
/** The results of an earlier run. */
export type Baseline = z.output<typeof baselineSchema>;

/**
 * Parses the results of an earlier `heddle bench --json`: the object itself, or lines with the object last.
 * @param name the file's name, for messages
 * @throws HeddleError INVALID_FILE
 */
export function parseBaseline(text: string, name: string): Baseline {
  const problem = (got: string) =>
    new HeddleError("INVALID_FILE", `${name}: expected the JSON of an earlier run with results, got ${got}`);
  const trimmed = text.trim(); // also removes a byte-order mark
  const last = trimmed.split("\n").at(-1)!;
  for (const candidate of [trimmed, last]) {
    let value: unknown;
    try {
      value = JSON.parse(candidate);
    } catch {
      continue;
    }
    const parsed = baselineSchema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0]!;
    throw problem(`${issue.path.join(".") || "a value"} with an invalid value (${issue.message})`);
  }
  throw problem("no JSON");
}

/**
 * Checks that the baseline is from the same device, or on the CPU from the same processor, instruction set and number
 * of threads. Other results are not comparable.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function checkSameDevice(base: Baseline["machine"], now: BenchReport["machine"]): void {
  const name = ({ device, gpu, cpu, instructionSet, threads }: Record<string, unknown>) => {
    const facts = device === "cpu" ? [cpu, instructionSet, threads && `${threads} threads`] : [gpu];
    const known = facts.filter((fact) => fact !== undefined);
    return known.length ? `${device} (${known.join(", ")})` : device;
  };
  if (name(base) !== name(now))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `baseline: expected results of ${name(now)}, got results of ${name(base)}`,
    );
}

/**
 * Parses a share: `5%`, or a number. A number of at least 1 is a percentage, and a smaller one a fraction.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function parseShare(text: string, name: string): number {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*$/.exec(text);
  const number = match ? Number(match[1]) : Number.NaN;
  const share = match?.[2] || number >= 1 ? number / 100 : number;
  if (!(share >= 0 && share < 1)) throw invalidArgument(name, "a number or a number with %, below 100 %", text);
  return share;
}

/**
 * Whether a case lost more than the share `maxRegression` of its speed. It compares the upper end of the median's interval, because
 * noise only slows a case down. Relative to the machine's speed, the upper end must be below (1 − `maxRegression`) times the
 * baseline. The upper end of the absolute interval must also be below the baseline. Otherwise a rise of the machine's speed,
 * for example of its memory bandwidth, would make a case that does not profit from it look slower.
 */
export function isSlower(
  base: Baseline["results"][number] | undefined,
  now: BenchResult,
  maxRegression: number,
): boolean {
  if (!base) return false;
  return now.relative.interval[1] < base.relative.value * (1 - maxRegression) && now.interval[1] < base.value;
}

/**
 * Seconds to wait before each new measurement of a case that looks slower than the baseline. Other work on a shared
 * machine may have disturbed the earlier measurement, and may go on for seconds.
 */
const RETRY_SECONDS = [2, 10];

/**
 * Measures a case, and again if it looks slower than its baseline. The best measurement counts.
 * @param rest waits for a number of seconds between measurements
 */
export async function measureAgainstBaseline(
  base: Baseline["results"][number] | undefined,
  maxRegression: number,
  measure: () => Promise<BenchResult>,
  rest: (seconds: number) => Promise<void>,
): Promise<BenchResult> {
  let result = await measure();
  if (!base) return result;
  for (const seconds of RETRY_SECONDS) {
    if (!isSlower(base, result, maxRegression)) break;
    await rest(seconds);
    const again = await measure();
    if (again.relative.value > result.relative.value) result = again;
  }
  return { ...result, baseline: { value: base.value, change: result.relative.value / base.relative.value - 1 } };
}
