import { needDim, needDType, needNames, needNumber } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { TensorType, Value } from "../value.ts";

/** The columns of the `params` operand of `sample`, in order. */
export const SAMPLE_PARAMS = [
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "frequencyPenalty",
  "promptLength",
  "historyLength",
] as const;

const sampleNode = defineOp({
  name: "sample",
  infer([logits, params, history, biasIds, biasValues, rng], _, [wanted]) {
    const rows = needDType("sample", "logits", logits, "f32", 2).dim(0);
    const pairs = [
      ["params", params, "f32"],
      ["history", history, "i32"],
      ["bias ids", biasIds, "i32"],
      ["bias values", biasValues, "f32"],
      ["rng", rng, "i32"],
    ] as const;
    for (const [name, value, dtype] of pairs)
      needDim("sample", `rows of ${name}`, needDType("sample", name, value, dtype, 2).dim(0), rows);
    needDim("sample", "columns of params", params!.dim(1), SAMPLE_PARAMS.length);
    needDim("sample", "columns of rng", rng!.dim(1), 3);
    needDim("sample", "bias values", biasValues!.dim(1), biasIds!.dim(1));
    const perRow: TensorType[] = [
      { dtype: "i32", shape: [rows] },
      { dtype: "f32", shape: [rows] },
    ];
    const top = wanted!.shape[0] as number;
    if (top > 0)
      perRow.push(
        { dtype: "i32", shape: [rows, top] },
        { dtype: "f32", shape: [rows, top] },
        { dtype: "f32", shape: [rows] },
      );
    return perRow;
  },
});

const OPERANDS = ["logits", "params", "history", "biasIds", "biasValues", "rng"] as const;

/**
 * Samples one token per row. It applies, in this order: logit bias; repetition, presence and frequency penalty; temperature (0 is greedy,
 * and ties go to the lowest id); top-k; top-p; min-p. The random number depends on (seed, counter) alone (Philox 4×32-10, Salmon et al.
 * 2011).
 * @param operands.logits (rows, vocabulary) f32 @param operands.params (rows, 9) f32, see SAMPLE_PARAMS
 * @param operands.history (rows, length) i32: prompt and generated ids @param operands.biasIds (rows, count) i32; −1 marks an unused
 * entry
 * @param operands.rng (rows, 3) i32: seed low, seed high, counter
 * @returns token (rows) i32, and its logprob (rows) f32 under the softmax of the unmodified logits. If `top` is above 0, also the `top` most
 * likely ids with their logprobs, (rows, top), and the entropy of this softmax in nats, (rows) f32
 */
export function sample(
  operands: { logits: Value; params: Value; history: Value; biasIds: Value; biasValues: Value; rng: Value },
  options: { top?: number | undefined } = {},
): { token: Value; logprob: Value; topIds?: Value; topLogprobs?: Value; entropy?: Value } {
  const { logits, params, history, biasIds, biasValues, rng } = needNames("sample: operands", operands, OPERANDS);
  const { top = 0 } = needNames("sample: options", options, ["top"]);
  needNumber("sample: top", top);
  const wanted: TensorType = { dtype: "i32", shape: [top] };
  const operandsInOrder = [logits, params, history, biasIds, biasValues, rng];
  const [token, logprob, topIds, topLogprobs, entropy] = sampleNode(operandsInOrder, {}, [wanted]);
  return {
    token: token!,
    logprob: logprob!,
    ...(topIds && topLogprobs && entropy && { topIds, topLogprobs, entropy }),
  };
}
