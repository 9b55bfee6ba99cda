import { join } from "node:path";
import { throwIfAborted } from "../core/errors.ts";
import { writeFileAtomically } from "../io/atomic-files.ts";
import { emitWarning } from "../train/loop/warn.ts";
import { compareClassifiers } from "./compare.ts";
import { evaluate } from "./evaluate.ts";
import type { LifecycleOptions } from "./lifecycle.ts";
import { outcomeOf, shortBudget } from "./outcome.ts";
import type { Plan } from "./plan.ts";
import { makeRecipe, type Recipe } from "./recipe/recipe.ts";
import { RemainingTime } from "./remaining-time.ts";
import { reportData } from "./report/data.ts";
import { renderReport } from "./report/report.ts";
import { newModel, type Setting, type TrainedStage, trainings } from "./stages.ts";
import { saveTokenizer, tokenizerMetrics, trainTokenizer } from "./tokenizer-stage.ts";
import {
  type LifecycleEvent,
  type LifecycleResult,
  type Measurement,
  type StageMetrics,
  type StageName,
  type StageResult,
  stageNames,
} from "./types.ts";
import { type StageRecord, Workspace } from "./workspace.ts";

interface PlanOptions extends Pick<LifecycleOptions, "device" | "threads" | "signal" | "onWarning"> {
  /** Stages to run. Default: all. */
  stages?: readonly StageName[];
}

/** Runs the stages of a plan. scripts/default-model/make.mjs calls it with a custom plan. @throws like `lifecycle` */
export async function* runPlan(
  out: string,
  plan: Plan,
  options: PlanOptions,
): AsyncGenerator<LifecycleEvent, LifecycleResult, void> {
  const { device, threads, signal, stages = stageNames } = options;
  const work = await Workspace.open(out, plan);
  const short = shortBudget(plan);
  if (short !== undefined) (options.onWarning ?? emitWarning)(`lifecycle: ${short}`);
  const recipe = makeRecipe(plan.seed, plan.size);
  await work.writeData(recipe);
  const clock = new RemainingTime(plan);
  const life = new Life({ work, device, threads, signal, development: recipe.development }, recipe, clock);
  for (const stage of stageNames) if (work.record(stage) || !stages.includes(stage)) clock.skip(stage);
  for (const stage of stages) {
    if (work.record(stage)) continue;
    throwIfAborted(signal, "lifecycle");
    clock.start(stage);
    await work.begin(stage);
    yield { type: "stage", stage, maxSteps: stepsOf(plan, stage), secondsLeft: clock.secondsLeft() };
    const record = yield* life.stage(stage);
    clock.end(stage);
    await work.finish(record);
    yield { type: "done", stage, result: resultOf(record), secondsLeft: clock.secondsLeft() };
  }
  const report = join(out, "report.html");
  const html = renderReport(await reportData(work));
  await writeFileAtomically(report, (sink) => sink.write(Buffer.from(html)));
  const results = work.records.filter(({ name }) => name !== "classify").map(resultOf);
  return { stages: results, missed: outcomeOf(results).missed, report };
}

/** Returns `maxSteps` of a stage's events. `classify` trains two classifiers, one after the other. */
function stepsOf({ stages }: Plan, stage: StageName): number {
  return (stage === "classify" ? 2 : 1) * stages[stage].steps;
}

function resultOf({ name, steps, seconds, tokens, metrics }: StageRecord): StageResult {
  return { name, steps, seconds: Math.round(seconds * 1000) / 1000, tokens, metrics };
}

/** Runs the stages of a plan, one at a time. */
class Life {
  private readonly setting: Setting;
  private readonly recipe: Recipe;
  private readonly clock: RemainingTime;

  constructor(setting: Setting, recipe: Recipe, clock: RemainingTime) {
    this.setting = setting;
    this.recipe = recipe;
    this.clock = clock;
  }

  async *stage(name: StageName): AsyncGenerator<LifecycleEvent, StageRecord, void> {
    if (name === "tokenizer") return this.tokenizer();
    if (name === "classify") return yield* this.classify();
    return yield* this.training(name);
  }

  private async tokenizer(): Promise<StageRecord> {
    const { work, signal } = this.setting;
    const started = performance.now();
    const tokenizer = await trainTokenizer(this.recipe, work.plan.vocabSize, signal);
    await saveTokenizer(tokenizer, (file) => work.path("tokenizer", file));
    const metrics = tokenizerMetrics(tokenizer, this.recipe.corpus.heldOut);
    return { name: "tokenizer", steps: 0, seconds: (performance.now() - started) / 1000, tokens: 0, metrics };
  }

  private async *training(name: TrainedStage): AsyncGenerator<LifecycleEvent, StageRecord, void> {
    const { work, signal } = this.setting;
    const before = await this.before(name);
    const training = await trainings[name](this.setting);
    try {
      for await (const event of training.run) {
        if (!("loss" in event)) continue;
        const { step, loss, tokensPerSecond } = event;
        const { steps: maxSteps } = work.plan.stages[name];
        this.clock.step(step / maxSteps);
        const secondsLeft = this.clock.secondsLeft();
        yield { type: "step", stage: name, step, maxSteps, loss, tokensPerSecond, secondsLeft };
      }
      const result = await training.run;
      yield { type: "evaluation", stage: name, secondsLeft: this.clock.secondsLeft() };
      const seconds = (await work.losses(name)).at(-1)?.seconds ?? 0;
      const record = { name, steps: result.steps, seconds, tokens: result.tokensSeen };
      if (name === "reward") {
        const accuracy = result.evalMetrics?.rewardAccuracy;
        return {
          ...record,
          metrics: { before: {}, after: accuracy === undefined ? {} : { rewardAccuracy: accuracy } },
        };
      }
      const measurement = await evaluate(training.model, this.recipe, { questions: true, signal });
      const metrics = {
        before: reportedMetrics(before!.metrics, name),
        after: reportedMetrics(measurement.metrics, name),
      };
      return { ...record, metrics, measurement, ...(name === "pretrain" && { before }) };
    } finally {
      training.dispose();
    }
  }

  /** Returns the measurement of the model that a stage starts from. */
  private async before(name: TrainedStage): Promise<Measurement | undefined> {
    const { work, signal } = this.setting;
    if (name === "reward") return undefined;
    if (name === "sft") return work.record("pretrain")?.measurement;
    if (name !== "pretrain") return work.record("sft")?.measurement;
    const model = await newModel(this.setting);
    try {
      return await evaluate(model, this.recipe, { questions: false, signal });
    } finally {
      model.dispose();
    }
  }

  private async *classify(): AsyncGenerator<LifecycleEvent, StageRecord, void> {
    const { work } = this.setting;
    const started = performance.now();
    const maxSteps = stepsOf(work.plan, "classify");
    const comparing = compareClassifiers(this.setting, this.recipe.classification);
    let done = 0;
    for (;;) {
      const next = await comparing.next();
      if (next.done) {
        const { comparison, tokens } = next.value;
        const { discriminative } = comparison;
        const metrics = {
          before: { accuracy: discriminative.before },
          after: { accuracy: discriminative.after },
        };
        const seconds = (performance.now() - started) / 1000;
        return { name: "classify", steps: maxSteps, seconds, tokens, metrics, comparison };
      }
      const event = next.value;
      if (!("loss" in event)) continue;
      this.clock.step(Math.min(1, ++done / maxSteps));
      const { loss, tokensPerSecond } = event;
      const secondsLeft = this.clock.secondsLeft();
      yield { type: "step", stage: "classify", step: done, maxSteps, loss, tokensPerSecond, secondsLeft };
    }
  }
}

/**
 * Selects the metrics to report for a stage. Metrics of questions are left out for pre-training, because a base model
 * was never shown how to answer.
 */
function reportedMetrics(metrics: StageMetrics, stage: TrainedStage): StageMetrics {
  const { bitsPerByte, capitals } = metrics;
  return stage === "pretrain" ? { bitsPerByte, capitals } : metrics;
}
