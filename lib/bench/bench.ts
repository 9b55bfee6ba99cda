import { mkdir, rm } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkPath, checkSignal, HeddleError, invalidArgument } from "../core/errors.ts";
import { checkFlag, checkFunction, checkWhole } from "../core/option-values.ts";
import { removeLeft, temporaryName } from "../core/temp-files.ts";
import { type Device, deviceInfo, openDevice } from "../graph/index.ts";
import { readWhole } from "../io/open-file.ts";
import { rejectUnknownNames } from "../language-model/index.ts";
import { Ceilings } from "./ceilings.ts";
import { dataSheetShare } from "./data-sheet.ts";
import { type Baseline, checkSameDevice, isSlower, measureAgainstBaseline, parseBaseline } from "./gate.ts";
import { gpuClock, gpuFacts } from "./gpu.ts";
import { measure } from "./measure.ts";
import type { BenchReport, BenchResult, BenchSuite } from "./types.ts";

/** Each suite's module is loaded on first use. */
const suites = {
  gemm: async () => (await import("./suites/gemm.ts")).gemmSuite,
  attention: async () => (await import("./suites/attention.ts")).attentionSuite,
  rows: async () => (await import("./suites/rows.ts")).rowsSuite,
  vocabulary: async () => (await import("./suites/vocabulary.ts")).vocabularySuite,
  inference: async () => (await import("./suites/inference.ts")).inferenceSuite,
  train: async () => (await import("./suites/train.ts")).trainSuite,
  tokenizer: async () => (await import("./suites/tokenizer.ts")).tokenizerSuite,
} satisfies Record<string, () => Promise<BenchSuite>>;
/** Name of a suite of `bench`. @useDeclaredType */
export type BenchSuiteName = keyof typeof suites;
/** Names of all suites, in the order in which they run. */
export const benchSuites = Object.keys(suites) as BenchSuiteName[];

/** Options of `bench`. */
export interface BenchOptions {
  /** Names of the suites to run. Default: all. */
  suites?: readonly BenchSuiteName[] | undefined;
  /** The device to measure, or its name. Default: as in `openDevice`. */
  device?: string | Device | undefined;
  /** Number of worker threads on the CPU. Default: as in `openDevice`. */
  threads?: number | undefined;
  /** Number of measured rounds per case, after one warm-up round. Default 9. */
  rounds?: number | undefined;
  /**
   * Path of a model for the suites `inference` and `tokenizer`, or `default`, the embedded model. Default: `inference` uses random
   * weights with shapes of published models, and `tokenizer` the embedded model's tokenizer.
   */
  model?: string | undefined;
  /** Uses small shapes: a smoke test whose figures mean nothing. */
  quick?: boolean | undefined;
  /** Path of an earlier run's JSON, to compare with. */
  baseline?: string | undefined;
  /** Share of the baseline's speed that a case may lose in addition to noise. Default 0.05. */
  maxRegression?: number | undefined;
  /** Called for each result. */
  onResult?: ((result: BenchResult) => void) | undefined;
  /** Stops the run. */
  signal?: AbortSignal | undefined;
}

const NAMES: Record<keyof BenchOptions, true> = {
  suites: true,
  device: true,
  threads: true,
  rounds: true,
  model: true,
  quick: true,
  baseline: true,
  maxRegression: true,
  onResult: true,
  signal: true,
};

/** Checks the options before anything is measured. @throws HeddleError INVALID_ARGUMENT */
function checkOptions(options: BenchOptions): void {
  rejectUnknownNames(options, Object.keys(NAMES));
  const { suites: names = [], model, baseline, quick, onResult, signal } = options;
  if (!Array.isArray(names)) throw invalidArgument("suites", `an array of ${benchSuites.join(", ")}`, names);
  for (const name of names)
    if (!benchSuites.includes(name)) throw invalidArgument("suites", `names among ${benchSuites.join(", ")}`, name);
  if (model !== undefined) checkPath("model", model, "a path or default");
  if (baseline !== undefined) checkPath("baseline", baseline);
  checkFlag("quick", quick);
  checkFunction("onResult", onResult);
  checkSignal(signal);
}

/**
 * Benchmarks this build on this machine. Every round measures a case and its ceiling, which is the machine's rate for the resource that
 * limits the case: the FLOP/s of a large matrix product, or the memory bandwidth. The result of a case is a median with an interval.
 * With a baseline, the report names cases that are slower by more than `maxRegression` and by more than noise. A case that looks slower is
 * measured again before it is reported.
 * @throws HeddleError INVALID_ARGUMENT; NOT_FOUND, IO or INVALID_FILE for the baseline; ABORTED; the errors of `openDevice`
 */
export async function bench(options: BenchOptions = {}): Promise<BenchReport> {
  checkOptions(options);
  const {
    suites: names = benchSuites,
    rounds = 9,
    quick = false,
    maxRegression = 0.05,
    model,
    signal,
    onResult,
  } = options;
  checkWhole("rounds", rounds, 1, 1000);
  if (typeof maxRegression !== "number" || !(maxRegression >= 0 && maxRegression < 1))
    throw invalidArgument("maxRegression", "a share of at least 0 and below 1", maxRegression);
  const baseline = options.baseline === undefined ? undefined : await readBaseline(options.baseline);
  const bases = new Map(baseline?.results.map((r) => [r.name, r]));
  const device = openDevice(options);
  const machine = describeMachine(device);
  if (baseline) checkSameDevice(baseline.machine, machine);
  const clocks: number[] = [];
  const ceilings = new Ceilings(device, { quick });
  await removeLeft(tmpdir(), ({ stem }) => stem === SCRATCH);
  const scratch = join(tmpdir(), temporaryName(SCRATCH));
  await mkdir(scratch, { mode: 0o700 });
  const results: BenchResult[] = [];
  // A quick run does not wait. An abort ends the wait, and the next measurement throws ABORTED.
  const rest = async (seconds: number) => {
    if (!quick) await sleep(seconds * 1000, undefined, { signal }).catch(() => {});
  };
  try {
    for (const name of names) {
      const suite = await suites[name]();
      for await (const one of suite({ device, model, scratch, quick })) {
        const base = bases.get(one.name);
        const measured = await measureAgainstBaseline(
          base,
          maxRegression,
          () => measure(one, ceilings, { rounds, signal }),
          rest,
        );
        const dataSheet = dataSheetShare(machine.gpu, measured, device.allowTf32);
        const result = dataSheet === undefined ? measured : { ...measured, dataSheet };
        results.push(result);
        if (device.kind === "cuda") clocks.push(...gpuClock(device));
        onResult?.(result);
      }
    }
  } finally {
    ceilings.dispose();
    await rm(scratch, { recursive: true, force: true });
  }
  // The clock was read right after each case, so the range shows throttling.
  if (clocks.length > 0) machine.clocksMHz = `${Math.min(...clocks)} to ${Math.max(...clocks)}`;
  if (!baseline) return { machine, results };
  const measured = new Set(results.map((r) => r.name));
  return {
    machine,
    results,
    regressions: results.filter((r) => isSlower(bases.get(r.name), r, maxRegression)).map((r) => r.name),
    unmatched: {
      missing: [...bases.keys()].filter((name) => !measured.has(name)),
      added: [...measured].filter((name) => !bases.has(name)),
    },
  };
}

/** Stem of the scratch folder's name. */
const SCRATCH = "heddle-bench";

const MAX_BASELINE_BYTES = 64 << 20;

async function readBaseline(path: string): Promise<Baseline> {
  let text: string;
  try {
    text = String(await readWhole(path, MAX_BASELINE_BYTES));
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new HeddleError(
      code === "ENOENT" ? "NOT_FOUND" : "IO",
      `baseline: expected a file that can be read, got ${path} (${code})`,
      { cause: error },
    );
  }
  return parseBaseline(text, path);
}

function describeMachine(device: Device): BenchReport["machine"] {
  const info = deviceInfo();
  return {
    device: device.kind,
    cpu: cpus()[0]?.model.trim() || "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    instructionSet: info.cpu.isa,
    threads: device.threads,
    platform: `${process.platform}-${process.arch}`,
    node: process.versions.node,
    heddle: info.version,
    compiler: info.compiler,
    ...(device.kind === "cuda" && gpuFacts(device)),
    date: new Date().toISOString(),
  };
}
