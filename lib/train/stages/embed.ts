import { z } from "zod";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import { whole } from "../../core/schema-parts.ts";
import { noRowsError } from "../../data/rows.ts";
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import { embeddingSchema, embeddingWidths } from "../../formats/sentence-transformers/embedding-schema.ts";
import { embeddingLimit, embeddingOf, embeddings } from "../../language-model/embed/embed.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { dotProduct, retrieval, spearman } from "../../metrics/retrieval.ts";
import { embeddingLayerWeights } from "../../models/embedding-layers.ts";
import { trunkNames } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import {
  type ColumnPrompt,
  type ColumnPrompts,
  columnPrompts,
  textKey,
  trainingPromptsSchema,
} from "../examples/embed-prompts.ts";
import { readPairs, readScoredPairs, type ScoredPair } from "../examples/embed-rows.ts";
import { allKept, ExampleSource, splitExamples } from "../examples/example-source.ts";
import type { EmbedRow, ScoredRow } from "../examples/row-types.ts";
import { runStage, sequenceLengthFor, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import type { Metrics } from "../loop/stage.ts";
import { namesOf } from "../loop/stage-card.ts";
import { type StageCall, startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { contrastive, type PairExample } from "../losses/embed-loss.ts";
import { batchShape } from "../options/optimizer-options.ts";
import { type Given, option, variant } from "../options/option.ts";
import { type SharedOptions, sharedShape } from "../options/shared-options.ts";
import {
  type AdapterOptions,
  adapterShape,
  type CallOptions,
  type EpochOptions,
  epochShape,
  type HeldOutOptions,
  heldOutRows,
  heldOutShape,
  rows,
  stepsOf,
  trainingRows,
} from "../options/stage-options.ts";
import type { World } from "../world/world.ts";

const embedShape = {
  /**
   * Rows {anchor, positive}, or {anchor, positive, negative} with one hard negative or an array of them. Files (.jsonl, .parquet), or in a
   * program the rows.
   */
  data: trainingRows<EmbedRow>(
    ".jsonl or .parquet files of rows {anchor, positive}, optionally with negative: one or several hard negatives",
  ),
  /** Rows of the same kind that are never trained on. They measure recall@k. Default: none. */
  evalData: heldOutRows<EmbedRow>("evaluation rows for recall@k, never trained on"),
  /** Rows {sentence1, sentence2, score}. They measure the rank correlation of cosines and scores (Spearman). Default: none. */
  evalScores: option(
    rows<ScoredRow>().optional(),
    "rows {sentence1, sentence2, score} for the rank correlation of cosine similarities with scores",
  ),
  /** Number of pairs in one micro-batch. The other pairs' positives are an anchor's negatives. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "pairs per micro-batch; the other pairs of a batch are its negatives",
  }),
  /** Maximum number of tokens of a text, at most the default. Default: the model's `embedding.maxSeqLength`, or else its context. */
  maxSeqLength: variant(batchShape.maxSeqLength, whole(1).optional(), {
    help: "maximum tokens per text",
    otherwise: "the model's context length, or its embedding.maxSeqLength",
  }),
  /** How a text's hidden states are pooled, in one or several modes. Default: the model's own, or mean. */
  pooling: option(embeddingSchema.shape.pooling.unwrap().optional(), "pooling mode, or an array of several", {
    otherwise: "that of the model, or mean",
  }),
  /**
   * Prompts of anchors, documents and scored sentences: a text, or one of the model's `embedding.prompts` by its name,
   * `{ anchor: { promptName: "query" }, document: "passage: " }`. Pooling leaves the prompts out if the model's
   * `embedding.includePrompt` is false. Default: nothing, even if the model has a `defaultPromptName`.
   */
  prompts: option(
    trainingPromptsSchema.optional(),
    'prefix of texts: an object with anchor, document (positives and negatives) and sentence (evalScores), each a text or {"promptName": one of the model\'s prompts}',
    { otherwise: "nothing", recorded: false },
  ),
  /** Divisor of the cosines before the softmax over the batch. Default 0.05. */
  temperature: option(
    z.number().positive().max(100).default(0.05),
    "temperature of the softmax over cosine similarities",
  ),
  /**
   * Train both directions: the loss is the mean of anchors to positives and of positives to anchors, as in CLIP.
   * Default false.
   */
  symmetric: option(
    z.boolean().default(false),
    "average the loss from anchors to positives with the loss from positives to anchors",
  ),
  /** Keep the beginning of a text that is longer than maxSeqLength, instead of an error. Default false. */
  truncation: option(z.boolean().default(false), "cut long texts at the end instead of raising an error"),
};

/** The strict schema of the options, as in a configuration file. */
export const embedSchema = z.strictObject({
  ...sharedShape,
  ...epochShape,
  ...heldOutShape<EmbedRow>(),
  ...adapterShape,
  ...embedShape,
});

/** Options of `trainEmbedding`. */
export interface TrainEmbeddingOptions<Base = LanguageModel>
  extends Given<typeof embedShape>,
    SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<EmbedRow>,
    AdapterOptions,
    CallOptions {
  /**
   * The processes that train together. Each uses only the negatives of its micro-batch. Default: only this process.
   * @experimental
   */
  world?: World | undefined;
}

/** A model with a tokenizer that reports its special tokens, as embedding training needs. `LanguageModel` implements it. */
export interface TrainableEmbedder extends Trainable {
  /** The tokenizer, which encodes the texts and is saved with the weights. */
  readonly tokenizer?: (NonNullable<Trainable["tokenizer"]> & Pick<Tokenizer, "encode" | "closingCount">) | undefined;
}

/**
 * Trains a model to give matching texts similar vectors, by InfoNCE over cosines. An anchor's negatives are the other
 * positives of the micro-batch and all hard negatives, so larger batches teach more. A negative that is also correct is
 * left out of the loss: one that equals the anchor or its positive, or the positive of an equal anchor. Dense layers
 * after pooling are trained too. Afterwards `model.embed` uses the trained pooling, and the saved folder has its
 * configuration, also for sentence-transformers. The prompts of `prompts` are put before the texts. Without `prompts`,
 * texts are used unchanged.
 *
 * @throws HeddleError INVALID_FILE `file:line: …` for a row that cannot be used, INVALID_ARGUMENT, NUMERICAL, ABORTED
 * @example
 * await trainEmbedding(model, { data: "pairs.jsonl", evalFraction: 0.1, maxSteps: 500, perDeviceTrainBatchSize: 32 });
 * const [a, b] = await model.embed(["a red ball", "the ball is red"]);
 */
export function trainEmbedding<Base extends TrainableEmbedder>(
  base: Base,
  options: TrainEmbeddingOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "embed", schema: embedSchema }, options, start);
}

async function* start(
  base: TrainableEmbedder,
  options: z.output<typeof embedSchema>,
  call: StageCall,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "embed");
  const { model } = base;
  const { signal } = call;
  const { seed, truncation, perDeviceTrainBatchSize: pairs } = options;
  if (pairs < 2)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `perDeviceTrainBatchSize: expected at least 2 pairs to tell apart, got ${pairs}`,
    );
  const most = embeddingLimit({ model, contextLength: model.config.maxPositionEmbeddings });
  const limit = options.maxSeqLength === undefined ? most : sequenceLengthOf(model, options);
  // Training on longer texts would be useless, because the model never embeds them.
  if (limit > most) throw invalidArgument("maxSeqLength", `at most ${most}, the model's embedding.maxSeqLength`, limit);
  const lowercase = model.config.embedding?.lowercase ?? false;
  const prompts = columnPrompts(options.prompts, embeddingOf(model), tokenizer);
  const reading = { tokenizer, prompts, lowercase, maxLength: limit, truncation, signal };
  const all = await readPairs(options.data, { name: "data", ...reading });
  const split = splitExamples(allKept(all), options.evalData === undefined ? (options.evalFraction ?? 0) : 0);
  if (distinct(split.train.flatMap((p) => [p.positive, ...p.negatives])).documents.length < 2)
    throw noRowsError(options.data, "data", "at least two different positives to tell apart", "one text everywhere");
  const heldOut =
    options.evalData === undefined
      ? split.heldOut
      : await readPairs(options.evalData, { name: "evalData", ...reading });
  const scored =
    options.evalScores === undefined
      ? []
      : await readScoredPairs(options.evalScores, { name: "evalScores", ...reading });
  const { truncateDim, ...own } = embeddingOf(model);
  const embedding: EmbeddingConfig = { ...own, pooling: options.pooling ?? own.pooling, normalize: true };
  // With another pooling, vectors may be narrower than truncateDim, and are then not truncated.
  const width = embeddingWidths({ ...model.config, embedding }).at(-1)!;
  if (truncateDim !== undefined && truncateDim <= width) embedding.truncateDim = truncateDim;
  const examples = [...split.train, ...heldOut];
  const negatives = examples.reduce((most, e) => Math.max(most, e.negatives.length), 0);
  const sequenceLength = sequenceLengthFor(longestText(examples), limit);
  await call.preparation.change(() => model.setEmbedding(embedding));
  const stage = contrastive({
    width,
    pairs,
    negatives,
    pooling: embedding.pooling,
    prompts,
    temperature: options.temperature,
    symmetric: options.symmetric,
    sequenceLength,
    padTokenId: model.config.padTokenId ?? model.config.eosTokenIds[0] ?? 0,
  });
  const source = new ExampleSource(split.train, { heldOut, batchSize: pairs, seed, evalBatches: options.evalBatches });
  const card = {
    data: namesOf(options.data),
    notes: "It embeds texts. Related texts have vectors with a cosine near 1.",
    evaluation: { name: "held-out pairs", metric: "loss (nats per pair)" },
  };
  return yield* runStage(
    base,
    stage,
    source,
    { ...options, maxSteps: stepsOf(options, split.train.length, call.world) },
    {
      ...call,
      card,
      // Layers after pooling are small, so they are trained whole, also with `lora`.
      names: [...(options.lora ? [] : trunkNames(model.config)), ...embeddingLayerWeights(model.config).keys()],
      sequences: pairs * (2 + negatives),
      sequenceLength,
      finish: () => embeddingMetrics(model, heldOut, scored, { prompts, signal }),
    },
  );
}

/** Returns recall@k and MRR of anchors that search the held-out positives, and Spearman's correlation on scored pairs. */
async function embeddingMetrics(
  model: Model,
  pairs: readonly PairExample[],
  scored: readonly ScoredPair[],
  { prompts, signal }: { prompts: ColumnPrompts; signal: AbortSignal | undefined },
): Promise<Metrics> {
  const embed = (texts: readonly Uint32Array[], { unpooled }: ColumnPrompt) =>
    embeddings(model, texts, {
      contextLength: model.config.maxPositionEmbeddings,
      promptLengths: texts.map(unpooled),
      signal,
    });
  const metrics: Metrics = {};
  if (pairs.length > 0) {
    const { documents, relevant } = distinct(pairs.map((p) => p.positive));
    const [anchors, texts] = [
      await embed(
        pairs.map((p) => p.anchor),
        prompts.anchor,
      ),
      await embed(documents, prompts.document),
    ];
    const report = retrieval(anchors, texts, relevant, {
      others: correctDocuments(pairs, documents, relevant, prompts),
    });
    for (const [k, value] of Object.entries(report.recall)) metrics[`recallAt${k}`] = value;
    metrics.mrr = report.mrr;
  }
  if (scored.length > 1) {
    const first = await embed(
      scored.map((p) => p.first),
      prompts.sentence,
    );
    const second = await embed(
      scored.map((p) => p.second),
      prompts.sentence,
    );
    // NaN if all similarities are equal
    metrics.spearman = spearman(
      first.map((v, i) => dotProduct(v, second[i]!)),
      scored.map((p) => p.score),
    );
  }
  return metrics;
}

/**
 * Returns the documents that are correct for each pair: its positive, the positives of equal anchors, and a document
 * that equals the anchor.
 */
function correctDocuments(
  pairs: readonly PairExample[],
  documents: readonly Uint32Array[],
  relevant: readonly number[],
  prompts: ColumnPrompts,
): ReadonlySet<number>[] {
  const places = new Map(documents.map((ids, d) => [textKey(ids, prompts.document), d]));
  const correct = new Map<string, Set<number>>();
  for (const [i, { anchor }] of pairs.entries()) {
    const key = textKey(anchor, prompts.anchor);
    if (!correct.has(key)) correct.set(key, new Set(places.has(key) ? [places.get(key)!] : []));
    correct.get(key)!.add(relevant[i]!);
  }
  return pairs.map(({ anchor }) => correct.get(textKey(anchor, prompts.anchor))!);
}

/** Removes duplicate texts. @returns the distinct texts, and the index of each given text among them */
function distinct(texts: readonly Uint32Array[]): { documents: Uint32Array[]; relevant: number[] } {
  const places = new Map<string, number>();
  const documents: Uint32Array[] = [];
  const relevant = texts.map((ids) => {
    const key = ids.join(",");
    const known = places.get(key);
    if (known !== undefined) return known;
    places.set(key, documents.length);
    return documents.push(ids) - 1;
  });
  return { documents, relevant };
}

function longestText(examples: readonly PairExample[]): number {
  let most = 1;
  for (const { anchor, positive, negatives } of examples)
    most = Math.max(most, anchor.length, positive.length, ...negatives.map((n) => n.length));
  return most;
}
