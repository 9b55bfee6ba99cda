import {
  abs,
  affine,
  clamp,
  exp,
  log,
  log1mexp,
  logSigmoid,
  maximum,
  minimum,
  reciprocal,
  relu,
  sigmoid,
  softplus,
  sqrt,
  sub,
  tanh,
  type Value,
} from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, type GradientCase, given, type OpCase, type OpFile, out } from "../harness.ts";

/** Functions by number, with the interval of operands. */
const functions: readonly (readonly [name: string, low: number, high: number])[] = [
  ["exp", -4, 4],
  ["log", 0.01, 10],
  ["sigmoid", -8, 8],
  ["log_sigmoid", -8, 8],
  ["tanh", -3, 3],
  ["relu", -1, 1],
  ["abs", -1, 1],
  ["sqrt", 0.01, 10],
  ["reciprocal", 0.25, 4],
  ["log1mexp", -5, -0.1],
];

const cases: OpCase[] = activationTypes.flatMap((type) =>
  [[1], [67], [5, 33]].flatMap((shape) => [
    ...functions.flatMap(([name, low, high], index) => {
      const attributes = { function: index };
      const x = float(type, shape, low, high);
      const label = `${name} ${type} (${shape})`;
      const outputs = [out(type, ...shape)];
      return [
        { op: "unary", label, inputs: [x], attributes, outputs, ...(shape[0]! > 1 ? { symbolic: shape[0]! } : {}) },
        { op: "unary_backward", label, inputs: [float(type, shape), x], attributes, outputs },
      ];
    }),
    ...[
      { low: -0.3, high: 0.4 },
      { low: 0, high: 3.5e38 },
    ].flatMap((attributes) => {
      const label = `${type} (${shape}) to [${attributes.low}, ${attributes.high}]`;
      const [x, outputs] = [float(type, shape), [out(type, ...shape)]];
      return [
        { op: "clamp", label, inputs: [x], attributes, outputs },
        { op: "clamp_backward", label, inputs: [x, x], attributes, outputs },
      ];
    }),
    {
      op: "minimum",
      label: `${type} (${shape})`,
      inputs: [float(type, shape), float(type, shape)],
      outputs: [out(type, ...shape)],
      exact: true,
    },
    {
      op: "minimum_backward",
      label: `${type} (${shape})`,
      inputs: [float(type, shape), float(type, shape), float(type, shape)],
      outputs: [out(type, ...shape), out(type, ...shape)],
    },
    {
      op: "stop_gradient",
      label: `${type} (${shape})`,
      inputs: [float(type, shape)],
      outputs: [out(type, ...shape)],
      exact: true,
    },
  ]),
);

/** Moves x in (-1, 1) to where a function is smooth. */
const smooth: Record<string, (x: Value) => Value> = {
  exp,
  log: (x) => log(affine(x, 0.5, 1)),
  sigmoid: (x) => sigmoid(affine(x, 3, 0)),
  log_sigmoid: (x) => logSigmoid(affine(x, 3, 0)),
  softplus: (x) => softplus(affine(x, 3, 0)),
  tanh,
  relu: (x) => sub(relu(affine(x, 1, 2)), relu(affine(x, 1, -2))),
  abs: (x) => sub(abs(affine(x, 1, 2)), abs(affine(x, 3, -4))),
  sqrt: (x) => sqrt(affine(x, 0.5, 1)),
  reciprocal: (x) => reciprocal(affine(x, 0.5, -1)),
  log1mexp: (x) => log1mexp(affine(x, 0.5, -1)),
  clamp: (x) => sub(clamp(x, { low: -9, high: 9 }), clamp(affine(x, 1, 4), { high: 2 })),
};

export default {
  cases,
  failures: [
    {
      op: "unary",
      label: "an unknown function",
      inputs: [f32([4])],
      attributes: { function: functions.length },
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: new RegExp(
        `^unary: function: expected a number in \\[0, ${functions.length - 1}\\], got ${functions.length}$`,
      ),
    },
    {
      op: "clamp",
      label: "an empty interval",
      inputs: [f32([4])],
      attributes: { low: 1, high: 0 },
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: /^clamp: low: expected at most high/,
    },
    {
      op: "minimum",
      label: "different shapes",
      inputs: [f32([2, 4]), f32([4, 2])],
      outputs: [out("f32", 2, 4)],
      code: "SHAPE_MISMATCH",
      message: /^minimum: shape of b: expected \(2, 4\) like a, got \(4, 2\)$/,
    },
  ],
  gradients: [
    ...Object.entries(smooth).map(
      ([label, build]): GradientCase => ({ label, operands: { x: [3, 5] }, build: ({ x }) => build(x!) }),
    ),
    {
      // Operands differ by more than the step of finite differences.
      label: "minimum and maximum",
      operands: { a: [3, 5] },
      constants: { b: given("f32", [3, 5], [-2, 2, -2, 2, 2, 2, -2, -2, -2, 2, 2, -2, 2, 2, -2]) },
      build: ({ a, b }) => [
        minimum(a!, b!),
        maximum(b!, a!),
        maximum(a!, affine(a!, 2, -3)),
        minimum(a!, affine(a!, 2, -3)),
      ],
    },
  ],
} satisfies OpFile;
