// fp8 weights with a scale per 128 × 128 block: one, few or many rows, and partial blocks in both dimensions.
import { fp8Linear } from "../../../lib/graph/index.ts";
import {
  activationTypes,
  bf16,
  count,
  f32,
  float,
  generator,
  given,
  type OpCase,
  type OpFile,
  out,
} from "../harness.ts";

/** Random bytes except those of NaN. */
function bytes(shape: readonly number[]) {
  const random = generator(count(shape));
  const values = Array.from({ length: count(shape) }, () => {
    const magnitude = Math.floor(random() * 127); // 127 is NaN
    return random() < 0.5 ? magnitude : magnitude + 128;
  });
  return given("u8", shape, values);
}
const scales = (m: number, k: number) => f32([Math.ceil(m / 128), Math.ceil(k / 128)], 0.001, 0.004);

const shapes = [
  [1, 1, 1],
  [1, 576, 65],
  [3, 272, 130],
  [4, 65, 17],
  [5, 128, 128],
  [7, 33, 129],
  [67, 200, 150],
  [130, 400, 270],
] as const;

const products: OpCase[] = shapes.flatMap(([n, k, m]) =>
  activationTypes.flatMap((x) => [
    ...[0, 1].flatMap((fp8) =>
      (n < 5 ? [0, 1] : [0]).map((rowwise) => ({
        op: "fp8_linear",
        label: `${x} (${n}, ${k}) to ${m}${fp8 ? ", activations in 8 bits" : ""}${rowwise ? ", rowwise" : ""}`,
        inputs: [float(x, [n, k]), bytes([m, k]), scales(m, k), m % 2 ? f32([m]) : undefined],
        attributes: { fp8, rowwise },
        ...(fp8 && !rowwise && { alternative: { fp8: 0, rowwise, bf16: 1 } }),
        outputs: [out(x, n, m)],
        ...(n > 1 ? { symbolic: n } : {}),
      })),
    ),
    {
      op: "fp8_linear_backward_input",
      label: `${x} (${n}, ${k}) from ${m}`,
      inputs: [float(x, [n, m]), bytes([m, k]), scales(m, k)],
      outputs: [out(x, n, k)],
    },
  ]),
);

/**
 * Products of two float matrices that are rounded to e4m3. A forward pass transposes b. The gradient of its input transposes neither operand,
 * and the gradient of its weight transposes a. If the weight is stored transposed, the forward pass transposes neither operand, and the
 * gradient of the input transposes b. Rows with an odd number of elements have no aligned vectors.
 */
const rounded: OpCase[] = (
  [
    [1, 1, 1],
    [3, 130, 5],
    [7, 33, 129],
    [67, 200, 150],
    [130, 259, 270],
    [264, 136, 392],
  ] as const
).flatMap(([m, k, n]) =>
  activationTypes.flatMap((type) =>
    [0, 1].flatMap((a_transposed) =>
      [0, 1].map((b_transposed) => ({
        op: "fp8_product",
        label: `${type} (${m}, ${k}) times (${k}, ${n})${a_transposed ? ", a transposed" : ""}${b_transposed ? ", b transposed" : ""}`,
        inputs: [
          float(type, a_transposed ? [k, m] : [m, k]),
          float(type, b_transposed ? [n, k] : [k, n]),
          a_transposed ? undefined : f32([n]),
        ],
        attributes: { a_transposed, b_transposed },
        outputs: [out(a_transposed ? "f32" : type, m, n)],
        ...(m > 1 && !(a_transposed && b_transposed) ? { symbolic: a_transposed ? k : m } : {}),
      })),
    ),
  ),
);

/** Values of different magnitudes along both dimensions, so that groups and blocks have different scales. */
const slopes = (rows: number, columns: number) =>
  Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return Math.sin(i) * 2 ** (Math.floor(row / 128) * 5 - Math.floor(column / 128) * 7 - (row % 4));
  });

/** Products of many bf16 rows, each aligned to 16 bytes. CUDA kernels decode the weights for tensor cores, in strips of columns. */
const manyRows: OpCase[] = [392, 400].flatMap((k) =>
  activationTypes.flatMap((y) => [
    {
      op: "fp8_linear",
      label: `bf16 (70, ${k}) to 264 in ${y}`,
      inputs: [bf16([70, k]), bytes([264, k]), scales(264, k), f32([264])],
      attributes: { fp8: 0, rowwise: 0 },
      outputs: [out(y, 70, 264)],
      symbolic: 70,
    },
    {
      op: "fp8_linear_backward_input",
      label: `bf16 (70, ${k}) from 264 in ${y}`,
      inputs: [bf16([70, 264]), bytes([264, k]), scales(264, k)],
      outputs: [out(y, 70, k)],
    },
  ]),
);

export default {
  cases: [
    ...products,
    ...manyRows,
    ...rounded,
    ...[0, 1].map((a_transposed) => ({
      op: "fp8_product",
      label: `scales that differ between groups and blocks${a_transposed ? ", a transposed" : ""}`,
      inputs: [given("f32", [260, 260], slopes(260, 260)), given("f32", [260, 150], slopes(260, 150))],
      attributes: { a_transposed, b_transposed: 0 },
      outputs: [out("f32", 260, 150)],
    })),
    ...[Number.POSITIVE_INFINITY, Number.NaN].map((value) => ({
      op: "fp8_product",
      label: `zeros, tiny numbers, and ${value} in one group of a row`,
      inputs: [
        given(
          "f32",
          [4, 260],
          [
            ...slopes(1, 260),
            ...Array(260).fill(0),
            ...Array(260).fill(1e-31),
            ...slopes(1, 130),
            value,
            ...slopes(1, 129),
          ],
        ),
        given("f32", [5, 260], slopes(5, 260)),
      ],
      attributes: { a_transposed: 0, b_transposed: 1 },
      outputs: [out("f32", 4, 5)],
    })),
    {
      op: "fp8_linear",
      label: "zeros, and values that round to zero because their block has a large one",
      inputs: [
        given(
          "f32",
          [2, 130],
          [1e4, ...Array.from({ length: 127 }, () => 1e-3), 0, 0, ...Array.from({ length: 130 }, () => 0)],
        ),
        bytes([3, 130]),
        scales(3, 130),
      ],
      attributes: { fp8: 1, rowwise: 0 },
      outputs: [out("f32", 2, 3)],
    },
  ],
  failures: [
    {
      op: "fp8_product",
      label: "operands of different depths",
      inputs: [f32([2, 8]), f32([3, 9])],
      attributes: { a_transposed: 0, b_transposed: 1 },
      outputs: [out("f32", 2, 3)],
      code: "SHAPE_MISMATCH",
      message: /^fp8_product: /,
    },
    {
      op: "fp8_linear",
      label: "scales of another block size",
      inputs: [f32([2, 130]), bytes([3, 130]), f32([1, 1])],
      attributes: { fp8: 0, rowwise: 0 },
      outputs: [out("f32", 2, 3)],
      code: "SHAPE_MISMATCH",
      message: /^fp8_linear: shape of scale: expected \(1, 2\), got \(1, 1\)$/,
    },
    {
      op: "fp8_linear",
      label: "a weight that is not of bytes",
      inputs: [f32([2, 8]), f32([3, 8]), f32([1, 1])],
      attributes: { fp8: 0, rowwise: 0 },
      outputs: [out("f32", 2, 3)],
      code: "INVALID_ARGUMENT",
      message: /^fp8_linear: w: expected u8, got f32$/,
    },
  ],
  gradients: [
    {
      label: "fp8_linear with bias",
      operands: { x: [3, 5], b: [4] },
      constants: { w: bytes([4, 5]), scale: f32([1, 1], 0.002, 0.003) },
      build: ({ x, w, scale, b }) => fp8Linear(x!, w!, scale!, b!),
    },
  ],
} satisfies OpFile;
