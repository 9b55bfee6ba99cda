import { add, affine, broadcast, logSoftmax, mul, scale, softmax, sub, sum } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, given, type OpCase, type OpFile, out, weightTypes } from "../harness.ts";

const shapes = [[1], [67], [5, 33], [3, 4, 5, 6], [40, 130], [9, 2003]];

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap((shape) => {
    const x = float(type, shape);
    const y = [out(type, ...shape)];
    const label = `${type} (${shape})`;
    const symbolic = shape[0]! > 1 ? { symbolic: shape[0]! } : {};
    return [
      { op: "add", label, inputs: [x, x], outputs: y, ...symbolic },
      { op: "mul", label, inputs: [x, x], outputs: y, ...symbolic },
      { op: "affine", label, inputs: [x], attributes: { factor: -0.37, offset: 0 }, outputs: y, ...symbolic },
      { op: "affine", label: `${label} with offset`, inputs: [x], attributes: { factor: 3, offset: -1.7 }, outputs: y },
      { op: "sum", label, inputs: [x], outputs: [out("f32", 1)], ...symbolic },
      { op: "broadcast", label, inputs: [f32([1])], outputs: y },
      { op: "softmax", label, inputs: [float(type, shape, -8, 8)], outputs: y, ...symbolic },
      { op: "softmax_backward", label, inputs: [x, float(type, shape, 0, 1)], outputs: y },
      { op: "log_softmax", label, inputs: [float(type, shape, -8, 8)], outputs: y, ...symbolic },
      { op: "log_softmax_backward", label, inputs: [x, float(type, shape, -8, 0)], outputs: y },
      ...weightTypes.map((to) => ({
        op: "cast",
        label: `${label} to ${to}`,
        inputs: [x],
        outputs: [out(to, ...shape)],
        exact: type === to || to === "f32",
        ...symbolic,
      })),
    ];
  }),
);

/** Rows that a CUDA block keeps in registers, with one or two vectors per thread, and longer rows. */
const wide = activationTypes.flatMap((type) =>
  [
    [5, 64],
    [3, 2056],
    [2, 4104],
    [2, 8216],
  ].flatMap((shape) => {
    const y = [out(type, ...shape)];
    const label = `${type} (${shape})`;
    return [
      { op: "softmax", label, inputs: [float(type, shape, -8, 8)], outputs: y },
      { op: "softmax_backward", label, inputs: [float(type, shape), float(type, shape, 0, 1)], outputs: y },
      { op: "log_softmax", label, inputs: [float(type, shape, -8, 8)], outputs: y },
      { op: "log_softmax_backward", label, inputs: [float(type, shape), float(type, shape, -8, 0)], outputs: y },
    ];
  }),
);

/** Two rows whose elements before column 2100 are excluded. Some threads of a CUDA block then begin with excluded elements, or have no others. */
const excluded = (width: number) =>
  Array.from({ length: 2 * width }, (_, i) => (i % width < 2100 ? Number.NEGATIVE_INFINITY : ((i * i) % 17) - 8));

/** Ties, subnormals, the largest f16, overflow, infinities and NaN. */
const hard = [
  0,
  -0,
  1 + 2 ** -8,
  1 + 3 * 2 ** -8,
  2 ** -24,
  2 ** -25,
  3 * 2 ** -25,
  65504,
  65520,
  65519,
  3e38,
  -1e-40,
].concat([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]);

export default {
  cases: [
    ...cases,
    ...wide,
    ...["softmax", "log_softmax"].flatMap((op) =>
      [2104, 8216].map((width) => ({
        op,
        label: `${width} columns of which 2100 are excluded`,
        inputs: [given("f32", [2, width], excluded(width))],
        outputs: [out("f32", 2, width)],
      })),
    ),
    ...(["bf16", "f16"] as const).map((to) => ({
      op: "cast",
      label: `values that are hard to round, to ${to}`,
      inputs: [given("f32", [hard.length], hard)],
      outputs: [out(to, hard.length)],
    })),
    {
      op: "cast",
      label: "f16 to f32",
      inputs: [float("f16", [9, 7])],
      outputs: [out("f32", 9, 7)],
      exact: true,
    },
    {
      op: "softmax",
      label: "with excluded elements and a large offset",
      inputs: [given("f32", [2, 3], [1e4, 1e4 - 1, Number.NEGATIVE_INFINITY, -1e4, -1e4, -1e4])],
      outputs: [out("f32", 2, 3)],
    },
    {
      op: "log_softmax",
      label: "with excluded elements and a large offset",
      inputs: [given("f32", [2, 3], [1e4, 1e4 - 1, Number.NEGATIVE_INFINITY, -1e4, -1e4, -1e4])],
      outputs: [out("f32", 2, 3)],
    },
  ],
  failures: [
    {
      op: "add",
      label: "different types",
      inputs: [f32([4]), float("bf16", [4])],
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: /^add: b: expected f32 like a, got bf16$/,
    },
  ],
  gradients: [
    { label: "add", operands: { a: [2, 3], b: [2, 3] }, build: ({ a, b }) => add(a!, b!) },
    { label: "mul", operands: { a: [2, 3], b: [2, 3] }, build: ({ a, b }) => mul(a!, b!) },
    { label: "mul of a value with itself", operands: { a: [2, 3] }, build: ({ a }) => mul(a!, a!) },
    { label: "sub", operands: { a: [2, 3], b: [2, 3] }, build: ({ a, b }) => sub(a!, b!) },
    { label: "affine", operands: { x: [4] }, build: ({ x }) => affine(x!, -1.5, 2) },
    { label: "scale", operands: { x: [4] }, build: ({ x }) => scale(x!, -1.5) },
    { label: "sum and broadcast", operands: { x: [2, 3] }, build: ({ x }) => mul(broadcast(sum(x!), [2, 3]), x!) },
    { label: "softmax", operands: { x: [3, 5] }, build: ({ x }) => softmax(x!) },
    { label: "log_softmax", operands: { x: [3, 5] }, build: ({ x }) => logSoftmax(x!) },
  ],
} satisfies OpFile;
