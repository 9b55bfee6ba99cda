import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import { expectedName, nearest } from "../../core/nearest-name.ts";
import { Value } from "../../graph/index.ts";
import { activeTrace } from "../../graph/trace.ts";
import type { ForwardOptions, LossContext, LossOutputs, Metrics, MicroBatch, Stage } from "./stage.ts";

/** Inputs that the trainer provides to every program of a stage. */
const GIVEN = ["positions", "lengths", "tokenTypes", "noise"];

/** Wraps a stage with checks of its functions' results, so that an author's mistake is reported where it is made. */
export function checkedStage<Batch>(stage: Stage<Batch>): Stage<Batch> {
  const { name } = stage;
  // Names of the inputs that the loss reads. `loss` adds them when it is traced, before the first batch is collated.
  const read = new Set(GIVEN);
  const wrong = (what: string, expected: string, got: string) =>
    new HeddleError("INVALID_ARGUMENT", `${name}.${what}: expected ${expected}, got ${got}`);
  const numbers = (what: string, metrics: Metrics): Metrics => {
    if (metrics instanceof Promise) metrics.catch(() => {}); // an async function: its rejection would otherwise be unhandled
    if (!isObject(metrics) || metrics instanceof Promise) throw wrong(what, "an object of numbers", describe(metrics));
    for (const [key, value] of Object.entries(metrics))
      if (typeof value !== "number") throw wrong(`${what}: ${key}`, "a number", describe(value));
    return metrics;
  };
  const countOf = (batch: Batch): number => {
    const counted = stage.count(batch);
    if (!isWhole(counted)) throw wrong("count", "the number of counted positions", describe(counted));
    return counted;
  };
  return {
    name,
    shares: stage.shares,
    count: countOf,
    ...(stage.weight && {
      weight(batch) {
        const weight = stage.weight!(batch);
        if (!(Number.isFinite(weight) && weight >= 0))
          throw wrong("weight", "a number of at least 0", describe(weight));
        return weight;
      },
    }),
    collate(batch, total, weight) {
      // A mean over zero positions is NaN, and a later message would blame the learning rate.
      if (total === 0) throw wrong("count", "at least one counted position in the batches of a step", "0");
      const micro = checkedMicro(stage.collate(batch, total, weight), wrong);
      const counted = countOf(batch);
      if (micro.counted !== counted)
        throw wrong("collate: counted", `${counted}, as ${name}.count returns for the batch`, describe(micro.counted));
      for (const key of Object.keys(micro.inputs)) {
        if (read.has(key)) continue;
        const near = nearest(key, read);
        throw wrong(
          `collate: inputs.${key}`,
          `an input that the loss reads${near === undefined ? "" : ` (nearest: ${near})`}`,
          "one that it does not",
        );
      }
      return micro;
    },
    loss(context) {
      const forward: LossContext["forward"] = (options = {}) => {
        checkNames(options, wrong);
        return context.forward(options);
      };
      const outputs = checkedOutputs(stage.loss({ ...context, forward }), context, wrong);
      if (!stage.metrics) checkReported(outputs, wrong);
      for (const key of activeTrace().inputs.keys()) read.add(key);
      return outputs;
    },
    ...(stage.metrics && {
      metrics: (outputs, batches) => numbers("metrics", stage.metrics!(outputs, batches)),
    }),
    ...(stage.metricCounts && {
      metricCounts: (batches) => numbers("metricCounts", stage.metricCounts!(batches)),
    }),
    ...(stage.derived && { derived: (metrics) => numbers("derived", stage.derived!(metrics)) }),
  };
}

type Wrong = (what: string, expected: string, got: string) => HeddleError;

const FORWARD: Record<keyof ForwardOptions, true> = {
  rows: true,
  documents: true,
  adapters: true,
  neftuneNoiseAlpha: true,
};

/** Checks option names. A misspelt `documents` would silently allow attention between the documents of a sequence. */
function checkNames(options: ForwardOptions, wrong: Wrong): void {
  if (typeof options !== "object" || options === null) throw wrong("loss: forward", "an object", describe(options));
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(FORWARD, key)) continue;
    const names = Object.keys(FORWARD);
    throw wrong(`loss: forward: ${key}`, expectedName(nearest(key, names), names), "an unknown one");
  }
}

function checkedMicro(micro: MicroBatch, wrong: Wrong): MicroBatch {
  const { inputs, tokens, counted } = (micro ?? {}) as Partial<MicroBatch>;
  if (typeof inputs !== "object" || inputs === null)
    throw wrong("collate", "{ inputs, tokens, counted }", describe(micro));
  for (const [key, count] of Object.entries({ tokens, counted }))
    if (!(Number.isFinite(count) && count! >= 0)) throw wrong(`collate: ${key}`, "a number", describe(count));
  return micro;
}

function checkedOutputs(given: Value | LossOutputs, { sequences, rows }: LossContext, wrong: Wrong): LossOutputs {
  const outputs: unknown = given instanceof Value ? { loss: given } : given;
  const { loss } = (outputs ?? {}) as Partial<LossOutputs>;
  if (!(loss instanceof Value))
    throw wrong("loss", "a value of the graph, or an object with one as `loss`", describe(given));
  if (loss.dtype !== "f32" || loss.rank !== 1 || loss.dim(0) !== 1)
    throw wrong(
      "loss",
      `a value f32(1), the share of ${sequences} sequences (${rows} rows) in the step's mean`,
      `${loss}`,
    );
  for (const [key, value] of Object.entries(outputs as object))
    if (!(value instanceof Value)) throw wrong(`loss: ${key}`, "a value of the graph", describe(value));
  return outputs as LossOutputs;
}

/** Checks the outputs of a stage without `metrics`. Each output is then one metric. */
function checkReported({ loss: _, ...outputs }: LossOutputs, wrong: Wrong): void {
  for (const [key, value] of Object.entries(outputs)) {
    const isNumber = value.shape.every((size) => size === 1) && (value.dtype === "f32" || value.dtype === "i32");
    if (!isNumber)
      throw wrong(
        `loss: ${key}`,
        "a number to report, f32(1), or a `metrics` function that computes one from it",
        `${value}`,
      );
  }
}
