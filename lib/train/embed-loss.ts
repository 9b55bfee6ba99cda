import type { EmbeddingConfig } from "../formats/config.ts";
import { add, concat, gatherRows, input, mul, rmsNorm, scale, sum, tokenLogprob, type Value } from "../graph/index.ts";
import {
  type PaddedShape,
  paddedDocuments,
  paddedIds,
  paddingMask,
  pooledRows,
  poolingInputs,
} from "./classify-loss.ts";
import type { Metrics, Stage } from "./stage.ts";

/** Texts that belong together, and some that do not. */
export interface PairExample {
  anchor: Uint32Array;
  positive: Uint32Array;
  /** Texts that are like the anchor and yet wrong. */
  negatives: readonly Uint32Array[];
}

export interface ContrastiveOptions extends Omit<PaddedShape, "sequences"> {
  /** Of the hidden states. */
  width: number;
  /** Pairs of a micro-batch; it has pairs · (2 + negatives) sequences. */
  pairs: number;
  /** Hard negatives of a pair at most. */
  negatives: number;
  pooling: EmbeddingConfig["pooling"];
  /** Divides the cosines. */
  temperature: number;
  /** Also from the positive to its anchor among the anchors, as CLIP does. */
  symmetric: boolean;
}

/** What a masked candidate's similarity is lowered by: beyond any cosine, so that its probability is zero. */
const MASKED = -1e4;

/**
 * InfoNCE over cosine similarities (van den Oord et al. 2018): each anchor has to find its positive among all positives and hard
 * negatives of the micro-batch. The similarities are the logits of tokenLogprob, whose vocabulary is the candidates.
 */
export function contrastive(options: ContrastiveOptions): Stage<PairExample[]> {
  const { width, pairs, negatives, temperature, pooling, symmetric } = options;
  const candidates = pairs * (1 + negatives);
  const shape = { ...options, sequences: pairs + candidates };
  /** Anchors, then positives, then each pair's negatives; what is missing is a text of padding that no one may choose. */
  const sequencesOf = (batch: readonly PairExample[]) => {
    const none = new Uint32Array([options.padTokenId]);
    const padded = Array.from({ length: pairs }, (_, i) => batch[i]);
    return [
      ...padded.map((p) => p?.anchor ?? none),
      ...padded.map((p) => p?.positive ?? none),
      ...padded.flatMap((p) => Array.from({ length: negatives }, (_, n) => p?.negatives[n] ?? none)),
    ].map((ids) => ({ ids }));
  };
  const maskOf = (batch: readonly PairExample[]) =>
    Float32Array.from({ length: candidates }, (_, c) => {
      const present =
        c < pairs ? batch[c] : batch[Math.floor((c - pairs) / negatives)]?.negatives[(c - pairs) % negatives];
      return present ? 0 : MASKED;
    });
  return {
    name: "embed",
    count: (batch) => batch.length,
    collate(batch, total) {
      const sequences = sequencesOf(batch);
      const targets = Int32Array.from({ length: pairs }, (_, i) => (i < batch.length ? i : -1));
      const tokens = batch.reduce(
        (n, p) => n + p.anchor.length + p.positive.length + p.negatives.reduce((m, x) => m + x.length, 0),
        0,
      );
      return {
        inputs: {
          ids: paddedIds(sequences, shape),
          documents: paddedDocuments(sequences, shape),
          ...poolingInputs(sequences, pooling, shape),
          targets,
          pairWeights: new Float32Array(pairs).fill(1 / (total * (symmetric ? 2 : 1))),
          mask: maskOf(batch),
          ones: new Float32Array(pairs).fill(1),
          unitScale: new Float32Array(width).fill(1 / Math.sqrt(width)),
          anchorRows: Int32Array.from({ length: pairs }, (_, i) => i),
          candidateRows: Int32Array.from({ length: candidates }, (_, i) => pairs + i),
          ...(symmetric && { positiveRows: Int32Array.from({ length: pairs }, (_, i) => pairs + i) }),
        },
        tokens,
        counted: batch.length,
      };
    },
    loss({ forward, rows: all }) {
      const { hidden } = forward({ documents: paddingMask(all) });
      const pooled = normalised(pooledRows(hidden, pooling, shape.sequences), width);
      const rows = (name: string, count: number) => gatherRows(pooled, input(name, "i32", [count]));
      const ones = input("ones", "f32", [pairs, 1]);
      const mask = input("mask", "f32", [candidates, 1]);
      const targets = input("targets", "i32", [pairs]);
      const weights = input("pairWeights", "f32", [pairs]);
      const nll = (from: Value, to: Value) => {
        const { logprob } = tokenLogprob(from, to, targets, { scale: 1 / temperature });
        return scale(sum(mul(logprob, weights)), -1);
      };
      const anchors = rows("anchorRows", pairs);
      // A further column adds the mask to every similarity with a candidate.
      const forwards = nll(concat([anchors, ones]), concat([rows("candidateRows", candidates), mask]));
      if (!symmetric) return { loss: forwards, vectors: pooled };
      const present = gatherRows(mask, input("anchorRows", "i32", [pairs]));
      const backwards = nll(concat([rows("positiveRows", pairs), ones]), concat([anchors, present]));
      return { loss: add(forwards, backwards), vectors: pooled };
    },
    metrics(outputs, batches): Metrics {
      let found = 0;
      let count = 0;
      for (const [i, batch] of batches.entries()) {
        const vectors = outputs[i]!.vectors as Float32Array;
        const row = (r: number) => vectors.subarray(r * width, (r + 1) * width);
        const mask = maskOf(batch);
        for (let a = 0; a < batch.length; a++) {
          const own = dot(row(a), row(pairs + a));
          const best = mask.every((m, c) => m < 0 || c === a || dot(row(a), row(pairs + c)) < own);
          if (best) found += 1;
          count += 1;
        }
      }
      return count > 0 ? { inBatchAccuracy: found / count } : {};
    },
  };
}

/** Each row divided by its length: a root-mean-square norm whose weight is 1/√width. @param x (rows, width) f32 */
export function normalised(x: Value, width: number): Value {
  return rmsNorm(x, input("unitScale", "f32", [width]), { eps: 1e-12 }).y;
}

function dot(a: Float32Array, b: Float32Array): number {
  let n = 0;
  for (let i = 0; i < a.length; i++) n += a[i]! * b[i]!;
  return n;
}
