import { gelu, glu, softcap } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, type GradientCase, given, type OpCase, type OpFile, out } from "../harness.ts";

const shapes = [
  [1, 1],
  [3, 67],
  [9, 1536],
];

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap((shape) => {
    // The shape (1, 1) has operands of at most 1. The tolerance is relative to the largest result. In an activation's tail the terms of a
    // result cancel, and a single element has no larger result beside it.
    const bound = shape.length === 2 && shape[1] === 1 ? 1 : 6;
    const x = float(type, shape, -bound, bound);
    const y = out(type, ...shape);
    const symbolic = shape[0]! > 1 ? { symbolic: shape[0]! } : {};
    return [
      ...[0, 1, 2].flatMap((activation) => [
        {
          op: "glu",
          label: `${type} (${shape}), activation ${activation}`,
          inputs: [x, float(type, shape)],
          attributes: { activation },
          outputs: [y],
          ...symbolic,
        },
        {
          op: "glu_backward",
          label: `${type} (${shape}), activation ${activation}`,
          inputs: [float(type, shape), x, float(type, shape)],
          attributes: { activation },
          outputs: [y, y],
        },
      ]),
      {
        op: "softcap",
        label: `${type} (${shape})`,
        inputs: [x],
        attributes: { cap: 2.5 },
        outputs: [y],
        ...symbolic,
      },
      {
        op: "softcap_backward",
        label: `${type} (${shape})`,
        inputs: [float(type, shape), x],
        attributes: { cap: 2.5 },
        outputs: [y],
      },
      ...[0, 1].flatMap((tanh) => [
        {
          op: "gelu",
          label: `${type} (${shape}), tanh ${tanh}`,
          inputs: [x],
          attributes: { tanh },
          outputs: [y],
          ...symbolic,
        },
        {
          op: "gelu_backward",
          label: `${type} (${shape}), tanh ${tanh}`,
          inputs: [float(type, shape), x],
          attributes: { tanh },
          outputs: [y],
        },
      ]),
    ];
  }),
);

/** f32 operands with a bf16 result. */
const narrowCases: OpCase[] = shapes.flatMap((shape) => {
  const bound = shape[1] === 1 ? 1 : 6;
  const [x, outputs] = [f32(shape, -bound, bound), [out("bf16", ...shape)]];
  const symbolic = shape[0]! > 1 ? { symbolic: shape[0]! } : {};
  return [
    ...[0, 1, 2].map((activation) => ({
      op: "glu",
      label: `f32 (${shape}) to bf16, activation ${activation}`,
      inputs: [x, f32(shape)],
      attributes: { activation },
      outputs,
      ...symbolic,
    })),
    ...[0, 1].map((tanh) => ({
      op: "gelu",
      label: `f32 (${shape}) to bf16, tanh ${tanh}`,
      inputs: [x],
      attributes: { tanh },
      outputs,
      ...symbolic,
    })),
  ];
});

/** Inputs whose exponentials overflow or underflow, for which a naive formula gives NaN. */
const extremes = given("f32", [8], [-3e38, -1000, -90, -20, 20, 90, 1000, 3e38]);
const ones = given("f32", [8], [1, 1, 1, 1, 1, 1, 1, 1]);
const extremeCases: OpCase[] = [
  ...[0, 1, 2].flatMap((activation) => [
    {
      op: "glu",
      label: `extremes, activation ${activation}`,
      inputs: [extremes, ones],
      attributes: { activation },
      outputs: [out("f32", 8)],
    },
  ]),
  { op: "softcap", label: "extremes", inputs: [extremes], attributes: { cap: 30 }, outputs: [out("f32", 8)] },
  {
    op: "softcap_backward",
    label: "extremes",
    inputs: [ones, extremes],
    attributes: { cap: 30 },
    outputs: [out("f32", 8)],
  },
  // The slope is 1 − tanh², which cancels here.
  {
    op: "softcap_backward",
    label: "far above the cap",
    inputs: [ones, given("f32", [8], [150, -155, 160, -165, 170, -180, 190, -200])],
    attributes: { cap: 30 },
    outputs: [out("f32", 8)],
  },
  ...["gelu", "gelu_backward"].map((op) => ({
    op,
    label: "the tanh approximation far below 0",
    inputs: [...(op === "gelu" ? [] : [ones]), given("f32", [8], [-4, -4.2, -4.4, -4.6, -4.8, -5, -5.5, -6])],
    attributes: { tanh: 1 },
    outputs: [out("f32", 8)],
  })),
  ...[0, 1].map((tanh) => ({
    op: "gelu",
    label: `extremes, tanh ${tanh}`,
    inputs: [extremes],
    attributes: { tanh },
    outputs: [out("f32", 8)],
  })),
];

export default {
  cases: [...cases, ...narrowCases, ...extremeCases],
  failures: [
    {
      op: "softcap",
      label: "a cap of 0",
      inputs: [f32([4])],
      attributes: { cap: 0 },
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: /^softcap: cap: expected a number in/,
    },
    {
      op: "glu",
      label: "an unknown activation",
      inputs: [f32([4]), f32([4])],
      attributes: { activation: 3 },
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: /^glu: activation: expected a number in \[0, 2\], got 3$/,
    },
    {
      op: "gelu",
      label: "an f32 output for a bf16 input",
      inputs: [float("bf16", [4])],
      attributes: { tanh: 0 },
      outputs: [out("f32", 4)],
      code: "INVALID_ARGUMENT",
      message: /^gelu: output: expected bf16 like x, got f32$/,
    },
    {
      op: "glu",
      label: "different shapes",
      inputs: [f32([2, 4]), f32([4, 2])],
      attributes: { activation: 0 },
      outputs: [out("f32", 2, 4)],
      code: "SHAPE_MISMATCH",
      message: /^glu: shape of up: expected \(2, 4\) like gate, got \(4, 2\)$/,
    },
  ],
  gradients: [
    { label: "softcap", operands: { x: [3, 5] }, build: ({ x }) => softcap(x!, 0.7) },
    ...(["silu", "gelu_tanh", "gelu"] as const).map(
      (activation): GradientCase => ({
        label: `glu ${activation}`,
        operands: { gate: [3, 5], up: [3, 5] },
        build: ({ gate, up }) => glu(gate!, up!, activation),
      }),
    ),
    ...(["tanh", "none"] as const).map(
      (approximate): GradientCase => ({
        label: `gelu ${approximate}`,
        operands: { x: [3, 5] },
        build: ({ x }) => gelu(x!, { approximate }),
      }),
    ),
  ],
} satisfies OpFile;
