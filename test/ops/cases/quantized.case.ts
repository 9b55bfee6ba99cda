// Ops over quantized weights: every type, for shapes that select the kernels of decoding, batches and prompts.
import { BLOCK_TYPES, type QuantizedDType } from "../../../lib/graph/dtype.ts";
import { activationTypes, bf16, f32, float, i32, type OpCase, type OpFile, out, quantizedTypes } from "../harness.ts";

const weight = (dtype: QuantizedDType, shape: readonly number[]) => ({ dtype, shape });

/** rows, blocks of 32 or 256 inputs, outputs: around the widths of every register tile. */
const shapes = [
  [1, 1, 5],
  [1, 3, 67],
  [2, 2, 16],
  [3, 1, 33],
  [5, 5, 40],
  [9, 3, 19],
  [33, 2, 47],
  [70, 3, 130],
] as const;

const linears: OpCase[] = quantizedTypes.flatMap((w) =>
  shapes.flatMap(([n, blocks, m]) =>
    [0, 1].flatMap((int8) =>
      activationTypes.map((x) => {
        const k = blocks * BLOCK_TYPES[w].elements;
        return {
          op: "linear",
          label: `${x} (${n}, ${k}) · ${w} to ${m}${int8 ? ", activations in 8 bits" : ""}`,
          inputs: [float(x, [n, k]), weight(w, [m, k]), m % 2 ? f32([m]) : undefined],
          attributes: { transposed: 0, int8 },
          ...(int8 && { alternative: { transposed: 0, int8: 0, bf16: 2 } }),
          outputs: [out(x, n, m)],
          ...(n > 1 ? { symbolic: n } : {}),
        };
      }),
    ),
  ),
);

/** Products of many bf16 rows. CUDA kernels decode the weights for tensor cores, in several strips of columns where the sizes are large. */
const manyRows: OpCase[] = quantizedTypes.flatMap((w) => {
  const { elements } = BLOCK_TYPES[w];
  const k = elements === 32 ? 160 : 256; // with 32 elements per block, not a multiple of a tile's 64
  return activationTypes.flatMap((y) => [
    {
      op: "linear",
      label: `bf16 (70, ${k}) · ${w} to 200 in ${y}`,
      inputs: [bf16([70, k]), weight(w, [200, k]), f32([200])],
      attributes: { transposed: 0 },
      outputs: [out(y, 70, 200)],
      symbolic: 70,
    },
    {
      op: "linear_backward_input",
      label: `bf16 (70, ${k}) from 520, ${w}, in ${y}`,
      inputs: [bf16([70, 520]), weight(w, [520, k])],
      attributes: { transposed: 0 },
      outputs: [out(y, 70, k)],
    },
  ]);
});

const others: OpCase[] = quantizedTypes.flatMap((w) => {
  const k = 3 * BLOCK_TYPES[w].elements;
  return [
    ...[1, 4, 37].map((n) => ({
      op: "linear_backward_input",
      label: `f32 (${n}, ${k}) from 45, ${w}`,
      inputs: [f32([n, 45]), weight(w, [45, k])],
      attributes: { transposed: 0 },
      outputs: [out("f32", n, k)],
    })),
    ...activationTypes.map((y) => ({
      op: "embedding",
      label: `${w} table to ${y}`,
      inputs: [weight(w, [21, k]), i32([13], 0, 21)],
      attributes: { scale: 1.5 },
      outputs: [out(y, 13, k)],
      symbolic: 13,
    })),
    {
      op: "token_logprob",
      label: w,
      inputs: [f32([7, k], -0.1, 0.1), weight(w, [1100, k]), i32([7], -1, 1100)],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 7), out("f32", 7)],
    },
    {
      op: "token_logprob_backward",
      label: `${w}: gradient of the hidden states only`,
      inputs: [f32([7]), f32([7, k], -0.1, 0.1), weight(w, [131, k]), i32([7], -1, 131), f32([7])],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 7, k)],
      derive: {
        op: "token_logprob",
        from: [1, 2, 3],
        outputs: [out("f32", 7), out("f32", 7)],
        to: [-1, 4],
      },
    },
  ];
});

export default {
  cases: [
    ...linears,
    ...manyRows,
    ...others,
    {
      op: "linear",
      label: "bf16 (70, 160) · q8_0 to 40, rowwise",
      inputs: [bf16([70, 160]), weight("q8_0", [40, 160])],
      attributes: { transposed: 0, rowwise: 1 },
      outputs: [out("bf16", 70, 40)],
    },
    {
      op: "linear_backward_input",
      label: "bf16 (70, 96) from 45, q8_0, with rows that are not aligned",
      inputs: [bf16([70, 45]), weight("q8_0", [45, 96])],
      attributes: { transposed: 0 },
      outputs: [out("bf16", 70, 96)],
    },
    {
      op: "token_logprob",
      label: "bf16 hidden states of 70 rows, q4_0",
      inputs: [bf16([70, 96], -0.1, 0.1), weight("q4_0", [300, 96]), i32([70], -1, 300)],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 70), out("f32", 70)],
    },
    {
      op: "token_logprob_backward",
      label: "bf16 hidden states of 70 rows, q4_0",
      inputs: [
        ...[f32([70]), bf16([70, 96], -0.1, 0.1), weight("q4_0", [300, 96])],
        ...[i32([70], -1, 300), f32([70])],
      ],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("bf16", 70, 96)],
      derive: {
        op: "token_logprob",
        from: [1, 2, 3],
        outputs: [out("f32", 70), out("f32", 70)],
        to: [-1, 4],
      },
    },
    {
      op: "linear",
      label: "bf16 · q8_0 to f32 logits",
      inputs: [bf16([5, 64]), weight("q8_0", [101, 64])],
      attributes: { transposed: 0, int8: 1 },
      outputs: [out("f32", 5, 101)],
      symbolic: 5,
    },
    {
      op: "linear",
      label: "zeros · q4_k, activations in 8 bits",
      inputs: [f32([3, 256], 0, 0), weight("q4_k", [9, 256])],
      attributes: { transposed: 0, int8: 1 },
      outputs: [out("f32", 3, 9)],
      exact: true,
    },
  ],
  failures: [
    {
      op: "linear",
      label: "rows that are not whole blocks",
      inputs: [f32([2, 40]), f32([8, 40])],
      attributes: { transposed: 0 },
      outputs: [{ dtype: "q4_0", shape: [2, 8] }],
      code: "SHAPE_MISMATCH",
      message: /^program: expected rows of a multiple of 32 for q4_0, got \(2, 8\)$/,
    },
    {
      op: "linear",
      label: "a quantized output",
      inputs: [f32([2, 32]), f32([32, 32])],
      attributes: { transposed: 0 },
      outputs: [{ dtype: "q4_0", shape: [2, 32] }],
      code: "INVALID_ARGUMENT",
      message: /^linear: expected an output of single elements, got q4_0$/,
    },
    {
      op: "linear",
      label: "quantized activations",
      inputs: [weight("q8_0", [2, 32]), f32([8, 32])],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 8)],
      code: "INVALID_ARGUMENT",
      message: /^linear: x: expected f32 or bf16, got q8_0$/,
    },
    {
      op: "token_logprob_backward",
      label: "a gradient of a quantized weight",
      inputs: [f32([2]), f32([2, 32]), weight("q8_0", [9, 32]), i32([2], 0, 9), f32([2])],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 2, 32), out("f32", 9, 32)],
      code: "INVALID_ARGUMENT",
      message: /^token_logprob_backward: w: expected f32 or bf16 or f16, got q8_0$/,
    },
  ],
} satisfies OpFile;
