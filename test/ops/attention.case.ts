import { attention } from "../../lib/graph/index.ts";
import { activationTypes, f32, float, type OpCase, type OpFile, out } from "./harness.ts";

/** sequences, length, query heads, key heads, width */
const shapes = [
  [1, 1, 1, 1, 4],
  [2, 7, 4, 2, 16],
  [1, 67, 2, 1, 64],
  [2, 33, 2, 2, 20],
  [1, 130, 3, 1, 64],
  [1, 17, 2, 1, 128],
] as const;

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([batch, length, heads, keyHeads, width]) =>
    [
      { name: "causal", causal: 1, window: 0, softcap: 0 },
      { name: "both ways", causal: 0, window: 0, softcap: 0 },
      { name: "window 5", causal: 1, window: 5, softcap: 0 },
      { name: "soft cap", causal: 1, window: 0, softcap: 2 },
    ].flatMap(({ name, ...options }) => {
      const n = batch * length;
      const q = float(type, [n, heads, width], -2, 2);
      const k = float(type, [n, keyHeads, width], -2, 2);
      const attributes = { sequenceLength: length, scale: 1 / Math.sqrt(width), ...options };
      const label = `${type} ${batch} × ${length}, ${heads}/${keyHeads} heads of ${width}, ${name}`;
      const forward = [out(type, n, heads, width), out("f32", n, heads)];
      return [
        {
          op: "attention",
          label,
          inputs: [q, k, k],
          attributes,
          outputs: forward,
        },
        {
          op: "attention_backward",
          label,
          inputs: [float(type, [n, heads, width]), q, k, k, q, f32([n, heads])],
          derive: { op: "attention", from: [1, 2, 3], outputs: forward, to: [4, 5] },
          attributes,
          outputs: [out(type, n, heads, width), out(type, n, keyHeads, width), out(type, n, keyHeads, width)],
        },
      ];
    }),
  ),
);

const options = { causal: 1, window: 0, softcap: 0, scale: 1, sequenceLength: 4 };

export default {
  cases: [
    ...cases,
    {
      op: "attention",
      label: "scores far apart",
      inputs: [f32([24, 2, 32], -30, 30), f32([24, 2, 32], -30, 30), f32([24, 2, 32])],
      attributes: { ...options, sequenceLength: 24 },
      outputs: [out("f32", 24, 2, 32), out("f32", 24, 2)],
    },
  ],
  failures: [
    {
      op: "attention",
      label: "heads that do not divide",
      inputs: [f32([8, 3, 4]), f32([8, 2, 4]), f32([8, 2, 4])],
      attributes: options,
      outputs: [out("f32", 8, 3, 4), out("f32", 8, 3)],
      code: "SHAPE_MISMATCH",
      message: /^attention: q has 3 heads, expected a multiple of the 2 of k$/,
    },
    {
      op: "attention",
      label: "rows that are no whole sequences",
      inputs: [f32([9, 2, 4]), f32([9, 2, 4]), f32([9, 2, 4])],
      attributes: options,
      outputs: [out("f32", 9, 2, 4), out("f32", 9, 2)],
      code: "SHAPE_MISMATCH",
      message: /^attention: q has 9 rows, expected a multiple of sequenceLength 4$/,
    },
  ],
  gradients: [{ causal: true }, { causal: false }, { causal: true, window: 2 }, { causal: true, softcap: 1.5 }].map(
    (given) => ({
      label: `attention ${JSON.stringify(given)}`,
      operands: { q: [8, 4, 3], k: [8, 2, 3], v: [8, 2, 3] },
      build: ({ q, k, v }) => attention({ q: q!, k: k!, v: v! }, { sequenceLength: 4, scale: 0.9, ...given }),
    }),
  ),
} satisfies OpFile;
