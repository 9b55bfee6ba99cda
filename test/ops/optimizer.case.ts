import { activationTypes, f32, float, given, type OpFile, out } from "./harness.ts";

const one = given("f32", [1], [1]);
const hyper = given("f32", [7], [1e-2, 0.9, 0.95, 1e-8, 0.1, 1 - 0.9 ** 3, 1 - 0.95 ** 3]);

export default {
  cases: [
    {
      op: "global_norm",
      label: "several gradients",
      inputs: [f32([1]), f32([67]), f32([40, 130]), f32([3, 4, 5])],
      outputs: [out("f32", 1)],
    },
    { op: "global_norm", label: "large values", inputs: [f32([1000], -1e15, 1e15)], outputs: [out("f32", 1)] },
    ...[
      { elements: 1000, piece: 64 },
      { elements: 16384 * 2 + 3, piece: 16384 },
      { elements: 128, piece: 64 },
    ].map(({ elements, piece }) => ({
      op: "square_sums",
      label: `${elements} elements in pieces of ${piece}`,
      inputs: [f32([elements])],
      attributes: { piece },
      outputs: [out("f32", Math.ceil(elements / piece), 3)],
    })),
    ...[
      [5, 1],
      [0.5, 1],
      [5, 0],
      [0, 1],
    ].map(([norm, max]) => ({
      op: "clip_factor",
      label: `norm ${norm}, max ${max}`,
      inputs: [given("f32", [1], [norm!]), given("f32", [1], [max!])],
      outputs: [out("f32", 1)],
    })),
    ...(["f32", "bf16", "f16"] as const).flatMap((from) =>
      (["f32", "bf16", "f16"] as const).map((to) => ({
        op: "assign",
        label: `${from} to ${to}`,
        inputs: [float(to, [7, 131]), float(from, [7, 131])],
        outputs: [],
        mutates: [0],
      })),
    ),
    {
      op: "assign",
      label: "a target of NaN",
      inputs: [given("f32", [3], [Number.NaN, Number.NEGATIVE_INFINITY, 7]), f32([3])],
      outputs: [],
      mutates: [0],
      exact: true,
    },
    ...[0, 1].map((add) => ({
      op: "reduce_scatter",
      label: `on a single rank, ${add ? "added to" : "over"} the target`,
      inputs: [f32([5, 67]), f32([5 * 67])],
      attributes: { first: 0, ranks: 1, "end.0": 5 * 67, add },
      outputs: [],
      mutates: [1],
      exact: true,
    })),
    ...activationTypes.flatMap((type) => [
      {
        op: "accumulate",
        label: `${type}, added to the target`,
        inputs: [f32([5, 67]), float(type, [5, 67]), one],
        outputs: [],
        mutates: [0],
      },
      {
        op: "accumulate",
        label: `${type}, over a target of NaN`,
        inputs: [
          given("f32", [3], [Number.NaN, Number.POSITIVE_INFINITY, 7]),
          float(type, [3]),
          given("f32", [1], [0]),
        ],
        outputs: [],
        mutates: [0],
        exact: true,
      },
      ...[0, 1].map((decay) => ({
        op: "adamw",
        label: `${type}${decay ? " with decay" : ""}`,
        inputs: [float(type, [33, 7]), f32([33, 7]), f32([33, 7]), f32([33, 7], 0, 1), hyper, given("f32", [1], [0.5])],
        attributes: { decay },
        outputs: [],
        mutates: [0, 2, 3],
      })),
    ]),
  ],
  failures: [
    {
      op: "assign",
      label: "a value of another shape",
      inputs: [f32([3, 2]), f32([2, 3])],
      outputs: [],
      code: "SHAPE_MISMATCH",
      message: /^assign: shape of x is \(2, 3\), state expects \(3, 2\)$/,
    },
    {
      op: "reduce_scatter",
      label: "ranges that do not cover the gradient",
      inputs: [f32([10]), f32([8])],
      attributes: { first: 0, ranks: 1, "end.0": 8, add: 0 },
      outputs: [],
      code: "SHAPE_MISMATCH",
      message: /^reduce_scatter: expected ranges of g's 10 elements, got an end of 8$/,
    },
    {
      op: "reduce_scatter",
      label: "ranges of more ranks than the device's world has",
      inputs: [f32([10]), f32([4])],
      attributes: { first: 0, ranks: 2, "end.0": 4, "end.1": 10, add: 0 },
      outputs: [],
      code: "INVALID_ARGUMENT",
      message: /^reduce_scatter: expected ranges of at most 1 ranks, which the device's world has, got 2$/,
    },
    {
      op: "adamw",
      label: "six hyperparameters instead of seven",
      inputs: [f32([3]), f32([3]), f32([3]), f32([3]), f32([6]), one],
      attributes: { decay: 0 },
      outputs: [],
      code: "SHAPE_MISMATCH",
      message: /^adamw: shape of hyper is \(6\), expected \(7\)$/,
    },
  ],
} satisfies OpFile;
