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

/** Products of many bf16 rows with 16-byte aligned rows. CUDA kernels decode the weights for tensor cores, in strips of columns. */
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
    {
      op: "fp8_linear",
      label: "zeros, and values that a large one in the block rounds to zero",
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
      op: "fp8_linear",
      label: "scales of another block size",
      inputs: [f32([2, 130]), bytes([3, 130]), f32([1, 1])],
      attributes: { fp8: 0, rowwise: 0 },
      outputs: [out("f32", 2, 3)],
      code: "SHAPE_MISMATCH",
      message: /^fp8_linear: shape of scale is \(1, 1\), expected \(1, 2\)$/,
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
