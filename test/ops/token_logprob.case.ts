import { crossEntropy, tokenLogprob } from "../../lib/graph/index.ts";
import {
  activationTypes,
  f32,
  float,
  type GradientCase,
  given,
  i32,
  type OpCase,
  type OpFile,
  out,
  weightTypes,
} from "./harness.ts";

/** rows, width, vocabulary: around the chunks that kernels cut the vocabulary into */
const shapes = [
  [1, 1, 1],
  [1, 64, 257],
  [5, 33, 100],
  [19, 64, 513],
  [40, 48, 1500],
] as const;

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([n, c, v]) =>
    [
      { softcap: 0, scale: 1 },
      { softcap: 3, scale: 0.7 },
    ].flatMap((attributes) => {
      const h = float(type, [n, c], -2, 2);
      const targets = i32([n], 0, v);
      const label = `${type} (${n}, ${c}) of ${v}, ${JSON.stringify(attributes)}`;
      return [
        ...weightTypes.map((w) => ({
          op: "token_logprob",
          label: `${label}, ${w} weight`,
          inputs: [h, float(w, [v, c]), targets],
          attributes,
          outputs: [out("f32", n), out("f32", n)],
          ...(n > 1 ? { symbolic: n } : {}),
        })),
        {
          op: "token_logprob_backward",
          label,
          inputs: [f32([n]), h, float(type, [v, c]), targets, f32([n])],
          derive: { op: "token_logprob", from: [1, 2, 3], outputs: [out("f32", n), out("f32", n)], to: [-1, 4] },
          attributes,
          outputs: [out(type, n, c), out("f32", v, c)],
        },
        {
          op: "token_logprob_backward",
          label: `${label}, with a gradient of logsumexp`,
          inputs: [f32([n]), h, float(type, [v, c]), targets, f32([n]), f32([n])],
          derive: { op: "token_logprob", from: [1, 2, 3], outputs: [out("f32", n), out("f32", n)], to: [-1, 4] },
          attributes,
          outputs: [out(type, n, c), out("f32", v, c)],
        },
      ];
    }),
  ),
);

const ignored = given("i32", [6], [3, -1, 0, -100, 8, -2147483648]);
const isIgnored = (i: number) => ignored.values![i]! < 0;

export default {
  cases: [
    ...cases,
    {
      op: "token_logprob",
      label: "ignored targets",
      inputs: [f32([6, 16]), f32([9, 16]), ignored],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 6), out("f32", 6)],
      unspecified: (output, i) => output === 1 && isIgnored(i),
    },
    {
      op: "token_logprob_backward",
      label: "ignored targets",
      inputs: [f32([6]), f32([6, 16]), f32([9, 16]), ignored, f32([6])],
      derive: { op: "token_logprob", from: [1, 2, 3], outputs: [out("f32", 6), out("f32", 6)], to: [-1, 4] },
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 6, 16), out("f32", 9, 16)],
    },
  ],
  failures: [
    {
      op: "token_logprob",
      label: "a target outside the vocabulary",
      inputs: [f32([2, 4]), f32([9, 4]), given("i32", [2], [-1, 9])],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 2), out("f32", 2)],
      code: "INVALID_ARGUMENT",
      message: /^token_logprob: target 9 at row 1 is outside \[0, 9\)$/,
    },
  ],
  gradients: [
    ...[{}, { softcap: 1.5, scale: 1.3 }].map(
      (options): GradientCase => ({
        label: `token_logprob ${JSON.stringify(options)}`,
        operands: { h: [5, 4], w: [9, 4] },
        constants: { targets: given("i32", [5], [0, 8, -100, 3, 3]) },
        build: ({ h, w, targets }) => tokenLogprob(h!, w!, targets!, options).logprob,
      }),
    ),
    {
      label: "logsumexp",
      operands: { h: [5, 4], w: [9, 4] },
      constants: { targets: given("i32", [5], [0, 8, 7, 3, 3]) },
      build: ({ h, w, targets }) => tokenLogprob(h!, w!, targets!, { softcap: 2 }).logsumexp,
    },
    {
      label: "cross-entropy with z-loss",
      operands: { h: [4, 3], w: [7, 3] },
      constants: { targets: given("i32", [4], [6, 1, -100, 0]), weights: given("f32", [4], [0.25, 0, 0, 0.25]) },
      build: ({ h, w, targets, weights }) => crossEntropy(h!, w!, targets!, weights!, { zLoss: 0.3 }),
    },
    {
      label: "cross-entropy",
      operands: { h: [4, 3], w: [7, 3] },
      constants: { targets: given("i32", [4], [6, 1, 2, 0]), weights: given("f32", [4], [0.25, 0, 0.5, 0.25]) },
      build: ({ h, w, targets, weights }) => crossEntropy(h!, w!, targets!, weights!),
    },
  ],
} satisfies OpFile;
