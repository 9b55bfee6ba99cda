import type { FloatDType } from "../dtype.ts";
import { needDType, needFloat } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Value } from "../value.ts";

const embeddingNode = defineOp({
  name: "embedding",
  infer([table, ids], _, [wanted]) {
    const t = needFloat("embedding", "table", table, 2);
    const i = needDType("embedding", "ids", ids, "i32", 1);
    return [{ dtype: wanted!.dtype, shape: [i.dim(0), t.dim(1)] }];
  },
  vjp: ({ inputs: [table, ids], attributes }, [dy]) => [
    backwardNode([dy, ids], attributes, [{ dtype: "f32", shape: table!.shape }])[0],
    undefined,
  ],
});
const backwardNode = defineOp({ name: "embedding_backward", infer: (_, __, [wanted]) => [wanted!] });

/**
 * Rows of a table by id, times `scale`. An id outside the table is an error when the program runs.
 * @param table (vocabulary, width) @param ids (rows) i32
 * @returns (rows, width) in `dtype`
 */
export function embedding(
  table: Value,
  ids: Value,
  { scale = 1, dtype = "f32" }: { scale?: number; dtype?: FloatDType } = {},
): Value {
  return embeddingNode([table, ids], { scale }, [{ dtype, shape: [] }])[0]!;
}

const gatherNode = defineOp({
  name: "gather_rows",
  infer([x, rows]) {
    const input = needFloat("gather_rows", "x", x, 2);
    return [{ dtype: input.dtype, shape: [needDType("gather_rows", "rows", rows, "i32", 1).dim(0), input.dim(1)] }];
  },
  vjp: ({ inputs: [x, rows] }, [dy]) => [gatherBackwardNode([dy, rows, x])[0], undefined],
});
const gatherBackwardNode = defineOp({
  name: "gather_rows_backward",
  infer: ([, , x]) => [{ dtype: x!.dtype, shape: x!.shape }],
});

/** x's rows by number. @param x (rows, width) @param rows (count) i32 @returns (count, width) */
export function gatherRows(x: Value, rows: Value): Value {
  return gatherNode([x, rows])[0]!;
}
