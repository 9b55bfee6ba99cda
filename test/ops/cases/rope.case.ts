import { rope } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, given, i32, type OpCase, type OpFile, out } from "../harness.ts";

const cases: OpCase[] = activationTypes.flatMap((type) =>
  (
    [
      [0, 0, ""],
      [1, 1, ", interleaved"],
      [1, 0, ", interleaved to halves"],
      [0, 1, ", halves to interleaved"],
    ] as const
  ).flatMap(([interleaved, interleaved_out, order]) =>
    (
      [
        [5, 3, 64, 32],
        [9, 1, 6, 3],
        [4, 2, 80, 16], // partial rotation
        [7, 5, 10, 5],
        [2, 40, 36, 16], // more pairs than the threads of a block rotate at once
      ] as const
    ).flatMap(([n, heads, width, half]) =>
      [0, 1].map((inverse) => ({
        op: "rope",
        label: `${type} (${n}, ${heads}, ${width}), ${2 * half} rotated${order}${inverse ? ", inverse" : ""}`,
        inputs: [float(type, [n, heads, width]), i32([n], 0, 2048), f32([half], 1e-4, 1)],
        attributes: { interleaved, interleaved_out, inverse, scale: inverse ? 1 : 1.1 },
        outputs: [out(type, n, heads, width)],
        symbolic: n,
      })),
    ),
  ),
);

const ownFrequencies: OpCase[] = activationTypes.map((type) => ({
  op: "rope",
  label: `${type}, different frequencies per row`,
  inputs: [float(type, [9, 3, 12]), i32([9], 0, 2048), f32([9, 5], 1e-4, 1)],
  attributes: { interleaved: 0, interleaved_out: 0, inverse: 0, scale: 1.1 },
  outputs: [out(type, 9, 3, 12)],
  symbolic: 9,
}));

const frequencies = f32([6], 1e-4, 1);
const lengthCases: OpCase[] = [
  { label: "dynamic", inputs: [frequencies, undefined, i32([7], 1, 64)], outputs: [out("f32", 7, 6)], symbolic: 7 },
  { label: "dynamic, one length", inputs: [frequencies], outputs: [out("f32", 6)] },
  { label: "dynamic, one pair", inputs: [f32([1]), undefined, i32([7], 1, 64)], outputs: [out("f32", 7, 1)] },
  { label: "long", inputs: [frequencies, f32([6]), i32([7], 1, 64)], outputs: [out("f32", 7, 6)], symbolic: 7 },
  { label: "long, one length", inputs: [frequencies, f32([6])], outputs: [out("f32", 6)] },
].map((c) => ({ op: "rope_frequencies", attributes: { length: 40, original: 16, factor: 4 }, ...c }));

export default {
  cases: [
    ...cases,
    ...ownFrequencies,
    ...lengthCases,
    {
      op: "rope",
      label: "far positions",
      inputs: [f32([4, 2, 64]), given("i32", [4], [0, 8191, 131071, 1000000]), f32([32], 1e-5, 1)],
      attributes: { interleaved: 0, interleaved_out: 0, inverse: 0, scale: 1 },
      outputs: [out("f32", 4, 2, 64)],
    },
  ],
  failures: [
    {
      op: "rope_frequencies",
      label: "a different number of long frequencies",
      inputs: [f32([4]), f32([5]), i32([3], 1, 9)],
      attributes: { length: 1, original: 8, factor: 1 },
      outputs: [out("f32", 3, 4)],
      code: "SHAPE_MISMATCH",
      message: /^rope_frequencies: shape of long: expected \(4\) like frequencies, got \(5\)$/,
    },
    {
      op: "rope",
      label: "frequencies for another number of rows",
      inputs: [f32([2, 1, 8]), i32([2], 0, 9), f32([3, 4])],
      attributes: { interleaved: 0, interleaved_out: 0, inverse: 0, scale: 1 },
      outputs: [out("f32", 2, 1, 8)],
      code: "SHAPE_MISMATCH",
      message: /^rope: .*inv_freq/,
    },
    {
      op: "rope",
      label: "more frequencies than pairs",
      inputs: [f32([2, 1, 8]), i32([2], 0, 9), f32([5])],
      attributes: { interleaved: 0, interleaved_out: 0, inverse: 0, scale: 1 },
      outputs: [out("f32", 2, 1, 8)],
      code: "SHAPE_MISMATCH",
      message: /^rope: inv_freq: expected to rotate at most 8 dimensions, the size of a head of x, got 10$/,
    },
  ],
  gradients: [false, true, "input" as const].map((interleaved) => ({
    label: `rope${interleaved ? `, interleaved: ${interleaved}` : ""}`,
    operands: { x: [4, 2, 8] },
    constants: { positions: i32([4], 0, 50), frequencies: f32([3], 0.01, 1) },
    build: ({ x, positions, frequencies }) => rope(x!, positions!, frequencies!, { interleaved, scale: 1.2 }),
  })),
} satisfies OpFile;
