import { HeddleError } from "../errors.ts";
import type { TrainEvent } from "../train/trainer.ts";
import { type CommandGroup, defineCommand } from "./command.ts";
import { trainPretrain } from "./train-pretrain.ts";
import { TrainProgress } from "./train-progress.ts";

const pretrainCommand = defineCommand({
  about: "Pre-trains a model on raw text, as a configuration file says.",
  options: {
    config: { kind: "string", value: "FILE", about: "JSON, or a .js or .ts module's default export" },
    resume: { kind: "flag", about: "go on from the newest checkpoint in outputDir, where there is one" },
  },
  async run({ options, out }) {
    if (options.config === undefined)
      throw new HeddleError("INVALID_ARGUMENT", "config: expected a configuration file, got none");
    if (options.model !== undefined)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "model: expected inside the configuration file, got the option --model",
      );
    const interrupt = new AbortController();
    const stop = () => interrupt.abort();
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    const progress = new TrainProgress();
    try {
      const result = await trainPretrain({
        config: options.config,
        resume: options.resume,
        device: options.device,
        threads: options.threads,
        signal: interrupt.signal,
        onEvent(event, maxSteps) {
          progress.update(event, maxSteps);
          if (out.json) out.object(event);
          else if (!process.stderr.isTTY) out.line(describeEvent(event));
        },
      });
      progress.end();
      if (out.json) {
        const { loss: _, ...rest } = result;
        out.object({ done: true, ...rest });
      } else {
        const where = result.path === undefined ? "" : ` The model is in ${result.path}.`;
        out.line(
          `${result.steps} steps, ${result.tokensSeen.toLocaleString("en")} tokens seen, loss ${result.loss.toFixed(4)}.${where}`,
        );
      }
    } finally {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    }
  },
});

function describeEvent(event: TrainEvent): string {
  if (!("loss" in event))
    return `step ${event.step}: held-out loss ${event.evalLoss.toFixed(4)} over ${event.tokens} tokens`;
  const { step, loss, learningRate, gradNorm, tokensPerSecond } = event;
  return `step ${step}: loss ${loss.toFixed(4)}, learning rate ${learningRate.toExponential(2)}, gradient norm ${gradNorm.toFixed(3)}, ${tokensPerSecond} tokens/s`;
}

export const group: CommandGroup = {
  about: "train a model, stage by stage",
  commands: {
    pretrain: { about: "next-token prediction on raw text", load: async () => pretrainCommand },
  },
};
