import { BLOCK_TYPES } from "../../../lib/graph/dtype.ts";
import { add, combineExperts, expertLinear, routeExperts, type Value } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, given, i32, type OpCase, type OpFile, out, weightTypes } from "../harness.ts";

type Values = Readonly<Record<string, Value>>;

// rows, slots, experts, inputs, outputs
const shapes = [
  [1, 1, 1, 3, 2],
  [5, 2, 4, 12, 10],
  [40, 3, 5, 67, 33],
  [130, 2, 3, 48, 96],
  [9, 8, 128, 16, 24], // most experts are unused
] as const;

const linears: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([n, k, e, inputs, outputs], s) =>
    [false, true].flatMap((perSlot): OpCase[] => {
      const x = float(type, perSlot ? [n, k, inputs] : [n, inputs]);
      const experts = i32([n, k], 0, e);
      const label = `${type} (${x.shape}) by ${k} of ${e}, ${outputs} outputs`;
      const symbolic = n > 1 && n !== e && n !== k ? { symbolic: n } : {};
      const dy = float(type, [n, k, outputs]);
      const like = out(type, ...x.shape);
      return [
        ...weightTypes.map((wt) => ({
          op: "expert_linear",
          label: `${label}, ${wt} weight${s % 2 ? ", bias" : ""}`,
          inputs: [x, float(wt, [e, outputs, inputs]), experts, ...(s % 2 ? [float(wt, [e, outputs])] : [])],
          attributes: { rowwise: s === 2 ? 1 : 0 },
          outputs: [out(type, n, k, outputs)],
          ...symbolic,
        })),
        {
          op: "expert_linear_backward_input",
          label,
          inputs: [dy, float(type, [e, outputs, inputs]), experts],
          outputs: [like],
          ...symbolic,
        },
        {
          op: "expert_linear_backward_weight",
          label,
          inputs: [dy, x, experts],
          outputs: [out("f32", e, outputs, inputs)],
        },
      ];
    }),
  ),
);

/** The experts of n pairs. Expert 0 has no pair, expert 1 has one, the last expert has 40 %, and the others share the rest. */
function uneven(n: number, experts: number): number[] {
  return Array.from({ length: n }, (_, i) => (i === 3 ? 1 : i % 5 < 2 ? experts - 1 : 2 + ((i * 7) % (experts - 3))));
}

// bf16 operands with rows of whole 16-byte pieces. The numbers of inputs are not multiples of 64.
const unevenPairs: OpCase[] = (
  [
    [90, 2, 5, 72, 136],
    [200, 2, 4, 200, 80],
    [70, 2, 40, 136, 64], // most experts have less than a tile
    [24, 2, 4, 264, 67], // outputs that are not a multiple of 8
  ] as const
).flatMap(([n, k, e, inputs, outputs]) =>
  [false, true].flatMap((perSlot): OpCase[] => {
    const x = float("bf16", perSlot ? [n, k, inputs] : [n, inputs]);
    const experts = given("i32", [n, k], uneven(n * k, e));
    const label = `bf16 (${x.shape}) by ${k} of ${e} uneven experts, ${outputs} outputs`;
    const dy = float("bf16", [n, k, outputs]);
    const weight = float("bf16", [e, outputs, inputs]);
    return [
      ...(["bf16", "f32"] as const).map((type) => ({
        op: "expert_linear",
        label: `${label} in ${type}, bias`,
        inputs: [x, weight, experts, float("f32", [e, outputs])],
        attributes: { rowwise: type === "f32" ? 1 : 0 },
        outputs: [out(type, n, k, outputs)],
      })),
      {
        op: "expert_linear",
        label: `f32 rounded to ${label}`,
        inputs: [f32(x.shape), weight, experts],
        attributes: { rowwise: 0, bf16: 1 },
        outputs: [out("f32", n, k, outputs)],
        symbolic: n,
      },
      {
        op: "expert_linear_backward_input",
        label,
        inputs: [dy, weight, experts],
        outputs: [out("bf16", ...x.shape)],
      },
      {
        op: "expert_linear_backward_weight",
        label,
        inputs: [dy, x, experts],
        outputs: [out("f32", e, outputs, inputs)],
      },
    ];
  }),
);

// One type per block and group size, with few and many pairs.
const quantized: OpCase[] = (["q8_0", "q4_0", "q4_k", "q6_k", "mxfp4"] as const).flatMap((w) =>
  [3, 41].flatMap((n): OpCase[] => {
    const inputs = 2 * BLOCK_TYPES[w].elements;
    const weight = { dtype: w, shape: [4, 70, inputs] };
    const experts = i32([n, 2], 0, 4);
    return [
      {
        op: "expert_linear",
        label: `${n} rows, ${w} weight, bias`,
        inputs: [f32([n, inputs]), weight, experts, f32([4, 70])],
        attributes: { rowwise: 0 },
        outputs: [out("f32", n, 2, 70)],
        symbolic: n,
      },
      {
        op: "expert_linear_backward_input",
        label: `${n} rows, ${w} weight`,
        inputs: [f32([n, 2, 70]), weight, experts],
        outputs: [out("f32", n, inputs)],
        symbolic: n,
      },
    ];
  }),
);

// An expert has 65 pairs on average, so tensor cores multiply by decoded weights. The pairs are spread unevenly.
const decoded: OpCase[] = (["q8_0", "q4_k", "mxfp4"] as const).flatMap((w) =>
  (
    [
      ["bf16", "bf16"],
      ["bf16", "f32"],
      ["f32", "f32"],
    ] as const
  ).map(([rows, type]): OpCase => {
    const inputs = 3 * BLOCK_TYPES[w].elements;
    return {
      op: "expert_linear",
      label: `130 rows of ${rows === "f32" ? "f32 that may be rounded" : rows}, ${w} weight, bias, results in ${type}`,
      inputs: [
        float(rows, [130, inputs]),
        { dtype: w, shape: [4, 70, inputs] },
        given("i32", [130, 2], uneven(260, 4)),
        float("bf16", [4, 70]),
      ],
      attributes: { rowwise: 0, ...(rows === "f32" && { may_round: 1 }) },
      ...(rows === "f32" && { alternative: { rowwise: 0, bf16: 2 } }),
      outputs: [out(type, 130, 2, 70)],
    };
  }),
);

const others: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([n, k, e, , width]): OpCase[] => {
    const logits = float(type, [n, e], -3, 3);
    const symbolic = n > 1 && n !== k ? { symbolic: n } : {};
    const pair = [out("f32", n, k), out("i32", n, k)];
    const label = `${type} ${n} rows, ${k} of ${e}`;
    const y = float(type, [n, k, width]);
    return [
      ...(k <= e
        ? [0, 1].flatMap((normalize): OpCase[] => [
            {
              op: "route_experts",
              label: `${label}${normalize ? ", normalized" : ""}`,
              inputs: [logits],
              attributes: { normalize },
              outputs: pair,
              ...(n !== e && symbolic),
            },
            {
              op: "route_experts_backward",
              label: `${label}${normalize ? ", normalized" : ""}`,
              inputs: [f32([n, k]), logits, given("i32", [n, k], distinct(n, k, e))],
              attributes: { normalize },
              outputs: [out(type, n, e)],
            },
          ])
        : []),
      { op: "expert_bias_sum", label, inputs: [y, i32([n, k], 0, e)], outputs: [out("f32", e, width)] },
      { op: "combine_experts", label, inputs: [y, f32([n, k])], outputs: [out(type, n, width)], ...symbolic },
      {
        op: "combine_experts_backward",
        label,
        inputs: [float(type, [n, width]), y, f32([n, k])],
        outputs: [out(type, n, k, width), out("f32", n, k)],
      },
    ];
  }),
);

/** k different experts per row. */
function distinct(n: number, k: number, e: number): number[] {
  return Array.from({ length: n * k }, (_, i) => (Math.floor(i / k) * 7 + (i % k)) % e);
}

const apart = [0, 2.5, -2.5, 5, -5].flatMap((_, row, all) => all.map((_, i) => all[(i + row) % 5]!)).slice(0, 20);

export default {
  cases: [
    ...linears,
    ...unevenPairs,
    ...quantized,
    ...decoded,
    ...others,
    {
      op: "route_experts",
      label: "ties are broken by the lowest index",
      inputs: [given("f32", [3, 4], [1, 2, 2, 1, 0, 0, 0, 0, 3, -1, -2, -3])],
      attributes: { normalize: 1 },
      outputs: [out("f32", 3, 3), out("i32", 3, 3)],
    },
  ],
  failures: [
    {
      op: "expert_linear",
      label: "an expert index above the last",
      inputs: [f32([2, 4]), f32([3, 5, 4]), given("i32", [2, 2], [0, 1, 2, 3])],
      attributes: { rowwise: 0 },
      outputs: [out("f32", 2, 2, 5)],
      code: "INVALID_ARGUMENT",
      message: /^expert_linear: expert 3 at row 1 is outside \[0, 3\)$/,
    },
    {
      op: "expert_linear",
      label: "inputs of another width",
      inputs: [f32([2, 6]), f32([3, 5, 4]), i32([2, 1], 0, 3)],
      attributes: { rowwise: 0 },
      outputs: [out("f32", 2, 1, 5)],
      code: "SHAPE_MISMATCH",
      message: /^expert_linear: /,
    },
    {
      op: "route_experts",
      label: "more experts per token than experts",
      inputs: [f32([2, 3])],
      attributes: { normalize: 0 },
      outputs: [out("f32", 2, 4), out("i32", 2, 4)],
      code: "SHAPE_MISMATCH",
      message: /^route_experts: weights: expected 1 to 3 experts a row, got 4$/,
    },
  ],
  gradients: [
    ...[false, true].map((perSlot) => ({
      label: `expert linear${perSlot ? ", one input per slot" : ""}`,
      operands: { x: perSlot ? [3, 2, 4] : [3, 4], weight: [3, 5, 4], bias: [3, 5] },
      constants: { experts: i32([3, 2], 0, 3) },
      build: ({ x, weight, bias, experts }: Values) => expertLinear(x!, weight!, experts!, { bias }),
    })),
    {
      label: "combine",
      operands: { y: [3, 2, 4], weights: [3, 2] },
      build: ({ y, weights }) => combineExperts(y!, weights!),
    },
    ...[false, true].map((normalize) => ({
      label: `routing${normalize ? ", normalized" : ""}`,
      operands: { logits: [4, 5] },
      // The scores are so far apart that the steps of finite differences do not change the chosen experts.
      constants: { apart: given("f32", [4, 5], apart) },
      build: ({ logits, apart }: Values) => routeExperts(add(logits!, apart!), { k: 2, normalize }).weights,
    })),
  ],
} satisfies OpFile;
