import { invalidArgument } from "../../core/errors.ts";
import { isStrings } from "../../core/is-iterable.ts";
import {
  type Batch,
  type Corpus,
  type CorpusOptions,
  MAX_BATCH_TOKENS,
  openCorpus,
  type Packing,
} from "../../data/corpus.ts";
import type { CorpusTokenizer } from "../../data/encode.ts";
import { type MixturePart, openMixture } from "../../data/mixture.ts";
import type { BatchSource } from "../loop/trainer.ts";
import { needFiles } from "../options/assert-files-exist.ts";
import type { CorpusPart } from "../options/text-data.ts";

/** Files of one corpus, or several corpora with weights. */
export type CorpusData = string | readonly string[] | readonly CorpusPart[];

interface CorpusSourceOptions {
  data: CorpusData;
  evalData?: CorpusData | undefined;
  /** Without evalData: the share of `data`'s documents that is held out. */
  evalFraction?: number | undefined;
  evalBatches?: number | undefined;
  documentSeparator?: string | undefined;
  textField?: string | undefined;
  packing?: Packing | undefined;
  perDeviceTrainBatchSize: number;
  seed: number;
}

const KINDS = "text, .jsonl, .parquet, .tokens, or a folder of .tokens files";

/**
 * Opens batches of raw text for the trainer, and held-out batches for its evaluation.
 * @param where name of the option that contains these options, for messages. Default: none
 * @throws HeddleError NOT_FOUND `data: expected paths of files …`, INVALID_ARGUMENT for a batch that is too large, and
 * errors of opening a corpus
 */
export async function corpusSource(
  options: CorpusSourceOptions,
  tokenizer: CorpusTokenizer,
  maxSeqLength: number,
  signal: AbortSignal | undefined,
  where?: string,
): Promise<BatchSource<Batch>> {
  const named = (option: string) => (where === undefined ? option : `${where}.${option}`);
  await needFiles(filesOf(options.data), named("data"), KINDS);
  if (options.evalData !== undefined) await needFiles(filesOf(options.evalData), named("evalData"), KINDS);
  const tokens = options.perDeviceTrainBatchSize * maxSeqLength;
  if (tokens > MAX_BATCH_TOKENS)
    throw invalidArgument(named("perDeviceTrainBatchSize"), "at most 2^28 tokens a micro-batch", tokens);
  const { documentSeparator, textField, seed, evalFraction, packing } = options;
  const shared = {
    tokenizer,
    maxSeqLength,
    batchSize: options.perDeviceTrainBatchSize,
    seed,
    ...(documentSeparator !== undefined && { documentSeparator }),
    ...(textField !== undefined && { textField }),
    ...(packing !== undefined && { packing }),
    ...(signal && { signal }),
  };
  const fraction = options.evalData === undefined && evalFraction ? { evalFraction } : {};
  const corpus = await open(options.data, { ...shared, split: "train", ...fraction });
  let heldOut: Corpus<unknown> | undefined;
  try {
    if (options.evalData !== undefined) heldOut = await open(options.evalData, shared);
    else if (evalFraction) heldOut = await open(options.data, { ...shared, split: "eval", evalFraction });
  } catch (error) {
    corpus.dispose();
    throw error;
  }
  const { evalBatches: maxBatches } = options;
  return {
    next: (s) => corpus.next(s ? { signal: s } : {}),
    skip: (s) => corpus.skip(s ? { signal: s } : {}),
    state: () => corpus.state(),
    restore: (state) => corpus.restore(state),
    evaluation:
      heldOut && ((s) => heldOut.pass({ ...(maxBatches !== undefined && { maxBatches }), ...(s && { signal: s }) })),
    dispose() {
      corpus.dispose();
      heldOut?.dispose();
    },
  };
}

/** Opens one corpus, or a mixture. The state's type is unknown, because the two have different states. */
async function open(data: CorpusData, options: Omit<CorpusOptions, "files">): Promise<Corpus<unknown>> {
  if (typeof data === "string" || isStrings(data)) return await openCorpus({ ...options, files: data });
  const parts = (data as readonly CorpusPart[]).map(
    ({ data: files, weight, documentSeparator, textField }): MixturePart => {
      const separator = documentSeparator ?? options.documentSeparator;
      const field = textField ?? options.textField;
      return {
        files,
        ...(weight !== undefined && { weight }),
        ...(separator !== undefined && { documentSeparator: separator }),
        ...(field !== undefined && { textField: field }),
      };
    },
  );
  const { documentSeparator: _, textField: __, ...rest } = options;
  return await openMixture({ ...rest, parts });
}

/** Returns all files of the corpora. */
export function filesOf(data: CorpusData): readonly string[] {
  if (typeof data === "string") return [data];
  return data.flatMap((one) => (typeof one === "string" ? one : one.data));
}
