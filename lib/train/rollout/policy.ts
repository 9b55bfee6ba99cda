import type { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import { filesIn } from "../../data/rows.ts";
import type { FloatDType, Tensor } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import { adapterTensors } from "../../models/adapters/adapters.ts";
import { defaultCacheDtype } from "../../models/cache-shape.ts";
import { turnsByLength } from "../../models/rope-frequencies.ts";
import { sequenceLengthFor, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import type { Metrics } from "../loop/stage.ts";
import type { StageCall } from "../loop/start-stage.ts";
import { needFiles } from "../options/assert-files-exist.ts";
import { needSameVocabulary } from "../preference/options.ts";
import { prepareWeights } from "../preference/prepare.ts";
import { copyWeights, fingerprint } from "../preference/reference.ts";
import { RowEncoder } from "../preference/rows.ts";
import { AnswerScorer } from "../preference/scorer.ts";
import { answerLength } from "../preference/sequences.ts";
import { type DrawnAnswer, drawAnswers, type PlacedPrompt } from "./draw.ts";
import { RolloutModel } from "./model.ts";
import { type policyStageShape, promptsOf } from "./options.ts";
import { type PolicyPrompt, readPrompts } from "./prompts.ts";

type PolicyOptions = Omit<z.output<z.ZodObject<typeof policyStageShape>>, "learningRate">;

/**
 * The expected prompts, for error messages. Strings are paths, so the message also says how to pass prompts that are
 * texts.
 */
const PROMPT_FILES = ".jsonl, .parquet, .json; texts are rows, { prompt: … }";

/** Prompts, the policy's sampler, and its reference. */
export interface Policy {
  train: readonly PolicyPrompt[];
  heldOut: readonly PolicyPrompt[];
  /** Number of rows of a sequence, a prompt with its answer. */
  sequenceLength: number;
  dtype: FloatDType;
  /** Whether answers come from a rounded copy of the policy, whose log-probabilities are at the sampling temperature. */
  readonly drawsFromCopy: boolean;
  /**
   * Whether the log-probabilities of drawn answers equal those of a training pass. They differ at a temperature other
   * than 1, if sampling or training rounds to narrower floats, and if RoPE depends on the sequence length.
   */
  readonly drawsWithOwnLogprobs: boolean;
  /** Draws `count` answers to each prompt, with the current weights. */
  draw(
    prompts: readonly PlacedPrompt[],
    count: number,
    options: { rollout: number; signal?: AbortSignal | undefined },
  ): Promise<DrawnAnswer[]>;
  /** The reference, at the sampler's temperature; undefined if none is needed. */
  reference: AnswerScorer | undefined;
  /** Fingerprint of the reference; undefined if none is needed. */
  referenceMark: string | undefined;
  dispose(): void;
}

/**
 * Reads the prompts, and prepares the reference if the stage needs one. Without `refModel`, the reference is a snapshot
 * of the weights to train. With a new LoRA adapter, it is the model without the adapter, which takes no extra memory.
 */
export async function openPolicy(
  base: LanguageModel,
  stage: string,
  options: PolicyOptions & { refModel?: Trainable | undefined },
  call: StageCall & { needsReference: boolean },
): Promise<Policy> {
  const { model } = base;
  const { refModel, maxCompletionLength, temperature, dtype, fp8, perDeviceTrainBatchSize: sequences } = options;
  if (refModel) needSameVocabulary("refModel", refModel.model, model);
  // The last token of an answer is never a model input.
  const context = sequenceLengthOf(model, { maxSeqLength: options.maxSeqLength ?? model.config.maxPositionEmbeddings });
  const limit = context + 1 - maxCompletionLength;
  if (limit < 1)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `maxCompletionLength: expected at most ${context}, so that a prompt fits into maxSeqLength, got ${maxCompletionLength}`,
    );
  const rows = {
    ...options,
    data: promptsOf(options),
    evalData: options.evalPrompts ?? options.evalData,
    names: {
      data: options.prompts === undefined ? "data" : "prompts",
      evalData: options.evalPrompts === undefined ? "evalData" : "evalPrompts",
    },
  };
  await needFiles(filesIn(rows.data), rows.names.data, PROMPT_FILES);
  await needFiles(filesIn(rows.evalData), rows.names.evalData, PROMPT_FILES);
  const encoder = new RowEncoder(tokenizerOf(base, stage)!, options);
  const { train, heldOut } = await readPrompts(rows, encoder, { ...call, limit });
  const longest = [...train, ...heldOut].reduce((n, { ids }) => Math.max(n, ids.length), 1);
  const sequenceLength = sequenceLengthFor(longest + maxCompletionLength - 1, context);
  await call.preparation.change(() => prepareWeights(model, options));
  let tensors: Map<string, Tensor> | undefined;
  let reference: AnswerScorer | undefined;
  const { lora, rolloutDtype = dtype === "bf16" || model.device.multipliesBf16 ? "bf16" : "f32" } = options;
  const sampler = new RolloutModel(base, { dtype: lora ? "f32" : rolloutDtype, temperature });
  const dispose = () => {
    sampler.dispose();
    reference?.dispose();
    for (const tensor of tensors?.values() ?? []) tensor.dispose();
  };
  let referenceMark: string | undefined;
  try {
    if (call.needsReference) {
      if (!refModel) tensors = await copyWeights(model, trainedBefore(base, options));
      const shape = { sequences, sequenceLength, dtype, fp8, temperature };
      reference = new AnswerScorer(refModel?.model ?? model, { ...shape, tensors });
      // The log-probabilities of prompt tokens are enough to identify a reference.
      const probe = train.slice(0, sequences).filter(({ ids }) => ids.length > 1);
      const scored = probe.map(({ ids }) => ({ ids: Int32Array.from(ids), promptLength: 1 }));
      referenceMark = fingerprint(await reference.sums(scored, call.signal));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    train,
    heldOut,
    sequenceLength,
    dtype,
    drawsFromCopy: sampler.isCopy,
    drawsWithOwnLogprobs: !sampler.isCopy && temperature === 1 && dtype === "f32" && !fp8 && decodesExactly(base),
    async draw(prompts, count, at) {
      // A rounded copy already divides its logits by the temperature.
      const own = { ...options, ...at, temperature: sampler.isCopy ? 1 : temperature };
      return drawAnswers(await sampler.refreshed(), prompts, count, own);
    },
    reference,
    referenceMark,
    dispose,
  };
}

/** Whether the engine's log-probabilities equal those of an f32 pass over the whole sequence. */
function decodesExactly({ model, cacheDtype }: LanguageModel): boolean {
  return defaultCacheDtype(model) === "f32" && cacheDtype === "f32" && !turnsByLength(model.config);
}

/** Names of the existing tensors that training will change. */
function trainedBefore({ model }: LanguageModel, { lora, adapter = "default" }: PolicyOptions): readonly string[] {
  if (!lora) return model.languageWeightNames;
  const known = model.adapters.get(adapter);
  return known ? adapterTensors(known) : [];
}

/**
 * Returns the held-out prompts of an evaluation: as many as fit into evalBatches micro-batches with all their answers,
 * and at least one.
 */
export function evaluatedPrompts(
  heldOut: readonly PolicyPrompt[],
  { evalBatches, perDeviceTrainBatchSize }: Pick<PolicyOptions, "evalBatches" | "perDeviceTrainBatchSize">,
  answersEach: number,
): readonly PolicyPrompt[] {
  if (evalBatches === undefined) return heldOut;
  return heldOut.slice(0, Math.max(1, Math.floor((evalBatches * perDeviceTrainBatchSize) / answersEach)));
}

/** Reports the mean length of answers, and the share of those that ended with an end token. */
export function lengthReport(drawn: readonly Pick<DrawnAnswer, "answer" | "ended">[]): Metrics {
  return {
    completionLength: mean(drawn.map(({ answer }) => answerLength(answer))),
    endedShare: drawn.filter(({ ended }) => ended).length / drawn.length,
  };
}
