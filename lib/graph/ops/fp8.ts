import { fail, needDim, needDType, needFloat, needNames } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Value } from "../value.ts";
import type { QuantizedActivations } from "./linear.ts";
import { columnSum } from "./linear.ts";

/** Side of the square blocks of an FP8 weight that share a scale. */
export const FP8_BLOCK = 128;

const blocks = (n: number) => Math.ceil(n / FP8_BLOCK);

const fp8LinearNode = defineOp({
  name: "fp8_linear",
  infer([x, w, scale, b]) {
    const input = needFloat("fp8_linear", "x", x, 2);
    const weight = needDType("fp8_linear", "weight", w, "u8", 2);
    const scales = needDType("fp8_linear", "scale", scale, "f32", 2);
    const [outputs, inputs] = [weight.dim(0), weight.dim(1)];
    needDim("fp8_linear", "last dimension of x", input.dim(1), inputs);
    if (typeof outputs !== "number" || typeof inputs !== "number")
      return fail("fp8_linear", "weight", "a known shape", "a symbolic shape");
    needDim("fp8_linear", "first dimension of scale", scales.dim(0), blocks(outputs));
    needDim("fp8_linear", "last dimension of scale", scales.dim(1), blocks(inputs));
    if (b) needDim("fp8_linear", "bias", needFloat("fp8_linear", "bias", b, 1).dim(0), outputs);
    return [{ dtype: input.dtype, shape: [input.dim(0), outputs] }];
  },
  vjp: ({ inputs: [x, w, scale, b] }, [dy]) => [
    backwardInput([dy, w, scale], {}, [x!])[0],
    // An FP8 weight is frozen, so it has no gradient.
    undefined,
    undefined,
    b && columnSum(dy!),
  ],
});
const backwardInput = defineOp({
  name: "fp8_linear_backward_input",
  infer: (_, __, [type]) => [{ dtype: type!.dtype, shape: type!.shape }],
});

/**
 * Returns y = x·Wᵀ + b. W has 8-bit floats (e4m3) and one scale per block of 128 × 128, as in DeepSeek-V3 (2024, 3.3.2). W is frozen, so
 * it has no gradient.
 * @param x (rows, inputs)
 * @param weight (outputs, inputs), e4m3 as u8
 * @param scale (⌈outputs / 128⌉, ⌈inputs / 128⌉) f32, factors of the blocks
 * @param bias (outputs)
 * @param options.activations `int8` rounds x to e4m3 too, in groups of 128, for 8-bit tensor cores; gradients ignore the rounding
 * @param options.rowwise whether the bits of each row of the result depend on that row alone
 * @returns (rows, outputs) in x's dtype; sums are accumulated in f32
 */
export function fp8Linear(
  x: Value,
  weight: Value,
  scale: Value,
  bias?: Value,
  options: { rowwise?: boolean | undefined; activations?: QuantizedActivations | undefined } = {},
): Value {
  needNames("fp8Linear: options", options, ["rowwise", "activations"]);
  return fp8LinearNode([x, weight, scale, bias], {
    fp8: options.activations === "int8" ? 1 : 0,
    rowwise: options.rowwise ? 1 : 0,
  })[0]!;
}
