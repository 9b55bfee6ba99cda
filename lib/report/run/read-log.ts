import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { linesOf } from "../../data/lines.ts";
import { ioError } from "../../io/atomic-files.ts";
import { eventOf } from "../../train/tracking/event-lines.ts";
import { LOG_FILE } from "../../train/tracking/run-log.ts";
import { type LineKind, SupersededLines } from "./superseded-lines.ts";
import { ThinnedCurve } from "./thinned-curve.ts";

const MAX_BYTES = 2 ** 30;
/** Maximum number of characters of a line. Longer lines count as unreadable. */
const MAX_LINE = 2 ** 20;
/** Maximum number of metrics. */
const MAX_METRICS = 100;
/** Maximum number of characters in a metric's name. */
const MAX_NAME = 100;
/** Maximum of `moreMetrics`, which bounds the memory for the names. */
export const MAX_MORE_METRICS = 10_000;

/** The numbers of a step that have a chart. */
const FIELDS = ["loss", "learningRate", "gradNorm", "tokensPerSecond"] as const;

/** The content of a run's log. */
export interface LogData {
  /** Curves of training steps, by the names of the metrics. */
  training: Map<string, ThinnedCurve>;
  /** Curves of evaluations on held-out data, by the names of the metrics. `loss` is the evalLoss of an evaluation. */
  heldOut: Map<string, ThinnedCurve>;
  /** The last step. 0 if the log has no step. */
  step: number;
  /** The planned number of steps. 0 if the log does not have it. */
  maxSteps: number;
  /** Wall-clock seconds of training. Undefined if the log does not have them. */
  seconds: number | undefined;
  tokensSeen: number | undefined;
  skippedSteps: number;
  lossSpikes: number;
  /** Number of lines that a later part of the log repeats. */
  superseded: number;
  /** Number of lines that are not events, such as one that a kill cut off. */
  unreadable: number;
  /** Number of metrics beyond those that a report shows, at most MAX_MORE_METRICS. */
  moreMetrics: number;
}

/**
 * Reads the log of a run. Curves are thinned while they are read, so that long logs fit into memory.
 * @throws HeddleError NOT_FOUND, INVALID_FILE if the log has no event or is too large, IO
 */
export async function readLog(folder: string): Promise<LogData> {
  const path = join(folder, LOG_FILE);
  const size = await stat(path).then(
    (found) => found.size,
    (error: unknown) => {
      throw ioError(error, path, "read");
    },
  );
  if (size > MAX_BYTES)
    throw new HeddleError("INVALID_FILE", `${path}: expected a log of at most ${MAX_BYTES} bytes, got ${size}`);
  // Only a first pass over the whole log shows which lines are superseded. A second pass then leaves them out.
  const lines = new SupersededLines();
  const whole = await read(path, (line, kind, step) => {
    lines.note(line, kind, step);
    return true;
  });
  const data = lines.any ? await read(path, lines.filter()) : whole;
  if (data.training.size + data.heldOut.size === 0)
    throw new HeddleError("INVALID_FILE", `${path}: expected the log of a run, got no step and no evaluation`);
  return data;
}

async function read(path: string, counts: (line: number, kind: LineKind, step: number) => boolean): Promise<LogData> {
  const data: LogData = {
    training: new Map(),
    heldOut: new Map(),
    step: 0,
    maxSteps: 0,
    seconds: undefined,
    tokensSeen: undefined,
    skippedSteps: 0,
    lossSpikes: 0,
    superseded: 0,
    unreadable: 0,
    moreMetrics: 0,
  };
  const more = new Set<string>();
  let number = 0;
  for await (const line of linesOf(path)) {
    if (line.trim() === "") continue;
    number += 1;
    const event = line.length > MAX_LINE ? undefined : eventOf(line);
    if (!event) data.unreadable += 1;
    else if (counts(number, "loss" in event ? "step" : "evaluation", event.step)) add(data, event, more);
    else data.superseded += 1;
  }
  data.moreMetrics = more.size;
  return data;
}

/** Returns a name, or the digest of a long one. Names with the same beginning remain distinct. */
function shortened(name: string): string {
  return name.length > MAX_NAME ? createHash("sha256").update(name).digest("hex") : name;
}

function add(data: LogData, event: object & { step: number }, more: Set<string>): void {
  const { step, ...given } = event as Readonly<Record<string, unknown>> & { step: number };
  const isStep = "loss" in given;
  const curves = isStep ? data.training : data.heldOut;
  const put = (name: string, value: unknown) => {
    if (value !== null && typeof value !== "number") return;
    let curve = curves.get(name);
    if (!curve) {
      if (curves.size >= MAX_METRICS || name.length > MAX_NAME) {
        if (more.size < MAX_MORE_METRICS) more.add(shortened(name));
        return;
      }
      curve = new ThinnedCurve();
      curves.set(name, curve);
    }
    curve.add(step, value);
  };
  if (isStep) for (const name of FIELDS) put(name, given[name]);
  else put("loss", given.evalLoss);
  for (const [name, value] of Object.entries(isObject(given.metrics) ? given.metrics : {})) put(name, value);
  data.step = Math.max(data.step, step);
  const whole = (value: unknown) => (typeof value === "number" && value >= 0 ? value : undefined);
  data.maxSteps = whole(given.maxSteps) ?? data.maxSteps;
  data.seconds = whole(given.seconds) ?? data.seconds;
  data.tokensSeen = whole(given.tokensSeen) ?? data.tokensSeen;
  data.skippedSteps = whole(given.skippedSteps) ?? data.skippedSteps;
  data.lossSpikes = whole(given.lossSpikes) ?? data.lossSpikes;
}
