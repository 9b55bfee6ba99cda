import { gatherRows, segmentSum } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, given, i32, type OpFile, out } from "../harness.ts";

export default {
  cases: activationTypes.flatMap((type) => [
    {
      op: "gather_rows",
      label: type,
      inputs: [float(type, [11, 65]), i32([6], 0, 11)],
      outputs: [out(type, 6, 65)],
      exact: true,
      symbolic: 6,
    },
    ...[
      [20, 65],
      [300, 1],
      [300, 64],
    ].map(([rows, width]) => ({
      op: "segment_sum",
      label: `${type} (${rows}, ${width}), rows of a segment are added, segments without rows are zero`,
      inputs: [float(type, [rows!, width!]), i32([rows!], 0, 5)],
      outputs: [out(type, 11, width!)],
      symbolic: rows!,
    })),
  ]),
  failures: [
    {
      op: "gather_rows",
      label: "a row index above the last",
      inputs: [f32([3, 4]), given("i32", [2], [0, 3])],
      outputs: [out("f32", 2, 4)],
      code: "INVALID_ARGUMENT",
      message: /gather_rows: row 3 .*\[0, 3\)/,
    },
    {
      op: "segment_sum",
      label: "a negative segment index",
      inputs: [f32([2, 4]), given("i32", [2], [1, -1])],
      outputs: [out("f32", 2, 4)],
      code: "INVALID_ARGUMENT",
      message: /segment_sum: segment -1 at row 1 .*\[0, 2\)/,
    },
  ],
  gradients: [
    {
      label: "gather_rows",
      operands: { x: [5, 3] },
      constants: { rows: given("i32", [4], [4, 1, 4, 0]) },
      build: ({ x, rows }) => gatherRows(x!, rows!),
    },
    {
      label: "segment_sum",
      operands: { x: [5, 3] },
      constants: { segments: given("i32", [5], [2, 0, 2, 2, 3]) },
      build: ({ x, segments }) => segmentSum(x!, segments!, 4),
    },
    {
      label: "segment_sum of a vector",
      operands: { x: [5] },
      constants: { segments: given("i32", [5], [2, 0, 2, 2, 3]) },
      build: ({ x, segments }) => segmentSum(x!, segments!, 4),
    },
  ],
} satisfies OpFile;
