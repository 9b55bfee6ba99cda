import { z } from "zod";
import type { Run } from "../../core/run.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { corpusSource, filesOf } from "../examples/corpus-source.ts";
import { isTexts, textFiles } from "../examples/text-files.ts";
import { runStage, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import { dataNames } from "../loop/stage-card.ts";
import { type StageCall, startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { languageModelingStage } from "../losses/language-modeling.ts";
import { type Given, option } from "../options/option.ts";
import { type SharedOptions, sharedShape } from "../options/shared-options.ts";
import {
  type CallOptions,
  crossEntropyShape,
  type NextTokenLossOptions,
  type StepOptions,
  stepShape,
} from "../options/stage-options.ts";
import { textDataShape } from "../options/text-data.ts";

const pretrainShape = {
  /**
   * `concatenate` joins documents and cuts them into sequences. `bestFit` packs whole documents without attention
   * between them, and cuts only documents that are longer than a sequence. Default "concatenate".
   */
  packing: option(
    z.enum(["concatenate", "bestFit"]).default("concatenate"),
    "concatenate: join documents and cut them into sequences; bestFit: keep documents whole and separate",
    { recorded: false },
  ),
};

/** The strict schema of pre-training options, as in a configuration file. */
export const pretrainSchema = z.strictObject({
  ...sharedShape,
  ...stepShape,
  ...crossEntropyShape,
  ...textDataShape,
  ...pretrainShape,
});

/** Options of `pretrain`. */
export interface PretrainOptions<Base = LanguageModel>
  extends Given<typeof textDataShape>,
    Given<typeof pretrainShape>,
    SharedOptions<Base>,
    StepOptions,
    NextTokenLossOptions,
    CallOptions {}

/**
 * Self-supervised pre-training on raw text: next-token cross-entropy over packed sequences, with AdamW or Muon and f32
 * master weights. It also continues the pre-training of a loaded checkpoint. With `outputDir` it writes checkpoints
 * that survive a kill at any moment, and the finished model.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, NUMERICAL for a loss that is not finite;
 * ABORTED after `signal` fired (the last completed step is saved first)
 * @example
 * for await (const event of pretrain(base, { data: "corpus.txt", maxSteps: 1000, outputDir: "out" }))
 *   if ("loss" in event) console.log(event.step, event.loss, event.tokensPerSecond);
 */
export function pretrain<Base extends Trainable>(
  base: Base,
  options: PretrainOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "pretrain", schema: pretrainSchema }, options, start);
}

async function* start(
  base: Trainable,
  options: z.output<typeof pretrainSchema>,
  call: StageCall,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "pretrain");
  const sequenceLength = sequenceLengthOf(base.model, options);
  const files = await textFiles(options, call.signal);
  try {
    const { data, evalData } = files;
    const source = await corpusSource({ ...options, data, evalData }, tokenizer, sequenceLength, call.signal);
    const card = {
      data: isTexts(options.data) ? [] : dataNames(filesOf(options.data)),
      notes: "A base model: it continues text. It was not tuned to answer, to follow instructions or to refuse.",
      evaluation: { name: "held-out text", metric: "loss (nats per token)" },
    };
    return yield* runStage(base, languageModelingStage(options), source, options, { card, ...call });
  } finally {
    await files.dispose();
  }
}
