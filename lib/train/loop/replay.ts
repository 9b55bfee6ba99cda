import { HeddleError } from "../../core/errors.ts";
import type { CorpusTokenizer } from "../../data/encode.ts";
import { corpusSource } from "../examples/corpus-source.ts";
import { readSftExamples } from "../examples/sft-data.ts";
import type { SftTokenizer } from "../examples/sft-rows.ts";
import { SftSource } from "../examples/sft-source.ts";
import { languageModeling } from "../losses/language-modeling.ts";
import { supervised } from "../losses/supervised.ts";
import type { TrainingOptions } from "../options/parse-options.ts";
import type { Stage } from "./stage.ts";
import type { Replay } from "./step.ts";
import type { BatchSource } from "./trainer.ts";
import { emitWarning } from "./warn.ts";

/** A replay with the source of its batches. */
export type OpenReplay = Replay & { source: BatchSource<unknown> };

/**
 * Opens batches of an earlier stage for every step of a later stage: raw text of pre-training, or packed rows of
 * supervised fine-tuning with a loss on the answers alone.
 * @param sequenceLength number of positions of a sequence
 * @throws HeddleError INVALID_ARGUMENT, INVALID_FILE `file:line: …` for a row
 */
export async function openReplay(
  replay: NonNullable<TrainingOptions["replay"]>,
  tokenizer: CorpusTokenizer,
  sequenceLength: number,
  options: TrainingOptions,
  signal: AbortSignal | undefined,
): Promise<OpenReplay> {
  const { seed, dtype, fp8, gradientCheckpointing } = options;
  const sequences = replay.perDeviceTrainBatchSize ?? options.perDeviceTrainBatchSize;
  const shape = { sequences, sequenceLength, dtype, fp8, gradientCheckpointing };
  const { data, weight, documentSeparator, textField } = replay;
  // The casts are safe, because a source and its stage have the same type of batch, and the trainer only passes batches
  // on.
  if (replay.stage === "pretrain") {
    const text = { data, documentSeparator, textField, perDeviceTrainBatchSize: sequences, seed };
    const source = await corpusSource(text, tokenizer, sequenceLength, signal, "replay");
    return { stage: languageModeling as Stage<unknown>, shape, weight, source };
  }
  const given = typeof data === "string" ? [data] : data;
  const files = given.filter((file) => typeof file === "string");
  const ofText = documentSeparator === undefined ? textField && "textField" : "documentSeparator";
  if (ofText) throw new HeddleError("INVALID_ARGUMENT", `replay.${ofText}: cannot be combined with stage "sft"`);
  if (files.length < given.length)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      'replay.data: expected paths of files of rows with stage "sft", got corpora with weights',
    );
  if (!canChat(tokenizer))
    throw new HeddleError("INVALID_ARGUMENT", "replay: expected a tokenizer with chat templates, got one without");
  const { examples } = await readSftExamples(files, tokenizer, {
    name: "replay",
    signal,
    maxSeqLength: sequenceLength,
    truncationMode: "error",
    assistantOnlyLoss: true,
    completionOnlyLoss: true,
    warn: emitWarning,
  });
  const source = new SftSource(examples, { batchSize: sequences, sequenceLength, packing: true, seed });
  return { stage: supervised as Stage<unknown>, shape, weight, source };
}

function canChat(tokenizer: object): tokenizer is SftTokenizer {
  return "applyChatTemplateWithMask" in tokenizer && "applyChatTemplate" in tokenizer;
}
