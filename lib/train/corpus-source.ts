import { type Batch, type Corpus, openCorpus } from "../data/corpus.ts";
import type { CorpusTokenizer } from "../data/encode.ts";
import type { BatchSource } from "./trainer.ts";

export interface CorpusSourceOptions {
  data: string | readonly string[];
  evalData?: string | readonly string[] | undefined;
  /** Without evalData: the share of `data`'s documents that is held out instead. */
  evalFraction?: number | undefined;
  evalBatches?: number | undefined;
  documentSeparator?: string | undefined;
  textField?: string | undefined;
  perDeviceTrainBatchSize: number;
  seed: number;
}

/** Batches of raw text for the trainer, and the held-out ones of its evaluation. */
export async function corpusSource(
  options: CorpusSourceOptions,
  tokenizer: CorpusTokenizer,
  maxSeqLength: number,
  signal: AbortSignal | undefined,
): Promise<BatchSource<Batch>> {
  const { documentSeparator, textField, seed, evalFraction } = options;
  const shared = {
    tokenizer,
    maxSeqLength,
    batchSize: options.perDeviceTrainBatchSize,
    seed,
    ...(documentSeparator !== undefined && { documentSeparator }),
    ...(textField !== undefined && { textField }),
    ...(signal && { signal }),
  };
  const fraction = options.evalData === undefined && evalFraction ? { evalFraction } : {};
  const corpus = await openCorpus({ ...shared, files: options.data, split: "train", ...fraction });
  let heldOut: Corpus | undefined;
  if (options.evalData !== undefined) heldOut = await openCorpus({ ...shared, files: options.evalData });
  else if (evalFraction) heldOut = await openCorpus({ ...shared, files: options.data, split: "eval", evalFraction });
  const { evalBatches: maxBatches } = options;
  return {
    next: (s) => corpus.next(s ? { signal: s } : {}),
    state: () => corpus.state(),
    restore: (state) => corpus.restore(state as ReturnType<Corpus["state"]>),
    evaluation:
      heldOut && ((s) => heldOut.pass({ ...(maxBatches !== undefined && { maxBatches }), ...(s && { signal: s }) })),
    dispose() {
      corpus.dispose();
      heldOut?.dispose();
    },
  };
}
