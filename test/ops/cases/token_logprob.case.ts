import { crossEntropy, tokenLogprob } from "../../../lib/graph/index.ts";
import { toBf16, toFloat32 } from "../../../lib/graph/tensor.ts";
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
} from "../harness.ts";

/** rows, width, vocabulary: sizes around the kernels' vocabulary chunks */
const shapes = [
  [1, 1, 1],
  [1, 64, 257],
  [5, 33, 100],
  [19, 64, 513],
  [40, 48, 1500],
] as const;

/**
 * The outputs of token_logprob_with_gradient if a kernel rounds logit gradients to bf16 before the matrix products, as other frameworks do.
 * With a soft cap, kernels keep them in f32.
 */
const withRoundedGradients =
  (scale: number, n: number, c: number, v: number) =>
  ([upstream, h, w, targets, ofLse]: readonly ArrayLike<number>[]) => {
    const [dh, dw] = [new Float64Array(n * c), new Float64Array(v * c)];
    for (let i = 0; i < n; i++) {
      if (targets![i]! < 0) continue;
      const logits = Float64Array.from({ length: v }, (_, k) => {
        let dot = 0;
        for (let j = 0; j < c; j++) dot += h![i * c + j]! * w![k * c + j]!;
        return dot * scale;
      });
      const most = Math.max(...logits);
      const total = logits.reduce((sum, x) => sum + Math.exp(x - most), 0);
      const gradients = logits.map((x, k) => {
        const p = Math.exp(x - most) / total;
        const d = upstream![i]! * ((k === targets![i] ? 1 : 0) - p) + (ofLse?.[i] ?? 0) * p;
        return d * scale;
      });
      const rounded = toFloat32("bf16", toBf16(Float32Array.from(gradients)));
      for (let k = 0; k < v; k++)
        for (let j = 0; j < c; j++) {
          dh[i * c + j]! += rounded[k]! * w![k * c + j]!;
          dw[k * c + j]! += rounded[k]! * h![i * c + j]!;
        }
    }
    return [undefined, undefined, dh, dw];
  };

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([n, c, v]) =>
    [
      { softcap: 0, scale: 1 },
      { softcap: 3, scale: 0.7 },
    ].flatMap((attributes) => {
      const h = float(type, [n, c], -2, 2);
      const targets = i32([n], 0, v);
      const label = `${type} (${n}, ${c}) of ${v}, ${JSON.stringify(attributes)}`;
      const gradients = withRoundedGradients(attributes.scale, n, c, v);
      const rounded = type === "bf16" &&
        attributes.softcap === 0 && {
          rounded: ([upstream, h, w, targets, , ofLse]: Parameters<typeof gradients>[0]) =>
            gradients(ofLse ? [upstream!, h!, w!, targets!, ofLse] : [upstream!, h!, w!, targets!]).slice(2),
        };
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
          ...rounded,
        },
        {
          op: "token_logprob_backward",
          label: `${label}, with a gradient of logsumexp`,
          inputs: [f32([n]), h, float(type, [v, c]), targets, f32([n]), f32([n])],
          derive: { op: "token_logprob", from: [1, 2, 3], outputs: [out("f32", n), out("f32", n)], to: [-1, 4] },
          attributes,
          outputs: [out(type, n, c), out("f32", v, c)],
          ...rounded,
        },
      ];
    }),
  ),
);

// Log-probabilities and gradients in one op. The last shape has several chunks of rows.
const fused: OpCase[] = activationTypes.flatMap((type) =>
  [...shapes, [530, 8, 40] as const].flatMap(([n, c, v]) =>
    [
      { softcap: 0, scale: 1 },
      { softcap: 3, scale: 0.7 },
    ].flatMap((attributes) =>
      [false, true].map(
        (ofLse): OpCase => ({
          op: "token_logprob_with_gradient",
          label: `${type} (${n}, ${c}) of ${v}, ${JSON.stringify(attributes)}${ofLse ? ", with a gradient of logsumexp" : ""}`,
          inputs: [
            f32([n]),
            float(type, [n, c], -2, 2),
            float(type, [v, c]),
            i32([n], 0, v),
            ...(ofLse ? [f32([n])] : []),
          ],
          attributes,
          outputs: [out("f32", n), out("f32", n), out(type, n, c), out("f32", v, c)],
          ...(type === "bf16" &&
            attributes.softcap === 0 && { rounded: withRoundedGradients(attributes.scale, n, c, v) }),
        }),
      ),
    ),
  ),
);

// A head with a bias: all of it is trained, its weight is frozen, or all of it is frozen.
const biased: OpCase[] = activationTypes.flatMap((type) =>
  [...shapes, [530, 8, 40] as const].flatMap(([n, c, v]) =>
    [
      { softcap: 0, scale: 1 },
      { softcap: 3, scale: 0.7 },
    ].flatMap((attributes): OpCase[] => {
      const operands = [float(type, [n, c], -2, 2), float(type, [v, c]), i32([n], 0, v)];
      const label = `${type} (${n}, ${c}) of ${v}, ${JSON.stringify(attributes)}, with a bias`;
      const forward = [out("f32", n), out("f32", n)];
      const backward = (outputs: OpCase["outputs"], what: string): OpCase => ({
        op: "token_logprob_backward",
        label: `${label}, ${what}`,
        inputs: [f32([n]), ...operands, f32([n]), f32([n]), f32([v])],
        derive: { op: "token_logprob", from: [1, 2, 3, 6], outputs: forward, to: [-1, 4] },
        attributes,
        outputs,
      });
      return [
        { op: "token_logprob", label, inputs: [...operands, f32([v])], attributes, outputs: forward },
        backward([out(type, n, c), out("f32", v, c), out("f32", v)], "all gradients"),
        backward([out(type, n, c), out("f32", v)], "a frozen weight"),
        backward([out(type, n, c)], "a frozen head"),
      ];
    }),
  ),
);

// Logits far above the soft cap, where its slope, 1 − tanh², cancels.
const saturated: OpCase[] = (() => {
  const [n, c, v] = [5, 33, 100];
  const operands = [f32([n, c], 0.5, 1), f32([v, c], 0.5, 1), i32([n], 0, v)];
  const label = "logits far above the soft cap";
  const attributes = { softcap: 3.5, scale: 1 };
  const results = [out("f32", n), out("f32", n)];
  const gradients = [out("f32", n, c), out("f32", v, c)];
  return [
    {
      op: "token_logprob_backward",
      label,
      inputs: [f32([n]), ...operands, f32([n])],
      derive: { op: "token_logprob", from: [1, 2, 3], outputs: results, to: [-1, 4] },
      attributes,
      outputs: gradients,
    },
    {
      op: "token_logprob_with_gradient",
      label,
      inputs: [f32([n]), ...operands],
      attributes,
      outputs: [...results, ...gradients],
    },
  ];
})();

// The rows of w are close to each other, and the gradients of logits sum to nearly 0. So the gradient of h is far smaller than its terms.
// Rounding the gradients of logits to bf16 would exceed the allowed error. With a soft cap, no kernel may round them.
const cancelling: OpCase[] = (() => {
  const [n, c, v] = [19, 64, 513];
  const operands = [float("bf16", [n, c], -0.1, 0.1), float("bf16", [v, c], 1, 1.06), i32([n], 0, v)];
  const label = "bf16 with a soft cap, whose gradients cancel";
  const attributes = { softcap: 3, scale: 0.7 };
  const results = [out("f32", n), out("f32", n)];
  const gradients = [out("bf16", n, c), out("f32", v, c)];
  return [
    {
      op: "token_logprob_backward",
      label,
      inputs: [f32([n]), ...operands, f32([n])],
      derive: { op: "token_logprob", from: [1, 2, 3], outputs: results, to: [-1, 4] },
      attributes,
      outputs: gradients,
    },
    {
      op: "token_logprob_with_gradient",
      label,
      inputs: [f32([n]), ...operands],
      attributes,
      outputs: [...results, ...gradients],
    },
  ];
})();

const ignored = given("i32", [6], [3, -1, 0, -100, 8, -2147483648]);
const isIgnored = (i: number) => ignored.values![i]! < 0;

export default {
  cases: [
    ...cases,
    ...fused,
    ...biased,
    ...saturated,
    ...cancelling,
    ...weightTypes.map((w) => ({
      op: "token_logprob_with_gradient",
      label: `a frozen weight in ${w}`,
      inputs: [f32([5]), f32([5, 33]), float(w, [100, 33]), i32([5], 0, 100)],
      attributes: { softcap: 0, scale: 1 },
      outputs: [out("f32", 5), out("f32", 5), out("f32", 5, 33)],
    })),
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
    ...activationTypes.map(
      (type): OpCase => ({
        op: "token_logprob_with_gradient",
        label: `${type}, ignored targets`,
        inputs: [f32([6]), float(type, [6, 16]), float(type, [9, 16]), ignored],
        attributes: { softcap: 0, scale: 1 },
        outputs: [out("f32", 6), out("f32", 6), out(type, 6, 16), out("f32", 9, 16)],
        ...(type === "bf16" && { rounded: withRoundedGradients(1, 6, 16, 9) }),
        unspecified: (output, i) => output === 1 && isIgnored(i),
      }),
    ),
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
    ...[{}, { softcap: 1.5, scale: 1.3 }].flatMap((options): GradientCase[] => [
      {
        label: `token_logprob with a bias ${JSON.stringify(options)}`,
        operands: { h: [5, 4], weight: [9, 4], bias: [9] },
        constants: { targets: given("i32", [5], [0, 8, -100, 3, 3]) },
        build: ({ h, weight, bias, targets }) =>
          tokenLogprob(h!, { weight: weight!, bias: bias!, ...options }, targets!).logprob,
      },
      {
        label: `logsumexp of a head with a bias ${JSON.stringify(options)}`,
        operands: { h: [5, 4], weight: [9, 4], bias: [9] },
        constants: { targets: given("i32", [5], [0, 8, 1, 3, 3]) },
        build: ({ h, weight, bias, targets }) =>
          tokenLogprob(h!, { weight: weight!, bias: bias!, ...options }, targets!).logsumexp,
      },
    ]),
    {
      label: "cross-entropy of a head with a bias, with smoothed labels and z-loss",
      operands: { h: [4, 3], weight: [7, 3], bias: [7] },
      constants: { targets: given("i32", [4], [6, 1, -100, 0]), weights: given("f32", [4], [0.25, 0.5, 0, 0.25]) },
      build: ({ h, weight, bias, targets, weights }) =>
        crossEntropy(h!, { weight: weight!, bias: bias!, scale: 0.7 }, targets!, weights!, {
          labelSmoothing: 0.2,
          zLoss: 0.1,
        }),
    },
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
      label: "cross-entropy with smoothed labels, a scale and z-loss",
      operands: { h: [4, 3], w: [7, 3] },
      constants: { targets: given("i32", [4], [6, 1, -100, 0]), weights: given("f32", [4], [0.25, 0.5, 0, 0.25]) },
      build: ({ h, w, targets, weights }) =>
        crossEntropy(h!, w!, targets!, weights!, { labelSmoothing: 0.2, scale: 0.7, zLoss: 0.1 }),
    },
    {
      label: "cross-entropy",
      operands: { h: [4, 3], w: [7, 3] },
      constants: { targets: given("i32", [4], [6, 1, 2, 0]), weights: given("f32", [4], [0.25, 0, 0.5, 0.25]) },
      build: ({ h, w, targets, weights }) => crossEntropy(h!, w!, targets!, weights!),
    },
  ],
} satisfies OpFile;
