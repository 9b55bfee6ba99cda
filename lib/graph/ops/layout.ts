import { fail, needFloat, needList, needNumber, needValue } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import { checkType, Dimension, fixed, type Shape, sameShape, showShape, type Value } from "../value.ts";
import { scale } from "./elementwise.ts";

/**
 * Whether two shapes have equally many elements for all sizes of their symbolic dimensions. Symbols are compared by
 * identity, because two symbols with the same name may differ.
 */
function sameCount(a: Shape, b: Shape): boolean {
  const product = (shape: Shape) => shape.reduce<number>((n, d) => (d instanceof Dimension ? n : n * d), 1);
  const left = a.filter((d) => d instanceof Dimension);
  for (const d of b) {
    if (!(d instanceof Dimension)) continue;
    const at = left.indexOf(d);
    if (at < 0) return false;
    left.splice(at, 1);
  }
  return left.length === 0 && product(a) === product(b);
}

const reshapeNode = defineOp({
  name: "reshape",
  infer([x], _, [wanted]) {
    const v = needFloat("reshape", "x", x);
    if (!sameCount(v.shape, wanted!.shape))
      fail("reshape", "shape", `as many elements as ${showShape(v.shape)}`, showShape(wanted!.shape));
    return [wanted!];
  },
  vjp: ({ inputs: [x] }, [dy]) => [reshape(dy!, x!.shape)],
});
/** Returns the same elements in another shape. It copies nothing. */
export function reshape(x: Value, shape: Shape): Value {
  needValue("reshape: x", x);
  checkType({ dtype: x.dtype, shape }, "reshape");
  return reshapeNode([x], {}, [{ dtype: x.dtype, shape }])[0]!;
}

const splitNode = defineOp({
  name: "split",
  infer([x], _, wanted) {
    const v = needFloat("split", "x", x);
    const total = wanted.reduce((n, t) => n + fixed(t.shape.at(-1), "split: width"), 0);
    if (total !== v.last) fail("split", "widths", `to add up to ${v.last}`, total);
    return wanted;
  },
  // The gradient of x is the concatenation of the parts' gradients. The gradient of an unused part is zero.
  vjp({ outputs }, gradients) {
    if (!gradients.some((g) => g)) return [undefined];
    return [concat(outputs.map((part, i) => gradients[i] ?? scale(part, 0)))];
  },
});
/** Splits the last dimension into parts. @param x (…, Σ widths) @returns one value (…, width) per width */
export function split(x: Value, widths: readonly number[]): readonly Value[] {
  needValue("split: x", x);
  needList("split: widths", widths);
  for (const width of widths) needNumber("split: widths", width);
  const lead = x.shape.slice(0, -1);
  return splitNode(
    [x],
    {},
    widths.map((w) => ({ dtype: x.dtype, shape: [...lead, w] })),
  );
}

const concatNode = defineOp({
  name: "concat",
  infer(parts) {
    const first = needFloat("concat", "first part", parts[0]);
    const width = parts.reduce((n, p) => n + needFloat("concat", "part", p).last, 0);
    for (const p of parts) {
      if (p!.dtype !== first.dtype) fail("concat", "part", first.dtype, p!.dtype);
      if (!sameShape(p!.shape.slice(0, -1), first.shape.slice(0, -1)))
        fail(
          "concat",
          "leading dimensions of a part",
          showShape(first.shape.slice(0, -1)),
          showShape(p!.shape.slice(0, -1)),
        );
    }
    return [{ dtype: first.dtype, shape: [...first.shape.slice(0, -1), width] }];
  },
  vjp: ({ inputs }, [dy]) =>
    split(
      dy!,
      inputs.map((p) => p!.last),
    ),
});
/** Concatenates values along the last dimension. */
export function concat(parts: readonly Value[]): Value {
  needList("concat: parts", parts);
  return concatNode(parts)[0]!;
}
