import { type FloatDType, isQuantized } from "../dtype.ts";
import { needDim, needDType, needFloat, needNames, needValue, needWeight } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Dim, Value } from "../value.ts";
import { reshape } from "./layout.ts";

const embeddingNode = defineOp({
  name: "embedding",
  infer([table, ids], _, [wanted]) {
    const t = needWeight("embedding", "table", table);
    const i = needDType("embedding", "ids", ids, "i32", 1);
    return [{ dtype: wanted!.dtype, shape: [i.dim(0), t.dim(1)] }];
  },
  vjp: ({ inputs: [table, ids], attributes }, [dy]) => [
    isQuantized(table!.dtype)
      ? undefined
      : backwardNode([dy, ids], attributes, [{ dtype: "f32", shape: table!.shape }])[0],
    undefined,
  ],
});
// lib/graph/passes/fuse.ts may add a third operand: another gradient of the table, to which this node adds its own.
const backwardNode = defineOp({ name: "embedding_backward", infer: (_, __, [wanted]) => [wanted!] });

/**
 * Looks up rows of a floating or quantized table by id and multiplies them by `scale`. An id outside the table is an error at run time.
 * @param table (vocabulary, width) @param ids (rows) i32
 * @returns (rows, width) in `dtype`
 */
export function embedding(
  table: Value,
  ids: Value,
  options: { scale?: number | undefined; dtype?: FloatDType | undefined } = {},
): Value {
  const { scale = 1, dtype = "f32" } = needNames("embedding: options", options, ["scale", "dtype"]);
  return embeddingNode([table, ids], { scale }, [{ dtype, shape: [] }])[0]!;
}

const gatherNode = defineOp({
  name: "gather_rows",
  infer([x, rows]) {
    const input = needFloat("gather_rows", "x", x, 2);
    return [{ dtype: input.dtype, shape: [needDType("gather_rows", "rows", rows, "i32", 1).dim(0), input.dim(1)] }];
  },
  vjp: ({ inputs: [x, rows] }, [dy]) => [
    segmentSumNode([dy, rows], {}, [{ dtype: x!.dtype, shape: x!.shape }])[0],
    undefined,
  ],
});

/** Returns rows of x by index. @param x (rows, width) @param rows indices, (count) i32 @returns (count, width) */
export function gatherRows(x: Value, rows: Value): Value {
  return gatherNode([x, rows])[0]!;
}

const segmentSumNode = defineOp({
  name: "segment_sum",
  infer([x, segments], _, [wanted]) {
    const input = needFloat("segment_sum", "x", x, 2);
    needDim("segment_sum", "segments", needDType("segment_sum", "segments", segments, "i32", 1).dim(0), input.dim(0));
    return [wanted!];
  },
  vjp: ({ inputs: [, segments] }, [dy]) => [gatherRows(dy!, segments!), undefined],
});

/**
 * Sums rows by segment: row s of the result is the sum of the rows of x whose segment is s. A segment without rows has the sum 0.
 * @param x (rows, width) or (rows) @param segments (rows) i32, each within [0, count)
 * @returns (count, width), or (count) for x of one dimension
 */
export function segmentSum(x: Value, segments: Value, count: Dim): Value {
  needValue("segmentSum: x", x);
  if (x.rank === 1) return reshape(segmentSum(reshape(x, [x.dim(0), 1]), segments, count), [count]);
  return segmentSumNode([x, segments], {}, [{ dtype: x.dtype, shape: [count, x.dim(1)] }])[0]!;
}
