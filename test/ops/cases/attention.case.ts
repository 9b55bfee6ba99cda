import { attention } from "../../../lib/graph/index.ts";
import { toBf16, toFloat32 } from "../../../lib/graph/tensor.ts";
import {
  activationTypes,
  type FloatType,
  f32,
  float,
  given,
  type OpCase,
  type Operand,
  type OpFile,
  out,
} from "../harness.ts";

/** sequences, length, query heads, key heads, width */
const shapes = [
  [1, 1, 1, 1, 4],
  [2, 7, 4, 2, 16],
  [1, 67, 2, 1, 64],
  [2, 33, 2, 2, 20],
  [1, 130, 3, 1, 64],
  [1, 17, 2, 1, 128],
  [1, 35, 2, 2, 136],
  [2, 140, 2, 1, 96],
  [1, 131, 2, 2, 128],
  [1, 129, 1, 1, 256],
] as const;

/** Document ids of `batch` sequences: documents of growing length, padding before one document, or documents with padding between them. */
const documents = {
  // Only adjacent documents need different ids.
  packed: (batch: number, length: number): Operand => ids(batch, length, (i) => Math.floor(Math.sqrt(2 * i)) % 3),
  padded: (batch: number, length: number): Operand => ids(batch, length, (i, s) => (i < length >> (s + 1) ? -1 : 0)),
  gaps: (batch: number, length: number): Operand => ids(batch, length, (i) => (i % 75 < 30 ? i >> 5 : -2)),
};
const ids = (batch: number, length: number, id: (i: number, sequence: number) => number) =>
  given(
    "i32",
    [batch * length],
    Array.from({ length: batch * length }, (_, r) => id(r % length, Math.floor(r / length))),
  );

interface Mask {
  name: string;
  causal: number;
  window: number;
  softcap: number;
  /** Scale of the scores, if not 1/√width. */
  scale?: number;
  documents?: keyof typeof documents;
  sinks?: "f32" | "bf16" | "f16";
}
const masks: Mask[] = [
  { name: "causal", causal: 1, window: 0, softcap: 0 },
  { name: "bidirectional", causal: 0, window: 0, softcap: 0 },
  { name: "window 5", causal: 1, window: 5, softcap: 0 },
  { name: "window 6, bidirectional", causal: 0, window: 6, softcap: 0 },
  { name: "soft cap", causal: 1, window: 0, softcap: 2 },
  { name: "negative scale", causal: 1, window: 0, softcap: 0, scale: -0.125 },
  { name: "scale 0", causal: 1, window: 5, softcap: 0, scale: 0 },
  { name: "documents", causal: 1, window: 0, softcap: 0, documents: "packed" },
  { name: "documents, bidirectional", causal: 0, window: 0, softcap: 0, documents: "packed" },
  { name: "padding, window 31, bidirectional", causal: 0, window: 31, softcap: 0, documents: "padded" },
  { name: "gaps, window 9", causal: 1, window: 9, softcap: 0, documents: "gaps" },
  { name: "sinks", causal: 1, window: 0, softcap: 0, sinks: "f32" },
  { name: "sinks, gaps, soft cap", causal: 0, window: 0, softcap: 2, documents: "gaps", sinks: "bf16" },
  { name: "sinks, window 3", causal: 1, window: 3, softcap: 0, sinks: "f16" },
];

/** The keys [first, last) that a row attends to, as visible() in native/ops/attention.h. */
function visible(mask: Mask, length: number, position: number, ids: (i: number) => number | undefined) {
  let [first, last] = [0, length];
  if (mask.window > 0) {
    const half = Math.floor(mask.window / 2);
    first = Math.max(0, position - (mask.causal ? mask.window - 1 : half));
    last = Math.min(length, position + half + 1);
  }
  if (mask.causal) last = position + 1;
  const own = ids(position);
  if (own === undefined) return [first, last] as const;
  if (own < 0) return [position, position] as const;
  let [begin, end] = [position, position + 1];
  while (begin > 0 && ids(begin - 1) === own) begin--;
  while (end < length && ids(end) === own) end++;
  return [Math.max(first, begin), Math.min(last, end)] as const;
}

/**
 * attention_backward in bf16. It rounds attention weights and their gradients before products, as FlashAttention does, and results when it
 * stores them.
 */
function withRoundedWeights(
  [batch, length, heads, keyHeads, width]: readonly [number, number, number, number, number],
  mask: Mask,
): NonNullable<OpCase["rounded"]> {
  const round = (x: ArrayLike<number>) => toFloat32("bf16", toBf16(Float32Array.from(x)));
  const scale = mask.scale ?? 1 / Math.sqrt(width);
  return ([dout, q, k, v, o, lse, documents]) => {
    const dot = (a: ArrayLike<number>, at: number, b: ArrayLike<number>, bt: number) => {
      let sum = 0;
      for (let d = 0; d < width; d++) sum += a[at + d]! * b[bt + d]!;
      return sum;
    };
    const dq = new Float64Array(batch * length * heads * width);
    const [dk, dv] = [1, 2].map(() => new Float64Array(batch * length * keyHeads * width)) as [
      Float64Array,
      Float64Array,
    ];
    for (let row = 0; row < batch * length * heads; row++) {
      const [i, head] = [Math.floor(row / heads), row % heads];
      const start = Math.floor(i / length) * length;
      const keyHead = Math.floor(head / (heads / keyHeads));
      const [first, last] = visible(mask, length, i - start, (at) => documents?.[start + at]);
      const mean = dot(dout!, row * width, o!, row * width);
      const keys = Array.from({ length: last - first }, (_, j) => ((start + first + j) * keyHeads + keyHead) * width);
      const weights = keys.map((at) => {
        const score = dot(q!, row * width, k!, at) * scale;
        const tanh = mask.softcap ? Math.tanh(score / mask.softcap) : 0;
        const p = Math.exp((mask.softcap ? mask.softcap * tanh : score) - lse![row]!);
        return { p, d: p * (dot(dout!, row * width, v!, at) - mean) * scale * (1 - tanh * tanh) };
      });
      const [p, ds] = [round(weights.map((w) => w.p)), round(weights.map((w) => w.d))];
      for (const [j, at] of keys.entries())
        for (let d = 0; d < width; d++) {
          dq[row * width + d]! += ds[j]! * k![at + d]!;
          dk[at + d]! += ds[j]! * q![row * width + d]!;
          dv[at + d]! += p[j]! * dout![row * width + d]!;
        }
    }
    return [dq, dk, dv].map(round);
  };
}

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap(([batch, length, heads, keyHeads, width]) =>
    masks.flatMap((mask) => {
      const { name, documents: kind, sinks: sinksType, ...options } = mask;
      const n = batch * length;
      const [rows, sinks] = [kind && documents[kind](batch, length), sinksType && float(sinksType, [heads], -2, 2)];
      const q = float(type, [n, heads, width], -2, 2);
      const k = float(type, [n, keyHeads, width], -2, 2);
      const attributes = { sequenceLength: length, scale: 1 / Math.sqrt(width), ...options };
      const label = `${type} ${batch} × ${length}, ${heads}/${keyHeads} heads of ${width}, ${name}`;
      const forward = [out(type, n, heads, width), out("f32", n, heads)];
      return [
        {
          op: "attention",
          label,
          inputs: [q, k, k, rows, sinks],
          attributes,
          outputs: forward,
        },
        {
          op: "attention_backward",
          label,
          inputs: [float(type, [n, heads, width]), q, k, k, q, f32([n, heads]), rows, sinks],
          derive: { op: "attention", from: [1, 2, 3, 6, 7], outputs: forward, to: [4, 5] },
          attributes,
          outputs: [out(type, n, heads, width), out(type, n, keyHeads, width), out(type, n, keyHeads, width)],
          ...(type === "bf16" && { rounded: withRoundedWeights([batch, length, heads, keyHeads, width], mask) }),
        },
        ...(sinks
          ? [
              {
                op: "attention_sinks_backward",
                label,
                inputs: [float(type, [n, heads, width]), q, f32([n, heads], 2, 4), sinks],
                outputs: [out("f32", heads)],
              },
            ]
          : []),
      ];
    }),
  ),
);

/** attention of f32 operands with all rows as one sequence (sequenceLength 0). It rounds operands and attention weights to bf16. */
function withRoundedProducts(
  rows: number,
  [heads, keyHeads, width]: readonly [number, number, number],
  mask: Mask,
): NonNullable<OpCase["rounded"]> {
  const round = (x: ArrayLike<number>) => toFloat32("bf16", toBf16(Float32Array.from(x)));
  return ([q, k, v, documents, sinks]) => {
    const [queries, keys, values] = [q!, k!, v!].map(round) as [Float32Array, Float32Array, Float32Array];
    const [o, lse] = [new Float32Array(rows * heads * width), new Float32Array(rows * heads)];
    for (let at = 0; at < rows * heads; at++) {
      const [row, head] = [Math.floor(at / heads), at % heads];
      const [first, last] = visible(mask, rows, row, (i) => documents?.[i]);
      const place = (key: number) => (key * keyHeads + Math.floor(head / (heads / keyHeads))) * width;
      const scores = Array.from({ length: last - first }, (_, i) => {
        let sum = 0;
        for (let d = 0; d < width; d++) sum += queries[at * width + d]! * keys[place(first + i) + d]!;
        const score = sum * (mask.scale ?? 1 / Math.sqrt(width));
        return mask.softcap ? mask.softcap * Math.tanh(score / mask.softcap) : score;
      });
      const sink = sinks ? sinks[head]! : Number.NEGATIVE_INFINITY;
      const top = Math.max(sink, ...scores);
      const weights = scores.map((x) => Math.exp(x - top));
      const total = weights.reduce((a, b) => a + b, sinks ? Math.exp(sink - top) : 0);
      lse[at] = top + Math.log(total);
      for (const [i, w] of round(weights).entries())
        for (let d = 0; d < width; d++) o[at * width + d]! += (w / total) * values[place(first + i) + d]!;
    }
    return [o, lse];
  };
}
const wholeCases: OpCase[] = [
  [1, 2, 1, 16],
  [9, 4, 2, 20],
  [67, 2, 1, 64],
  [141, 3, 3, 33],
].flatMap(([rows, heads, keyHeads, width]) =>
  masks.flatMap((mask) =>
    [
      [false, "f32"],
      [true, "f32"],
      [true, "bf16"],
    ].map(([bf16, to]): OpCase => {
      const { name, documents: kind, sinks, ...attributes } = mask;
      const [q, k] = [heads!, keyHeads!].map((count) => float("f32", [rows!, count, width!], -2, 2));
      return {
        op: "attention",
        label: `all ${rows} rows in one sequence, ${heads}/${keyHeads} heads of ${width}, ${name}${bf16 ? `, may round to bf16, output ${to}` : ""}`,
        inputs: [q!, k!, k!, kind && documents[kind](1, rows!), sinks && float(sinks, [heads!], -2, 2)],
        attributes: { scale: 1 / Math.sqrt(width!), ...attributes, sequenceLength: 0, ...(bf16 && { bf16: 1 }) },
        outputs: [out(to as FloatType, rows!, heads!, width!), out("f32", rows!, heads!)],
        ...(bf16 && { rounded: withRoundedProducts(rows!, [heads!, keyHeads!, width!], mask) }),
      };
    }),
  ),
);

const options = { causal: 1, window: 0, softcap: 0, scale: 1, sequenceLength: 4 };

export default {
  cases: [
    ...cases,
    ...wholeCases,
    {
      op: "attention",
      label: "scores of very different magnitudes",
      inputs: [f32([24, 2, 32], -30, 30), f32([24, 2, 32], -30, 30), f32([24, 2, 32])],
      attributes: { ...options, sequenceLength: 24 },
      outputs: [out("f32", 24, 2, 32), out("f32", 24, 2)],
    },
    {
      op: "attention_backward",
      label: "scores far above the soft cap",
      inputs: [
        f32([9, 2, 32]),
        ...[f32([9, 2, 32], 0.5, 1), f32([9, 2, 32], 0.5, 1), f32([9, 2, 32])],
        ...[f32([9, 2, 32]), f32([9, 2])],
      ],
      derive: {
        op: "attention",
        from: [1, 2, 3],
        outputs: [out("f32", 9, 2, 32), out("f32", 9, 2)],
        to: [4, 5],
      },
      attributes: { ...options, softcap: 3.5, sequenceLength: 9 },
      outputs: [out("f32", 9, 2, 32), out("f32", 9, 2, 32), out("f32", 9, 2, 32)],
    },
  ],
  failures: [
    {
      op: "attention",
      label: "documents for another number of rows",
      inputs: [f32([8, 2, 4]), f32([8, 2, 4]), f32([8, 2, 4]), given("i32", [4], [0, 0, 0, 0])],
      attributes: options,
      outputs: [out("f32", 8, 2, 4), out("f32", 8, 2)],
      code: "SHAPE_MISMATCH",
      message: /^attention: last dimension of documents: expected 8 like q, got 4$/,
    },
    {
      op: "attention",
      label: "sinks for another number of heads",
      inputs: [f32([8, 2, 4]), f32([8, 2, 4]), f32([8, 2, 4]), undefined, f32([3])],
      attributes: options,
      outputs: [out("f32", 8, 2, 4), out("f32", 8, 2)],
      code: "SHAPE_MISMATCH",
      message: /^attention: last dimension of sinks: expected 2 like q, got 3$/,
    },
    {
      op: "attention",
      label: "a number of heads that is not a multiple of the key heads",
      inputs: [f32([8, 3, 4]), f32([8, 2, 4]), f32([8, 2, 4])],
      attributes: options,
      outputs: [out("f32", 8, 3, 4), out("f32", 8, 3)],
      code: "SHAPE_MISMATCH",
      message: /^attention: heads of q: expected a multiple of k's 2, got 3$/,
    },
    {
      op: "attention",
      label: "a number of rows that is not a multiple of the sequence length",
      inputs: [f32([9, 2, 4]), f32([9, 2, 4]), f32([9, 2, 4])],
      attributes: options,
      outputs: [out("f32", 9, 2, 4), out("f32", 9, 2)],
      code: "SHAPE_MISMATCH",
      message: /^attention: rows of q: expected a multiple of sequenceLength 4, got 9$/,
    },
  ],
  gradients: [
    { causal: true },
    { causal: false },
    { causal: true, window: 2 },
    { causal: false, window: 2 },
    { causal: true, softcap: 1.5 },
    { causal: true, documents: [0, 0, 0, 1, 3, 3, 5, -1] },
    { causal: false, documents: [0, 0, 0, 1, -1, -1, 5, 5], sinks: true },
    { causal: true, window: 2, sinks: true },
  ].map(({ documents: rows, sinks: withSinks, ...options }) => ({
    label: `attention ${JSON.stringify({ ...options, ...(rows && { documents: rows }), ...(withSinks && { sinks: true }) })}`,
    operands: { q: [8, 4, 3], k: [8, 2, 3], v: [8, 2, 3], ...(withSinks && { sinks: [4] }) },
    ...(rows && { constants: { documents: given("i32", [8], rows) } }),
    build: ({ q, k, v, documents: document, sinks }) =>
      attention({ q: q!, k: k!, v: v!, documents: document, sinks }, { sequenceLength: 4, scale: 0.9, ...options }),
  })),
} satisfies OpFile;
