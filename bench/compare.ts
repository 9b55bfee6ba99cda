// npm run bench -- compare FOLDER [SUITE ...] [--pairs 15] [--rounds N] [--only TEXT] [--out FILE]: runs suites in this checkout and in another
// one, in turn, and prints each row's ratio with its interval. Pairs that FILE holds already count, so a stopped comparison continues.
import { spawn } from "node:child_process";
import { appendFile, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { medianInterval } from "../lib/bench/measure.ts";
import { median } from "./measure.ts";

/** A ratio whose interval lies above this is a slow-down. */
const SLOWER = 1.03;
const SUITES = ["ops", "inference", "loop", "train", "tokenizer"];

type Row = { name?: string; unit?: string } & Record<string, unknown>;
interface Pair {
  suite: string;
  base: Row[];
  here: Row[];
}

export interface CompareOptions {
  folder: string;
  suites: readonly string[];
  pairs: number;
  rounds: number;
  only: string;
  out: string | undefined;
}

/** Measures until each suite has `pairs` pairs, and prints the table. */
export async function compareCheckouts(options: CompareOptions): Promise<void> {
  const suites = options.suites.length ? options.suites : SUITES;
  const all = options.out ? await readPairs(options.out) : [];
  const count = (suite: string) => all.filter((pair) => pair.suite === suite).length;
  const folders = { base: resolve(options.folder), here: process.cwd() };
  for (let done = 0; done < options.pairs; done++)
    for (const suite of suites) {
      if (count(suite) > done) continue;
      const pair: Pair = { suite, base: [], here: [] };
      // The first of a pair would otherwise always meet the colder machine.
      const order = done % 2 ? (["here", "base"] as const) : (["base", "here"] as const);
      for (const side of order) pair[side] = await runSuite(folders[side], suite, options);
      all.push(pair);
      if (options.out) await appendFile(options.out, `${JSON.stringify(pair)}\n`);
      process.stderr.write(`${new Date().toISOString()} ${suite} ${count(suite)} of ${options.pairs}\n`);
    }
  for (const suite of suites) printSuite(suite, all);
}

async function readPairs(file: string): Promise<Pair[]> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  return text
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line));
}

/** Returns the rows of a suite, run by a checkout's own `npm run bench`. */
async function runSuite(folder: string, suite: string, { rounds, only }: CompareOptions): Promise<Row[]> {
  const flags = ["--no-peers", "--rounds", `${rounds}`, ...(only ? ["--only", only] : [])];
  const child = spawn("npm", ["run", "--silent", "bench", "--", suite, ...flags], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const code = await new Promise((done, failed) => child.on("error", failed).on("close", done));
  if (code !== 0) throw new Error(`bench ${suite} in ${folder}: expected exit code 0, got ${code}`);
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

/** Times and rates of a row by name. A rate is inverted, so that more is always slower. */
export function timesOf(row: Row): Map<string, number> {
  const times = new Map<string, number>();
  const add = (name: string, value: unknown, rate: boolean) => {
    if (typeof value === "number" && value > 0) times.set(name, rate ? 1 / value : value);
  };
  const contender = (name: string, value: unknown) => {
    const { milliseconds, tokensPerSecond } = (value ?? {}) as Row;
    if (milliseconds !== undefined) add(name, milliseconds, false);
    else add(name, tokensPerSecond, true);
  };
  const name = row.name ?? "";
  if (row.unit !== undefined) {
    // A tokenizer's row: rates ("MB per CPU second"), or times and memory ("ns", "MB resident beyond …").
    const rate = / per /.test(row.unit);
    for (const [key, value] of Object.entries(row))
      if (/^heddle|^importHeddle|^(one|ten|eachFurther)$/.test(key))
        add(key === "heddle" ? name : `${name}, ${key}`, value, rate);
    return times;
  }
  contender(name, row.heddle);
  for (const dtype of ["f32", "bf16"] as const) contender(`${name} ${dtype}`, (row[dtype] as Row | undefined)?.heddle);
  for (const key of ["loopMilliseconds", "nativeMilliseconds"] as const) add(`${name}, ${key}`, row[key], false);
  return times;
}

/** Ratios of this checkout's time to the other's by row name, a number per pair. */
export function ratiosOf(pairs: readonly Pair[]): Map<string, number[]> {
  const ratios = new Map<string, number[]>();
  for (const pair of pairs) {
    const base = new Map(pair.base.flatMap((row) => [...timesOf(row)]));
    for (const [name, time] of pair.here.flatMap((row) => [...timesOf(row)])) {
      const before = base.get(name);
      if (before === undefined) continue;
      if (!ratios.has(name)) ratios.set(name, []);
      ratios.get(name)!.push(time / before);
    }
  }
  return ratios;
}

function printSuite(suite: string, all: readonly Pair[]): void {
  const pairs = all.filter((pair) => pair.suite === suite);
  const ratios = ratiosOf(pairs);
  process.stdout.write(`\n${suite}: ${pairs.length} pairs, time here / time there, 95 % interval of the median\n`);
  for (const [name, values] of [...ratios].sort((a, b) => median(b[1]) - median(a[1]))) {
    const [low, high] = medianInterval(values, 0.95);
    const figures = `${median(values).toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
    process.stdout.write(`  ${figures}  ${name}${low > SLOWER ? "  SLOWER" : ""}\n`);
  }
  const slower = [...ratios.values()].filter((values) => medianInterval(values, 0.95)[0] > SLOWER).length;
  process.stdout.write(`  ${ratios.size} rows, ${slower} with an interval above ${SLOWER}\n`);
}
