import { formatCount } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import type { EvalEvent, StepEvent, TrainResult } from "../../train/loop/trainer.ts";
import { fileShape } from "../../train/options/config-file.ts";
import { infoOf } from "../../train/options/option.ts";
import { meantOption, namesIn, sameOption } from "../../train/options/option-names.ts";
import { sharedShape } from "../../train/options/shared-options.ts";
import { type Command, type CommandGroup, defineCommand } from "../command.ts";
import { lossUnit, type StageName, type StageRow, stages } from "../options/stage-table.ts";
import { trainStage } from "../options/train-stage.ts";
import { completionsTable } from "../terminal/completions-table.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { canRewriteLines } from "../terminal/live-line.ts";
import { evaluated, type LossUnit, named, TrainProgress } from "../terminal/train-progress.ts";
import { WorkProgress } from "../terminal/work-progress.ts";

const options = {
  config: {
    kind: "string",
    value: "FILE",
    about: "configuration: a JSON file, or a .js or .ts module with a default export (required)",
  },
  // The option `resume` has more values. The flag means "auto".
  resume: { kind: "flag", about: "continue from the newest checkpoint in outputDir, if any" },
  "allow-changed-options": { kind: "flag", about: helpOf("allowChangedOptions") },
  "overwrite-output-dir": { kind: "flag", about: helpOf("overwriteOutputDir") },
  "eval-steps": { kind: "integer", value: "N", about: helpOf("evalSteps") },
  "load-best-model-at-end": { kind: "flag", about: helpOf("loadBestModelAtEnd") },
  "metric-for-best-model": { kind: "string", value: "NAME", about: helpOf("metricForBestModel") },
  "early-stopping-patience": { kind: "integer", value: "N", about: helpOf("earlyStoppingPatience") },
} as const;

/** Returns the help of a stage's option, which a configuration file may set too. */
function helpOf(name: keyof typeof sharedShape): string {
  return infoOf(sharedShape[name]).help;
}

function stageCommand(name: StageName, row: StageRow): Command<typeof options> {
  return defineCommand({
    about: `Trains a model as set in a configuration file: ${row.about}.`,
    options,
    without: { model: "`model` inside the configuration file" },
    async elsewhere() {
      const { schema } = await row.load();
      const known = namesIn({ ...fileShape, ...schema.shape });
      return (option, near) => {
        // Look for a key of similar name only if no option of the command is similar.
        const key = sameOption(option, known) ?? (near ? undefined : meantOption(option, known));
        if (key === undefined) return undefined;
        return new HeddleError(
          "INVALID_ARGUMENT",
          `--${option}: expected ${key} in the --config file, got a command-line option`,
        );
      };
    },
    async more() {
      const [{ schema }, { stageKeys }] = await Promise.all([row.load(), import("../options/config-keys.ts")]);
      return stageKeys(schema);
    },
    async run({ options, out }) {
      if (options.config === undefined)
        throw new HeddleError("INVALID_ARGUMENT", "config: expected a configuration file, got none");
      const { config } = options;
      await interruptible("train", async (signal) => {
        const progress = new TrainProgress();
        const drawing = new WorkProgress();
        const stage = { name, ...(await row.load()) };
        try {
          const result = await trainStage(stage, {
            config,
            resume: options.resume,
            overrides: {
              allowChangedOptions: options["allow-changed-options"],
              overwriteOutputDir: options["overwrite-output-dir"],
              evalSteps: options["eval-steps"],
              loadBestModelAtEnd: options["load-best-model-at-end"],
              metricForBestModel: options["metric-for-best-model"],
              earlyStoppingPatience: options["early-stopping-patience"],
            },
            device: options.device,
            threads: options.threads,
            signal,
            onDraw(done, total) {
              drawing.update(`of ${formatCount(total)} weights initialized`, done, total);
              if (done === total) drawing.end();
            },
            onEvent({ completions, ...event }, { lossType }) {
              const unit = lossUnit(name, lossType);
              if (completions) progress.print(completionsTable(event.step, completions, process.stderr.columns));
              progress.update(event, unit);
              if (out.json) out.object(event);
              else if (!canRewriteLines())
                out.line("loss" in event ? describeStep(event) : describeEvaluation(event, unit));
            },
            onWarning(message) {
              drawing.end();
              progress.print([message]);
            },
          });
          progress.end();
          if (!result) return; // only rank 0 has a result
          if (out.json) {
            const { loss: _, ...rest } = result;
            out.object({ done: true, ...rest });
          } else out.line(await describeResult(result));
        } finally {
          drawing.end();
          progress.end();
        }
      });
    },
  });
}

async function describeResult(result: TrainResult): Promise<string> {
  const { steps, tokensSeen, loss, skippedSteps, bestStep, path } = result;
  const best = bestStep === undefined ? "" : ` Best evaluation: step ${bestStep}.`;
  const skipped = skippedSteps === 0 ? "" : ` ${skippedSteps} steps skipped.`;
  const { isAdapterFolder } = await import("../../language-model/adapters.ts");
  const what = path !== undefined && (await isAdapterFolder(path)) ? "adapter" : "model";
  const where = path === undefined ? "" : ` The ${what} is in ${path}.`;
  return `${steps} steps, ${tokensSeen.toLocaleString("en")} tokens seen, final loss ${loss.toFixed(4)}.${skipped}${best}${where}`;
}

function describeEvaluation(event: EvalEvent, unit: LossUnit): string {
  return `step ${event.step}: ${evaluated(event, unit)}`;
}

function describeStep(event: StepEvent): string {
  const { step, loss, learningRate, gradNorm, tokensPerSecond, skippedSteps } = event;
  return [
    `step ${step} of ${event.maxSteps}: loss ${loss.toFixed(4)}`,
    ...named(event.metrics),
    `learning rate ${learningRate.toExponential(2)}`,
    `gradient norm ${gradNorm.toFixed(3)}`,
    `${tokensPerSecond} tokens/s`,
    ...(skippedSteps > 0 ? [`${skippedSteps} skipped`] : []),
  ].join(", ");
}

/** The training stages as commands. */
export const group: CommandGroup = {
  about: "train a model with one of the training stages",
  commands: Object.fromEntries(
    (Object.keys(stages) as StageName[]).map((name) => {
      const row = stages[name];
      return [name, { about: row.about, load: async () => stageCommand(name, row) }];
    }),
  ),
};
