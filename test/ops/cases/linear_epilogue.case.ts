import { activationTypes, f32, float, type OpCase, type OpFile, out } from "../harness.ts";

/** (rows, inputs, outputs): single rows, odd sizes around every tile size, and depths that use split k. */
const shapes = [
  [1, 1, 1],
  [1, 576, 65],
  [3, 65, 17],
  [16, 128, 96],
  [24, 1096, 40],
  [67, 129, 65],
  [130, 264, 136],
  [72, 1544, 80],
] as const;

const cases: OpCase[] = shapes.flatMap(([n, k, m]) =>
  activationTypes.flatMap((type): OpCase[] => {
    const label = `${type} (${n}, ${k}) to ${m}`;
    const [x, w, y] = [float(type, [n, k]), float(type, [m, k]), out(type, n, m)];
    const bias = m % 2 ? float("f32", [m]) : undefined;
    const symbolic = n > 1 ? { symbolic: n } : {};
    return [
      // If the activation's number is even, the case has a second output: the activation's input.
      ...[0, 1, 2, 3, 4].map((activation) => ({
        op: "linear_activation",
        label: `${label}, activation ${activation}`,
        inputs: [x, w, bias],
        attributes: { transposed: 0, activation },
        outputs: activation % 2 ? [y] : [y, y],
        ...symbolic,
      })),
      {
        op: "linear_activation",
        label: `${label}, transposed`,
        inputs: [x, float(type, [k, m]), bias],
        attributes: { transposed: 1, activation: 1 },
        outputs: [y],
      },
      {
        op: "linear_add",
        label,
        inputs: [x, w, bias, float(type, [n, m])],
        attributes: { transposed: 0 },
        outputs: [y],
        ...symbolic,
      },
      ...[0, 2].map((activation) => ({
        op: "linear_glu",
        label: `${label}, activation ${activation}`,
        inputs: [x, w, w, bias, activation ? bias : undefined],
        attributes: { transposed: 0, activation },
        outputs: activation ? [y, y, y] : [y],
        ...symbolic,
      })),
      {
        op: "linear_backward_input_add",
        label,
        inputs: [y, w, float(type, [n, k])].map((o) => o && float(o.dtype as typeof type, [...o.shape])),
        attributes: { transposed: 0 },
        outputs: [out(type, n, k)],
        ...symbolic,
      },
    ];
  }),
);

/** Many rows: whole and partial tiles, split k, rounded x, weights in either layout. */
const manyRows: OpCase[] = [
  [65, 40, 33],
  [80, 33, 97],
  [270, 96, 50],
  [300, 1300, 70],
].flatMap(([n, k, m]) =>
  [1, 2].flatMap((activation): OpCase[] => {
    const activationCase = { op: "linear_activation", symbolic: n! };
    const label = `(${n}, ${k}) to ${m}, activation ${activation}`;
    const [x, w, bias] = [f32([n!, k!]), float("bf16", [m!, k!]), m! % 2 ? f32([m!]) : undefined];
    const attributes = { transposed: 0, activation };
    return [
      ...activationTypes.map((to) => ({
        ...activationCase,
        label: `f32 rounded to bf16 ${label}, output ${to}`,
        inputs: [x, w, bias],
        attributes: { ...attributes, bf16: 1 },
        outputs: [out(to, n!, m!)],
      })),
      {
        ...activationCase,
        label: `bf16 ${label}`,
        inputs: [float("bf16", [n!, k!]), w, bias],
        attributes,
        outputs: [out("bf16", n!, m!)],
      },
      {
        ...activationCase,
        label: `f32 ${label}, transposed`,
        inputs: [x, f32([k!, m!]), bias],
        attributes: { transposed: 1, activation },
        outputs: [out("f32", n!, m!)],
      },
      {
        ...activationCase,
        label: `f32 ${label}, rowwise`,
        inputs: [x, w, bias],
        attributes: { ...attributes, bf16: 1, rowwise: 1 },
        outputs: [out("bf16", n!, m!)],
      },
    ];
  }),
);

export default {
  cases: [
    ...cases,
    ...manyRows,
    {
      op: "linear_glu",
      label: "f32 rounded to bf16, rowwise",
      inputs: [float("f32", [11, 96]), float("bf16", [34, 96]), float("bf16", [34, 96])],
      attributes: { transposed: 0, rowwise: 1, bf16: 1, activation: 0 },
      outputs: [out("f32", 11, 34)],
    },
  ],
  failures: [
    {
      op: "linear_glu",
      label: "an up weight with another number of rows",
      inputs: [float("f32", [2, 4]), float("f32", [3, 4]), float("f32", [5, 4])],
      attributes: { transposed: 0, activation: 0 },
      outputs: [out("f32", 2, 3)],
      code: "SHAPE_MISMATCH",
      message: /^linear_glu: shape of up: expected .*, got \(5, 4\)$/,
    },
    {
      op: "linear_activation",
      label: "an unknown activation",
      inputs: [float("f32", [2, 4]), float("f32", [3, 4])],
      attributes: { transposed: 0, activation: 5 },
      outputs: [out("f32", 2, 3)],
      code: "INVALID_ARGUMENT",
      message: /^linear_activation: /,
    },
    {
      op: "linear_add",
      label: "an addend of another shape",
      inputs: [float("f32", [2, 4]), float("f32", [3, 4]), undefined, float("f32", [3, 3])],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 3)],
      code: "SHAPE_MISMATCH",
      message: /^linear_add: shape of onto: expected .*, got \(3, 3\)$/,
    },
    {
      op: "linear_backward_input_add",
      label: "an addend with another number of columns",
      inputs: [float("f32", [2, 3]), float("f32", [5, 4]), float("f32", [2, 4])],
      attributes: { transposed: 0 },
      outputs: [out("f32", 2, 4)],
      code: "SHAPE_MISMATCH",
      message: /^linear_backward_input_add: /,
    },
  ],
} satisfies OpFile;
