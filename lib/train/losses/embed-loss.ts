import type { EmbeddingConfig } from "../../formats/config/config.ts";
import {
  add,
  concat,
  gatherRows,
  input,
  mul,
  rmsNorm,
  scale,
  sum,
  tokenLogprob,
  type Value,
} from "../../graph/index.ts";
import { embeddingLayers } from "../../models/embedding-layers.ts";
import { type ColumnPrompts, NO_PROMPT, textKey } from "../examples/embed-prompts.ts";
import type { Metrics, Stage } from "../loop/stage.ts";
import { type PaddedShape, paddedDocuments, paddedIds, paddingMask } from "./classify-loss.ts";
import { pooledTexts, textPoolingInputs } from "./embed-pooling.ts";

/** A pair of matching texts, and texts that do not match. */
export interface PairExample {
  anchor: Uint32Array;
  positive: Uint32Array;
  /** Hard negatives: texts that resemble the anchor but do not match it. */
  negatives: readonly Uint32Array[];
}

interface ContrastiveOptions extends Omit<PaddedShape, "sequences"> {
  /** Length of a vector: the pooled hidden states, or the output of the embedding layers. */
  width: number;
  /** Number of pairs in a micro-batch, which has pairs · (2 + negatives) sequences. */
  pairs: number;
  /** Maximum number of hard negatives of a pair. */
  negatives: number;
  pooling: EmbeddingConfig["pooling"];
  /** Prompts of anchors and of documents. Default: none. */
  prompts?: Pick<ColumnPrompts, "anchor" | "document"> | undefined;
  /** Divisor of the cosines. */
  temperature: number;
  /**
   * Whether the loss is the mean of both directions, anchor to positive and positive to anchor, as in CLIP. Otherwise
   * it has only the first direction.
   */
  symmetric: boolean;
}

/** Added to a masked candidate's cosine. It is so far below any cosine that the candidate's probability is 0. */
const MASKED = -1e4;
const NO_PROMPTS = { anchor: NO_PROMPT, document: NO_PROMPT };

/**
 * Masks an anchor's candidates that must not count as negatives: missing ones, and other correct ones. A text is correct if it equals the
 * anchor, its positive, or the positive of an equal anchor, ignoring prompts. The anchor's own hard negatives are masked only if they are
 * missing or equal its positive.
 * @returns (pairs, pairs · (1 + negatives)): 0, or MASKED. Candidates are all positives, then each pair's negatives.
 */
export function candidateMask(
  batch: readonly PairExample[],
  { pairs, negatives, prompts = NO_PROMPTS }: Pick<ContrastiveOptions, "pairs" | "negatives" | "prompts">,
): Float32Array {
  const candidates = pairs * (1 + negatives);
  const pairOf = (c: number) => (c < pairs ? c : Math.floor((c - pairs) / negatives));
  const key = (ids: Uint32Array | undefined) => ids && textKey(ids, prompts.document);
  const anchors = batch.map((p) => textKey(p.anchor, prompts.anchor));
  const texts = Array.from({ length: candidates }, (_, c) => {
    const pair = batch[pairOf(c)];
    return key(c < pairs ? pair?.positive : pair?.negatives[(c - pairs) % negatives]);
  });
  const correct = new Map(anchors.map((anchor) => [anchor, new Set<string | undefined>([anchor])]));
  for (const [a, anchor] of anchors.entries()) correct.get(anchor)!.add(texts[a]);
  const places = new Map<string | undefined, number[]>();
  for (const [c, text] of texts.entries()) {
    const known = places.get(text);
    if (known) known.push(c);
    else places.set(text, [c]);
  }
  const mask = new Float32Array(pairs * candidates);
  mask.fill(MASKED, batch.length * candidates);
  for (const [a, anchor] of anchors.entries())
    for (const text of [undefined, ...correct.get(anchor)!])
      for (const c of places.get(text) ?? []) {
        const isOwnNegative = c >= pairs && pairOf(c) === a;
        if (c !== a && !(isOwnNegative && text !== undefined && text !== texts[a])) mask[a * candidates + c] = MASKED;
      }
  return mask;
}

/** @param x (rows, columns) */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = x[r * columns + c]!;
  return out;
}

/**
 * InfoNCE over cosine similarities (van den Oord et al. 2018). Each anchor has to find its positive among all positives and hard negatives
 * of the micro-batch, without those that candidateMask masks. `tokenLogprob` computes the loss, with anchors as hidden states and
 * candidates as the vocabulary.
 */
export function contrastive(options: ContrastiveOptions): Stage<PairExample[]> {
  const { width, pairs, negatives, temperature, pooling, symmetric, prompts = NO_PROMPTS } = options;
  const candidates = pairs * (1 + negatives);
  const shape = { ...options, sequences: pairs + candidates };
  /** Anchors, then positives, then each pair's negatives. Missing texts are padding that the mask excludes. */
  const sequencesOf = (batch: readonly PairExample[]) => {
    const none = { ids: new Uint32Array([options.padTokenId]), from: 0 };
    const text = (ids: Uint32Array | undefined, column: "anchor" | "document") =>
      ids ? { ids, from: prompts[column].unpooled(ids) } : none;
    const padded = Array.from({ length: pairs }, (_, i) => batch[i]);
    return [
      ...padded.map((p) => text(p?.anchor, "anchor")),
      ...padded.map((p) => text(p?.positive, "document")),
      ...padded.flatMap((p) => Array.from({ length: negatives }, (_, n) => text(p?.negatives[n], "document"))),
    ];
  };
  return {
    name: "embed",
    count: (batch) => batch.length,
    collate(batch, total) {
      const sequences = sequencesOf(batch);
      const mask = candidateMask(batch, options);
      const targets = Int32Array.from({ length: pairs }, (_, i) => (i < batch.length ? i : -1));
      const tokens = batch.reduce(
        (n, p) => n + p.anchor.length + p.positive.length + p.negatives.reduce((m, x) => m + x.length, 0),
        0,
      );
      return {
        inputs: {
          ids: paddedIds(sequences, shape),
          documents: paddedDocuments(sequences, shape),
          ...textPoolingInputs(sequences, pooling, shape),
          targets,
          pairWeights: new Float32Array(pairs).fill(1 / (total * (symmetric ? 2 : 1))),
          mask: transposed(mask, pairs, candidates),
          unit: Float32Array.from({ length: pairs * pairs }, (_, i) => (i % (pairs + 1) === 0 ? 1 : 0)),
          unitScale: new Float32Array(width).fill(1 / Math.sqrt(width)),
          anchorRows: Int32Array.from({ length: pairs }, (_, i) => i),
          candidateRows: Int32Array.from({ length: candidates }, (_, i) => pairs + i),
          ...(symmetric && {
            positiveRows: Int32Array.from({ length: pairs }, (_, i) => pairs + i),
            // In the loss from positives to anchors, the anchors are the candidates, so this mask has a row for each
            // anchor.
            anchorMask: Float32Array.from({ length: pairs * pairs }, (_, i) => {
              const [anchor, positive] = [Math.floor(i / pairs), i % pairs];
              return mask[anchor * candidates + positive]!;
            }),
          }),
        },
        tokens,
        counted: batch.length,
      };
    },
    loss({ forward, model, rows: all }) {
      const pass = forward({ documents: paddingMask(all) });
      const made = embeddingLayers(pass, model.config, pooledTexts(pass.hidden, pooling, shape));
      const pooled = normalizedRows(made, width);
      const rows = (name: string, count: number) => gatherRows(pooled, input(name, "i32", [count]));
      const unit = input("unit", "f32", [pairs, pairs]);
      const targets = input("targets", "i32", [pairs]);
      const weights = input("pairWeights", "f32", [pairs]);
      const nll = (from: Value, to: Value) => {
        const { logprob } = tokenLogprob(from, to, targets, { scale: 1 / temperature });
        return scale(sum(mul(logprob, weights)), -1);
      };
      const anchors = rows("anchorRows", pairs);
      // Append a one-hot vector to each anchor. Append to each candidate its mask values for all anchors. The dot product
      // is then the similarity plus the mask.
      const mask = input("mask", "f32", [candidates, pairs]);
      const forwards = nll(concat([anchors, unit]), concat([rows("candidateRows", candidates), mask]));
      if (!symmetric) return { loss: forwards, vectors: pooled };
      const anchorMask = input("anchorMask", "f32", [pairs, pairs]);
      const backwards = nll(concat([rows("positiveRows", pairs), unit]), concat([anchors, anchorMask]));
      return { loss: add(forwards, backwards), vectors: pooled };
    },
    metrics(outputs, batches): Metrics {
      let found = 0;
      let count = 0;
      for (const [i, batch] of batches.entries()) {
        const vectors = outputs[i]!.vectors as Float32Array;
        const row = (r: number) => vectors.subarray(r * width, (r + 1) * width);
        const mask = candidateMask(batch, options);
        for (let a = 0; a < batch.length; a++) {
          const own = dot(row(a), row(pairs + a));
          const maskOfAnchor = mask.subarray(a * candidates, (a + 1) * candidates);
          const best = maskOfAnchor.every((m, c) => m < 0 || c === a || dot(row(a), row(pairs + c)) < own);
          if (best) found += 1;
          count += 1;
        }
      }
      return count > 0 ? { inBatchAccuracy: found / count } : {};
    },
  };
}

/** Scales each row to length 1: RMS norm with weight 1/√width. @param x (rows, width) f32 */
export function normalizedRows(x: Value, width: number): Value {
  return rmsNorm(x, input("unitScale", "f32", [width]), { eps: 1e-12 }).y;
}

function dot(a: Float32Array, b: Float32Array): number {
  let n = 0;
  for (let i = 0; i < a.length; i++) n += a[i]! * b[i]!;
  return n;
}
