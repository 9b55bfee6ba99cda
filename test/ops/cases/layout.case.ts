import { concat, reshape, split } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, type OpCase, type OpFile, out } from "../harness.ts";

const cases: OpCase[] = activationTypes.flatMap((type) => [
  { op: "reshape", label: type, inputs: [float(type, [6, 10])], outputs: [out(type, 3, 4, 5)], exact: true },
  ...[[3], [1, 2], [64, 1, 67, 32]].flatMap((widths) => {
    const total = widths.reduce((a, b) => a + b, 0);
    return [[7], [2, 3, 4]].flatMap((lead) => [
      {
        op: "split",
        label: `${type} (${lead}, ${total}) into ${widths}`,
        inputs: [float(type, [...lead, total])],
        outputs: widths.map((w) => out(type, ...lead, w)),
        exact: true,
        symbolic: lead[0]!,
      },
      {
        op: "concat",
        label: `${type} (${lead}), ${widths}`,
        inputs: widths.map((w) => float(type, [...lead, w])),
        outputs: [out(type, ...lead, total)],
        exact: true,
        symbolic: lead[0]!,
      },
    ]);
  }),
]);

export default {
  cases,
  failures: [
    {
      op: "split",
      label: "widths that do not add up",
      inputs: [f32([2, 8])],
      outputs: [out("f32", 2, 3), out("f32", 2, 4)],
      code: "SHAPE_MISMATCH",
      message: /^split: last dimensions of the outputs: expected a sum of 8, the last dimension of x, got 7$/,
    },
    {
      op: "concat",
      label: "different numbers of rows",
      inputs: [f32([2, 3]), f32([3, 3])],
      outputs: [out("f32", 2, 6)],
      code: "SHAPE_MISMATCH",
      message: /^concat: dimension 0 of input 1: expected 2 like y, got 3$/,
    },
    {
      op: "split",
      label: "a quantized tensor",
      inputs: [{ dtype: "q8_0", shape: [2, 64] }],
      outputs: [
        { dtype: "q8_0", shape: [2, 32] },
        { dtype: "q8_0", shape: [2, 32] },
      ],
      code: "INVALID_ARGUMENT",
      message: /^split: expected an output of single elements, got q8_0$/,
    },
    {
      op: "reshape",
      label: "another number of elements",
      inputs: [f32([2, 3])],
      outputs: [out("f32", 7)],
      code: "SHAPE_MISMATCH",
      message: /^reshape: elements of x: expected 7 like y of shape \(7\), got 6 of shape \(2, 3\)$/,
    },
  ],
  gradients: [
    { label: "reshape", operands: { x: [2, 6] }, build: ({ x }) => reshape(x!, [3, 4]) },
    { label: "split", operands: { x: [2, 6] }, build: ({ x }) => split(x!, [1, 3, 2]) },
    { label: "concat", operands: { a: [2, 1], b: [2, 3] }, build: ({ a, b }) => concat([a!, b!]) },
  ],
} satisfies OpFile;
