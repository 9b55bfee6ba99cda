import { gatherRows } from "../../lib/graph/index.ts";
import { activationTypes, f32, float, given, i32, type OpFile, out } from "./harness.ts";

export default {
  cases: [
    ...activationTypes.flatMap((type) => [
      {
        op: "gather_rows",
        label: type,
        inputs: [float(type, [11, 65]), i32([6], 0, 11)],
        outputs: [out(type, 6, 65)],
        exact: true,
        symbolic: 6,
      },
      {
        op: "gather_rows_backward",
        label: `${type}, repeated rows add`,
        inputs: [float(type, [20, 65]), i32([20], 0, 5), float(type, [11, 65])],
        outputs: [out(type, 11, 65)],
      },
    ]),
  ],
  failures: [
    {
      op: "gather_rows",
      label: "a row that is not there",
      inputs: [f32([3, 4]), given("i32", [2], [0, 3])],
      outputs: [out("f32", 2, 4)],
      code: "INVALID_ARGUMENT",
      message: /gather_rows: row 3 .*\[0, 3\)/,
    },
  ],
  gradients: [
    {
      label: "gather_rows",
      operands: { x: [5, 3] },
      constants: { rows: given("i32", [4], [4, 1, 4, 0]) },
      build: ({ x, rows }) => gatherRows(x!, rows!),
    },
  ],
} satisfies OpFile;
