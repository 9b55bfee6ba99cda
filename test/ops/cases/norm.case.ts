import { layerNorm, rmsNorm } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, type OpCase, type OpFile, out, weightTypes } from "../harness.ts";

const shapes = [
  [1, 1],
  [3, 5],
  [7, 64],
  [5, 67],
  [33, 576],
  [2, 3, 4, 16],
  [70, 40], // several parts of the sums over rows
  [300, 520], // the same, for CUDA rows of several warps
  [2, 2056],
  [2, 4104],
  [2, 8200], // longer than the rows that a CUDA block keeps in registers
] as const;

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap((shape) => {
    const width = shape.at(-1)!;
    const symbolic = shape[0] > 1 ? { symbolic: shape[0] } : {};
    return [0, 1].flatMap((residual): OpCase[] => {
      const label = `${type} (${shape})${residual ? " with residual" : ""}`;
      const x = float(type, shape);
      const outputs = [out(type, ...shape), ...(residual ? [out(type, ...shape)] : [])];
      const dx = out(type, ...shape);
      const dw = out("f32", width);
      // With a small eps, the norm of a single element hardly depends on the element, and its gradient would cancel to noise.
      const eps = width === 1 ? 0.5 : 1e-3;
      const backward = [float(type, shape), x, float(type, [width]), residual ? float(type, shape) : undefined];
      return [
        {
          op: "rms_norm",
          label,
          inputs: [x, float(type, [width]), residual ? x : undefined],
          attributes: { eps: 1e-5, offset: residual },
          outputs,
          ...symbolic,
        },
        {
          op: "layer_norm",
          label,
          inputs: [x, float(type, [width]), residual ? undefined : float(type, [width]), residual ? x : undefined],
          attributes: { eps: 1e-5 },
          outputs,
          ...symbolic,
        },
        {
          op: "rms_norm_backward",
          label,
          inputs: backward,
          attributes: { eps, offset: residual },
          outputs: [dx, dw],
        },
        { op: "layer_norm_backward", label, inputs: backward, attributes: { eps }, outputs: [dx, dw, dw] },
      ];
    });
  }),
);

/** f32 input with a bf16 norm; the residual sum stays f32. */
const narrowCases: OpCase[] = shapes.flatMap((shape) =>
  [0, 1].flatMap((residual): OpCase[] => {
    const label = `f32 (${shape}) to bf16${residual ? " with residual" : ""}`;
    const [x, w] = [f32(shape), f32([shape.at(-1)!])];
    const outputs = [out("bf16", ...shape), ...(residual ? [out("f32", ...shape)] : [])];
    const sum = residual ? x : undefined;
    return [
      { op: "rms_norm", label, inputs: [x, w, sum], attributes: { eps: 1e-5, offset: residual }, outputs },
      { op: "layer_norm", label, inputs: [x, w, w, sum], attributes: { eps: 1e-5 }, outputs },
    ];
  }),
);

export default {
  cases: [
    ...cases,
    ...narrowCases,
    ...weightTypes.map((w) => ({
      op: "rms_norm",
      label: `${w} weight, large values`,
      inputs: [f32([4, 100], -1000, 1000), float(w, [100])],
      attributes: { eps: 1e-6, offset: 0 },
      outputs: [out("f32", 4, 100)],
    })),
    {
      op: "layer_norm",
      label: "values with a large mean",
      inputs: [f32([4, 100], 1000, 1001), f32([100]), f32([100])],
      attributes: { eps: 1e-5 },
      outputs: [out("f32", 4, 100)],
    },
  ],
  failures: [
    {
      op: "rms_norm",
      label: "a weight of another width",
      inputs: [f32([4, 8]), f32([9])],
      attributes: { eps: 1e-5, offset: 0 },
      outputs: [out("f32", 4, 8)],
      code: "SHAPE_MISMATCH",
      message: /^rms_norm: last dimension of x: expected 9 like w, got 8$/,
    },
    {
      op: "layer_norm",
      label: "a negative eps",
      inputs: [f32([4, 8]), f32([8])],
      attributes: { eps: -1 },
      outputs: [out("f32", 4, 8)],
      code: "INVALID_ARGUMENT",
      message: /^layer_norm: eps: expected a number in \[0, 1\], got -1$/,
    },
  ],
  gradients: [
    {
      label: "rms_norm",
      operands: { x: [3, 6], w: [6] },
      build: ({ x, w }) => rmsNorm(x!, w!, { eps: 1e-2 }).y,
    },
    {
      label: "rms_norm with residual and offset",
      operands: { x: [2, 2, 4], w: [4], residual: [2, 2, 4] },
      build: ({ x, w, residual }) => {
        const { y, h } = rmsNorm(x!, w!, { eps: 1e-2, offset: 1, residual: residual! });
        return [y, h];
      },
    },
    {
      label: "layer_norm",
      operands: { x: [3, 6], w: [6], b: [6] },
      build: ({ x, w, b }) => layerNorm(x!, w!, { eps: 1e-2, bias: b! }).y,
    },
    {
      label: "layer_norm with residual, no bias",
      operands: { x: [3, 6], w: [6], residual: [3, 6] },
      build: ({ x, w, residual }) => {
        const { y, h } = layerNorm(x!, w!, { eps: 1e-2, residual: residual! });
        return [y, h];
      },
    },
  ],
} satisfies OpFile;
