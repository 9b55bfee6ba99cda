// Pools the texts of a training micro-batch. They are stored one after the other, padded to the same length. Padding is never pooled.
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import { poolingModes } from "../../formats/sentence-transformers/embedding-schema.ts";
import {
  cast,
  concat,
  gatherRows,
  input,
  linear,
  minimum,
  reshape,
  scale,
  split,
  type Value,
} from "../../graph/index.ts";
import { poolWeights } from "../../inference/pooling.ts";
import type { PaddedShape } from "./classify-loss.ts";

type Pooling = EmbeddingConfig["pooling"];

/** Whether a mode reads rows by index. Other modes read the weight of each row in a sum. */
const readsRows = (mode: string) => mode === "first" || mode === "last" || mode === "max";

/**
 * Pools the hidden states of a micro-batch's texts. The inputs `rows.<mode>` (texts; texts · length for `max`) hold row indices, and
 * `pool.<mode>` (texts, rows) hold each row's weight.
 * @param hidden (texts · length, width) @returns (texts, modes · width) f32
 */
export function pooledTexts(hidden: Value, pooling: Pooling, { sequences, sequenceLength }: PaddedShape): Value {
  const parts = poolingModes(pooling).map((mode) => {
    if (!readsRows(mode)) {
      const weights = input(`pool.${mode}`, "f32", [sequences, hidden.dim(0)]);
      return linear(weights, cast(hidden, "f32"), undefined, { transposed: true });
    }
    const count = mode === "max" ? sequences * sequenceLength : sequences;
    const rows = cast(gatherRows(hidden, input(`rows.${mode}`, "i32", [count])), "f32");
    return mode === "max" ? largest(rows, sequences, sequenceLength) : rows;
  });
  return parts.length === 1 ? parts[0]! : concat(parts);
}

/**
 * Returns the maximum of each dimension over the tokens of a text. Halves the number of tokens repeatedly. `maximum` would negate in each
 * of these steps, because max(a, b) = −min(−a, −b). So negate only before the first and after the last step.
 * @param rows (texts · length, width) @returns (texts, width)
 */
function largest(rows: Value, texts: number, length: number): Value {
  const width = rows.last;
  let left = reshape(scale(rows, -1), [texts, length * width]);
  for (let n = length; n > 1; n = Math.ceil(n / 2)) {
    const half = Math.floor(n / 2) * width;
    const [a, b, odd] = split(left, n % 2 === 0 ? [half, half] : [half, half, width]);
    const less = minimum(a!, b!);
    left = odd ? concat([less, odd]) : less;
  }
  return scale(left, -1);
}

/**
 * Builds the inputs of `pooledTexts`. The first `from` tokens of a text belong to its prompt, and are not pooled. Mode
 * "first" reads the first token even then.
 */
export function textPoolingInputs(
  texts: readonly { ids: ArrayLike<number>; from: number }[],
  pooling: Pooling,
  { sequences, sequenceLength }: PaddedShape,
): Record<string, Int32Array | Float32Array> {
  const lengthOf = (s: number) => texts[s]?.ids.length ?? 1;
  const fromOf = (s: number) => texts[s]?.from ?? 0;
  const inputs: Record<string, Int32Array | Float32Array> = {};
  for (const mode of poolingModes(pooling)) {
    if (mode === "first" || mode === "last") {
      const place = (s: number) => (mode === "last" ? lengthOf(s) - 1 : 0);
      inputs[`rows.${mode}`] = Int32Array.from({ length: sequences }, (_, s) => s * sequenceLength + place(s));
    } else if (mode === "max") {
      // Repeat the last token for padding and unpooled tokens. The gradient stays exact: `minimum` splits it between equal
      // values, so the copies of the last token together get all of it.
      inputs["rows.max"] = Int32Array.from({ length: sequences * sequenceLength }, (_, i) => {
        const s = Math.floor(i / sequenceLength);
        const token = i % sequenceLength;
        return s * sequenceLength + (token < fromOf(s) ? lengthOf(s) - 1 : Math.min(token, lengthOf(s) - 1));
      });
    } else {
      const rows = sequences * sequenceLength;
      const pool = new Float32Array(sequences * rows);
      for (const [s, { ids, from }] of texts.entries())
        pool.set(poolWeights(mode, ids.length, from), s * rows + s * sequenceLength);
      inputs[`pool.${mode}`] = pool;
    }
  }
  return inputs;
}
