import { embedding } from "../../../lib/graph/index.ts";
import { activationTypes, bf16, f32, float, given, i32, type OpFile, out, weightTypes } from "../harness.ts";

export default {
  cases: [
    ...weightTypes.flatMap((table) =>
      activationTypes.map((y) => ({
        op: "embedding",
        label: `${table} table to ${y}`,
        inputs: [float(table, [37, 67]), i32([13], 0, 37)],
        attributes: { scale: 1 },
        outputs: [out(y, 13, 67)],
        symbolic: 13,
      })),
    ),
    {
      op: "embedding",
      label: "scaled",
      inputs: [f32([5, 64]), given("i32", [3], [4, 0, 4])],
      attributes: { scale: 8 },
      outputs: [out("f32", 3, 64)],
    },
    {
      op: "embedding",
      label: "one element",
      inputs: [bf16([1, 1]), given("i32", [1], [0])],
      attributes: { scale: 1 },
      outputs: [out("bf16", 1, 1)],
      exact: true,
    },
    ...activationTypes.map((dy) => ({
      op: "embedding_backward",
      label: `${dy}, repeated and absent ids`,
      inputs: [float(dy, [40, 67]), i32([40], 0, 9)],
      attributes: { scale: 1.5 },
      outputs: [out("f32", 12, 67)],
    })),
    {
      op: "embedding_backward",
      label: "more rows and columns than a CUDA block takes at once",
      inputs: [f32([1100, 530]), i32([1100], 0, 90)],
      attributes: { scale: 1.5 },
      outputs: [out("f32", 90, 530)],
    },
    ...activationTypes.flatMap((dy) => [
      {
        op: "embedding_backward",
        label: `${dy}, ids with hundreds of rows`,
        inputs: [float(dy, [700, 264]), i32([700], 0, 5)],
        attributes: { scale: 1.5 },
        outputs: [out("f32", 7, 264)],
      },
      {
        op: "embedding_backward",
        label: `${dy}, ids with hundreds of rows, added to another gradient`,
        inputs: [float(dy, [700, 72]), i32([700], 0, 5), f32([7, 72])],
        attributes: { scale: 1.5 },
        outputs: [out("f32", 7, 72)],
      },
      {
        op: "embedding_backward",
        label: `${dy}, one id with all rows`,
        inputs: [float(dy, [256, 8]), i32([256], 1, 2)],
        attributes: { scale: 1 },
        outputs: [out("f32", 2, 8)],
      },
    ]),
    {
      op: "embedding_backward",
      label: "a large vocabulary",
      inputs: [f32([900, 8]), i32([900], 0, 40_000)],
      attributes: { scale: 1 },
      outputs: [out("f32", 40_000, 8)],
    },
    ...activationTypes.map((dy) => ({
      op: "embedding_backward",
      label: `${dy}, added to another gradient`,
      inputs: [float(dy, [40, 67]), i32([40], 0, 9), f32([12, 67])],
      attributes: { scale: 1.5 },
      outputs: [out("f32", 12, 67)],
    })),
  ],
  failures: [7, -1, 2147483647].flatMap((id) => [
    {
      op: "embedding",
      label: `id ${id} for a table of 7 rows`,
      inputs: [f32([7, 4]), given("i32", [3], [0, id, 6])],
      attributes: { scale: 1 },
      outputs: [out("f32", 3, 4)],
      code: "INVALID_ARGUMENT",
      message: new RegExp(`embedding: id ${id} .*\\[0, 7\\)`),
    },
    {
      op: "embedding_backward",
      label: `id ${id} for a table of 7 rows, after 300 valid ids`,
      inputs: [f32([301, 8]), given("i32", [301], [...Array(300).fill(6), id])],
      attributes: { scale: 1 },
      outputs: [out("f32", 7, 8)],
      code: "INVALID_ARGUMENT",
      message: new RegExp(`embedding_backward: id ${id} .*\\[0, 7\\)`),
    },
  ]),
  gradients: [
    {
      label: "embedding",
      operands: { table: [6, 5] },
      constants: { ids: given("i32", [4], [1, 5, 1, 0]) },
      build: ({ table, ids }) => embedding(table!, ids!, { scale: 1.5 }),
    },
  ],
} satisfies OpFile;
