import { linear } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, type OpCase, type OpFile, out, weightTypes } from "../harness.ts";

/**
 * rows, inputs, outputs: single rows (decode), odd sizes around every vector and tile width, and tall products. Kernels compute some
 * products with few inputs or outputs (low-rank updates) transposed.
 */
const shapes = [
  [1, 1, 1],
  [1, 576, 65],
  [2, 64, 48],
  [3, 65, 17],
  [7, 33, 129],
  [16, 128, 96],
  [67, 129, 65],
  [130, 257, 31],
  [130, 64, 8],
  [130, 8, 76],
  [420, 33, 14],
  [70, 420, 12],
  [50, 70, 30],
  [1200, 70, 9],
  [1100, 8, 101],
  [70, 16, 2100],
  [65, 31, 160],
  [96, 576, 16],
  [16, 200, 70],
] as const;

const weightShape = (transposed: number, k: number, m: number) => (transposed ? [k, m] : [m, k]);

const products: OpCase[] = [0, 1].flatMap((transposed) =>
  shapes.flatMap(([n, k, m]) => [
    ...activationTypes.flatMap((x) =>
      weightTypes.map((w) => ({
        op: "linear",
        label: `${x} (${n}, ${k}) · ${w} to ${m}${transposed ? ", transposed" : ""}`,
        inputs: [float(x, [n, k]), float(w, weightShape(transposed, k, m)), m % 2 ? float(w, [m]) : undefined],
        attributes: { transposed },
        outputs: [out(x, n, m)],
        ...(n > 1 ? { symbolic: n } : {}),
      })),
    ),
    ...activationTypes.flatMap((x) => [
      {
        op: "linear_backward_input",
        label: `${x} (${n}, ${k}) from ${m}${transposed ? ", transposed" : ""}`,
        inputs: [float(x, [n, m]), float(x, weightShape(transposed, k, m))],
        attributes: { transposed },
        outputs: [out(x, n, k)],
      },
      {
        op: "linear_backward_weight",
        label: `${x} (${n}, ${k}) from ${m}${transposed ? ", transposed" : ""}`,
        inputs: [float(x, [n, m]), float(x, [n, k])],
        attributes: { transposed },
        outputs: [out("f32", ...weightShape(transposed, k, m))],
      },
    ]),
  ]),
);

/** Inner dimensions that are multiples of 32, with one and several chunks of rows, and partial tiles of outputs. */
const wholeSteps = [
  [5, 2048, 40],
  [8, 576, 65],
  [11, 96, 33],
  [31, 64, 75],
  [40, 96, 71],
  [70, 160, 97],
  [250, 64, 45],
] as const;

/** f32 activations rounded to bf16 for a bf16 matrix. */
const roundedRows: OpCase[] = [0, 1].flatMap((rowwise) =>
  [...shapes, ...wholeSteps].map(([n, k, m]) => ({
    op: "linear",
    label: `f32 (${n}, ${k}) in bf16 · bf16 to ${m}${rowwise ? ", rowwise" : ""}`,
    inputs: [float("f32", [n, k]), float("bf16", [m, k]), m % 2 ? float("f32", [m]) : undefined],
    attributes: { transposed: 0, rowwise, bf16: 1 },
    outputs: [out("f32", n, m)],
    ...(n > 1 ? { symbolic: n } : {}),
  })),
);

/**
 * f32 and bf16 rows times a bf16 matrix that is mapped from a file, which kernels pack into panels. The numbers of rows use every register
 * tile for packed panels. Some numbers exceed what these tiles take.
 */
const mappedMatrices: OpCase[] = [0, 1].flatMap((rowwise) =>
  (
    [
      [1, 576, 65],
      [2, 64, 130],
      [3, 65, 17],
      [5, 2040, 70],
      [6, 96, 97],
      [7, 576, 129],
      [8, 576, 300],
      [12, 1500, 97],
      [15, 33, 129],
      [16, 1090, 300],
      [31, 130, 97],
      [33, 2046, 70],
      [130, 257, 31],
      [120, 1090, 214],
      [214, 1090, 120],
    ] as const
  ).flatMap(([n, k, m]) =>
    activationTypes.map((x) => ({
      op: "linear",
      label: `${x} (${n}, ${k}) · mapped bf16 to ${m}${rowwise ? ", rowwise" : ""}`,
      inputs: [float(x, [n, k]), float("bf16", [m, k]), m % 2 ? float("f32", [m]) : undefined],
      attributes: { transposed: 0, rowwise, bf16: x === "f32" ? 1 : 0 },
      outputs: [out(x, n, m)],
      mapped: 1,
      ...(n > 1 ? { symbolic: n } : {}),
    })),
  ),
);

/** Few bf16 rows that are long enough to be split. The outputs are whole and partial blocks of 16. One case has an empty inner dimension. */
const longRows: OpCase[] = (
  [
    [2, 10_300, 67],
    [3, 7000, 37],
    [4, 5700, 131],
    [5, 4100, 83],
    [6, 3500, 35],
    [7, 3001, 37],
    [8, 2600, 70],
    [9, 0, 20],
    [15, 3001, 33],
  ] as const
).flatMap(([n, k, m]) =>
  ["f32", "bf16"].map((y) => ({
    op: "linear",
    label: `bf16 (${n}, ${k}) · bf16 to ${m} of ${y}`,
    inputs: [float("bf16", [n, k]), float("bf16", [m, k]), m % 2 ? float("f32", [m]) : undefined],
    attributes: { transposed: 0 },
    outputs: [out(y as "f32" | "bf16", n, m)],
    symbolic: n,
  })),
);

/** 5 to 64 rows: more than in decoding, and too few for packed operands. Some rows are split. Blocks of outputs are whole or partial. */
const someRows: OpCase[] = (
  [
    [5, 1500, 37],
    [6, 64, 33],
    [8, 1001, 48],
    [9, 0, 20],
    [10, 17, 3],
    [11, 96, 130],
    [12, 1537, 50],
    [13, 600, 16],
    [14, 520, 17],
    [15, 1030, 35],
    [28, 515, 34],
    [29, 130, 65],
    [43, 777, 21],
    [57, 70, 40],
    [64, 1040, 33],
  ] as const
).flatMap(([n, k, m]) =>
  weightTypes.flatMap((w) =>
    [0, 1].map((rowwise) => ({
      op: "linear",
      label: `f32 (${n}, ${k}) · ${w} to ${m}, some rows${rowwise ? ", rowwise" : ""}`,
      inputs: [float("f32", [n, k]), float(w, [m, k]), m % 2 ? float(w, [m]) : undefined],
      attributes: { transposed: 0, rowwise },
      outputs: [out("f32", n, m)],
      symbolic: n,
    })),
  ),
);

/** Large products, which take several steps along k or several bands of rows or columns. Both operands exceed one packed part. */
const largeProducts: OpCase[] = (
  [
    [250, 500, 220],
    [220, 500, 250],
    [250, 1090, 220],
    [220, 1090, 250],
    [2060, 33, 2061],
  ] as const
).flatMap(([n, k, m]) =>
  (["f32", "bf16"] as const).flatMap((x) => [
    {
      op: "linear",
      label: `${x} (${n}, ${k}) · ${x} to ${m}`,
      inputs: [float(x, [n, k]), float(x, [m, k]), m % 2 ? float(x, [m]) : undefined],
      attributes: { transposed: 0 },
      outputs: [out(x, n, m)],
    },
    {
      op: "linear_backward_weight",
      label: `${x} (${k}, ${m}) from (${k}, ${n})`,
      inputs: [float(x, [k, n]), float(x, [k, m])],
      attributes: { transposed: 0 },
      outputs: [out("f32", n, m)],
    },
  ]),
);

export default {
  cases: [
    ...products,
    ...largeProducts,
    ...roundedRows,
    ...mappedMatrices,
    ...longRows,
    ...someRows,
    {
      op: "linear",
      label: "bf16 to f32 logits",
      inputs: [float("bf16", [5, 64]), float("bf16", [101, 64])],
      attributes: { transposed: 0 },
      outputs: [out("f32", 5, 101)],
      symbolic: 5,
    },
    ...activationTypes.flatMap((type) =>
      [67, 264].map((width) => ({
        op: "column_sum",
        label: `${type}, ${width} columns`,
        inputs: [float(type, [131, width])],
        outputs: [out("f32", width)],
      })),
    ),
  ],
  failures: [
    {
      op: "linear",
      label: "another inner dimension",
      inputs: [f32([2, 512]), f32([8, 576])],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 8)],
      code: "SHAPE_MISMATCH",
      message: /^linear: last dimension of x: expected 576 like w, got 512$/,
    },
    {
      op: "linear",
      label: "integers",
      inputs: [f32([2, 8]), { dtype: "i32", shape: [4, 8] }],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 4)],
      code: "INVALID_ARGUMENT",
      message: /^linear: w: expected f32 or bf16 or f16 or a quantized type, got i32$/,
    },
    {
      op: "linear",
      label: "a missing weight",
      inputs: [f32([2, 8]), undefined],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 4)],
      code: "INVALID_ARGUMENT",
      message: /^linear: w: expected a tensor, got nothing$/,
    },
  ],
  gradients: [false, true].map((transposed) => ({
    label: `linear${transposed ? " transposed" : ""} with bias`,
    operands: { x: [3, 5], w: transposed ? [5, 4] : [4, 5], b: [4] },
    build: ({ x, w, b }) => linear(x!, w!, b!, { transposed }),
  })),
} satisfies OpFile;
