import { toBf16, toFloat32 } from "../../../lib/graph/tensor.ts";
import {
  activationTypes,
  type FailureCase,
  f32,
  float,
  generator,
  given,
  type OpCase,
  type Operand,
  type OpFile,
  out,
  weightTypes,
} from "../harness.ts";

const segments = (...rows: [first: number, rows: number, slot: number, past: number][]) =>
  given("i32", [rows.length, 4], rows.flat());

/** A decode step of three sequences, a prompt with a decode step, and a prompt with an empty segment. */
const batches = [
  { name: "decode of three", rows: 3, segments: segments([0, 1, 2, 5], [1, 1, 0, 0], [2, 1, 1, 39]) },
  { name: "prompt and decode", rows: 20, segments: segments([0, 19, 1, 3], [19, 1, 0, 17]) },
  { name: "prompt into an empty slot, empty segment", rows: 33, segments: segments([0, 33, 2, 0], [0, 0, 0, 0]) },
];
const masks = [
  { name: "causal", causal: 1, window: 0, softcap: 0 },
  { name: "window 6", causal: 1, window: 6, softcap: 0 },
  { name: "soft cap, bidirectional", causal: 0, window: 0, softcap: 3 },
  { name: "sinks", causal: 1, window: 0, softcap: 0, sinks: true },
  { name: "sinks, window 6, bidirectional", causal: 0, window: 6, softcap: 0, sinks: true },
];
const sizes = [
  [1, 1, 4],
  [4, 2, 16],
  [9, 3, 64],
  [2, 2, 20],
  [6, 1, 128],
] as const;
const capacity = 40;

/** Rows of bytes with an f32 scale that makes the largest element 2, or rows of zeros. */
function q8Rows(shape: readonly [number, number, number, number], seed: number): Operand {
  const [slots, heads, rows, width] = shape;
  const random = generator(seed);
  const bytes = Array.from({ length: slots * heads * rows }, (_, row) => {
    const integers = Array.from({ length: width }, () => Math.round(random() * 254) - 127);
    const scale = row % 7 === 3 ? 0 : 2 / Math.max(...integers.map(Math.abs));
    return [...integers.map((v) => v & 255), ...new Uint8Array(Float32Array.of(scale).buffer)];
  }).flat();
  return given("u8", [slots, heads, rows, width + 4], bytes);
}

/** cached_attention with operands and attention weights rounded to bf16, for an unpaged cache (slots, key heads, capacity, width). */
function withRoundedProducts(
  [heads, keyHeads, width]: readonly [number, number, number],
  rows: number,
  mask: (typeof masks)[number],
): NonNullable<OpCase["rounded"]> {
  const round = (x: ArrayLike<number>) => toFloat32("bf16", toBf16(Float32Array.from(x)));
  return ([q, k, v, segments, sinks]) => {
    const output = new Float32Array(rows * heads * width);
    const [queries, keys, values] = [q!, k!, v!].map(round) as [Float32Array, Float32Array, Float32Array];
    for (let s = 0; s < segments!.length; s += 4) {
      const [first, count, slot, past] = Array.from(segments!).slice(s, s + 4) as [number, number, number, number];
      for (let at = 0; at < count * heads; at++) {
        const [position, head] = [past + Math.floor(at / heads), at % heads];
        const row = (first * heads + at) * width;
        const from = mask.window ? Math.max(0, position - (mask.causal ? mask.window - 1 : mask.window / 2)) : 0;
        const all = past + count;
        const to = mask.causal ? position + 1 : mask.window ? Math.min(all, position + mask.window / 2 + 1) : all;
        const base = (slot * keyHeads + Math.floor(head / (heads / keyHeads))) * capacity;
        const scores = Array.from({ length: to - from }, (_, i) => {
          let sum = 0;
          for (let d = 0; d < width; d++) sum += queries[row + d]! * keys[(base + from + i) * width + d]!;
          const score = sum / Math.sqrt(width);
          return mask.softcap ? mask.softcap * Math.tanh(score / mask.softcap) : score;
        });
        const sink = mask.sinks ? sinks![head]! : Number.NEGATIVE_INFINITY;
        const top = Math.max(sink, ...scores);
        const weights = scores.map((x) => Math.exp(x - top));
        const total = weights.reduce((a, b) => a + b, Math.exp(sink - top));
        for (const [i, w] of round(weights).entries())
          for (let d = 0; d < width; d++) output[row + d]! += (w / total) * values[(base + from + i) * width + d]!;
      }
    }
    return [output];
  };
}

/** f32 queries over a 16-bit cache, with products that may round to bf16. */
const roundedCases: OpCase[] = sizes.flatMap((size, s) =>
  batches.flatMap((batch, i) =>
    (["bf16", "f16"] as const).map((cache, c): OpCase => {
      const [heads, keyHeads, width] = size;
      const mask = masks[(i + s + 1) % masks.length]!;
      const to = (i + c) % 2 ? "bf16" : "f32";
      const [k, v] = [3, 4].map(() => float(cache, [3, keyHeads, capacity, width], -2, 2));
      return {
        op: "cached_attention",
        label: `f32 rounded, to ${to}, ${cache} cache, ${heads}/${keyHeads} heads of ${width}, ${batch.name}, ${mask.name}`,
        inputs: [
          float("f32", [batch.rows, heads, width], -2, 2),
          k,
          v,
          batch.segments,
          mask.sinks ? float("f32", [heads], -2, 2) : undefined,
        ],
        attributes: {
          scale: 1 / Math.sqrt(width),
          causal: mask.causal,
          window: mask.window,
          softcap: mask.softcap,
          bf16: 1,
        },
        outputs: [out(to, batch.rows, heads, width)],
        rounded: withRoundedProducts(size, batch.rows, mask),
      };
    }),
  ),
);

/** Cases with a q8 cache: writes of rows, and attention for every batch. */
const q8Cases: OpCase[] = activationTypes.flatMap((type) =>
  sizes.flatMap(([heads, keyHeads, width], s) =>
    batches.flatMap((batch, i) => {
      const mask = masks[(i + s) % masks.length]!;
      const [k, v] = [1, 2].map((seed) => q8Rows([3, keyHeads, capacity, width], seed));
      const label = `${type}, q8 cache, ${heads}/${keyHeads} heads of ${width}, ${batch.name}`;
      return [
        {
          op: "cache_write",
          label,
          inputs: [k, float(type, [batch.rows, keyHeads, width], -3, 5), batch.segments],
          outputs: [],
          mutates: [0],
          exact: true,
        },
        {
          op: "cached_attention",
          label: `${label}, ${mask.name}`,
          inputs: [
            float(type, [batch.rows, heads, width], -2, 2),
            k,
            v,
            batch.segments,
            mask.sinks ? float("f32", [heads], -2, 2) : undefined,
          ],
          attributes: { scale: 1 / Math.sqrt(width), causal: mask.causal, window: mask.window, softcap: mask.softcap },
          outputs: [out(type, batch.rows, heads, width)],
        },
      ];
    }),
  ),
);

/** Ring caches of `rows` rows, each for a window. The batches have positions far beyond the ring, segments across its end, and short sequences. */
const rings = [
  { rows: 64, window: 6 },
  { rows: 128, window: 70 },
  { rows: 40, window: 6 },
] as const;
const ringBatches = [
  { name: "decode", rows: 3, segments: segments([0, 1, 0, 200], [1, 1, 1, 63], [2, 1, 2, 3]) },
  { name: "two rows far beyond the ring", rows: 2, segments: segments([0, 2, 1, 520]) },
  { name: "a few rows across the end of the ring", rows: 9, segments: segments([0, 9, 1, 252]) },
  { name: "a prompt across the end of the ring", rows: 35, segments: segments([0, 33, 0, 5000], [33, 2, 2, 127]) },
];
const ringCases: OpCase[] = rings.flatMap(({ rows, window }) =>
  ringBatches.flatMap((batch) =>
    (["f32", "bf16", "q8", "both bf16"] as const).flatMap((types): OpCase[] => {
      const [type, cache] = types === "both bf16" ? (["bf16", "bf16"] as const) : (["f32", types] as const);
      const [heads, keyHeads, width] = [4, 2, 20];
      const shape = [3, keyHeads, rows, width] as const;
      const [k, v] = [3, 4].map((seed) => (cache === "q8" ? q8Rows(shape, seed) : float(cache, shape, -2, 2)));
      const label = `${types} ring of ${rows}, window ${window}, ${batch.name}`;
      return [
        {
          op: "cache_write",
          label,
          inputs: [k, float(type, [batch.rows, keyHeads, width]), batch.segments],
          attributes: { ring: window },
          outputs: [],
          mutates: [0],
          exact: cache !== "bf16" || type === "bf16",
        },
        {
          op: "cached_attention",
          label,
          inputs: [float(type, [batch.rows, heads, width], -2, 2), k, v, batch.segments, float("f32", [heads])],
          attributes: { scale: 0.3, causal: 1, window, softcap: 0, context: 8192, ring: window },
          outputs: [out(type, batch.rows, heads, width)],
        },
      ];
    }),
  ),
);

const pageSizes = [1, 3, 16, 64] as const;
/**
 * Paged caches whose pages are not in the order of positions. Entries of the page table beyond a sequence's end may be -1. cached_attention
 * reads page 0 for both slot 0 and slot 1, as sequences with a common prefix do.
 */
const pagedCases: OpCase[] = pageSizes.flatMap((page) =>
  [
    ...batches,
    { name: "decode far from the start", rows: 2, segments: segments([0, 1, 2, 130], [1, 1, 1, 8]) },
  ].flatMap((batch, i) =>
    (["f32", "bf16", "q8", "both bf16"] as const).flatMap((types, c): OpCase[] => {
      const [type, cache] = types === "both bf16" ? (["bf16", "bf16"] as const) : (["f32", types] as const);
      const [heads, keyHeads, width] = sizes[(i + c) % sizes.length]!;
      const mask = masks[(i + c + page) % masks.length]!;
      const [count, entries] = [Math.ceil(300 / page) + 3, Math.ceil(140 / page)];
      const shape = [count, keyHeads, page, width] as const;
      const [k, v] = [5, 6].map((seed) => (cache === "q8" ? q8Rows(shape, seed) : float(cache, shape, -2, 2)));
      // Slot 2 has all of its pages in reverse order; slots 0 and 1 have pages for 40 positions.
      const table = (shared: boolean) =>
        given(
          "i32",
          [3, entries],
          Array.from({ length: 3 * entries }, (_, at) => {
            const [slot, entry] = [Math.floor(at / entries), at % entries];
            if (slot === 2) return count - 1 - entry;
            if (entry >= Math.ceil(40 / page)) return -1;
            return shared && entry === 0 ? 0 : 1 + ((2 * entry + slot) % Math.ceil(100 / page));
          }),
        );
      const label = `${types} in pages of ${page}, ${heads}/${keyHeads} heads of ${width}, ${batch.name}`;
      const x = float(type, [batch.rows, keyHeads, width]);
      return [
        {
          op: "cache_write",
          label,
          inputs: [k, x, batch.segments, table(false)],
          outputs: [],
          mutates: [0],
          exact: cache !== "bf16" || type === "bf16",
        },
        {
          op: "cached_attention",
          label: `${label}, ${mask.name}`,
          inputs: [
            float(type, [batch.rows, heads, width], -2, 2),
            k,
            v,
            batch.segments,
            mask.sinks ? float("f32", [heads], -2, 2) : undefined,
            table(true),
          ],
          attributes: { scale: 0.3, causal: mask.causal, window: mask.window, softcap: mask.softcap, context: 8192 },
          outputs: [out(type, batch.rows, heads, width)],
        },
      ];
    }),
  ),
);

const pageFailures = [
  {
    label: "a page number above the last",
    table: [0, 1, 2, 4],
    message: /: segment 0: entry 1 of slot 1 in the page table: expected a page in \[0, 4\), got 4$/,
  },
  {
    label: "a negative page number",
    table: [0, 1, 2, -1],
    message: /: segment 0: entry 1 of slot 1 in the page table: expected .*, got -1$/,
  },
].flatMap(({ table, ...rest }) => {
  const pages = given("i32", [2, 2], table);
  const keys = float("bf16", [4, 2, 32, 8]);
  const common = { ...rest, code: "INVALID_ARGUMENT" };
  return [
    {
      ...common,
      op: "cache_write",
      inputs: [f32([4, 2, 4, 8]), f32([2, 2, 8]), segments([0, 2, 1, 3]), pages],
      outputs: [],
    },
    {
      ...common,
      op: "cached_attention",
      inputs: [f32([2, 2, 8]), f32([4, 2, 4, 8]), f32([4, 2, 4, 8]), segments([0, 2, 1, 3]), undefined, pages],
      attributes: { causal: 1, window: 0, scale: 1, softcap: 0 },
      outputs: [out("f32", 2, 2, 8)],
    },
    {
      ...common,
      op: "cached_attention",
      label: `${common.label}, chunk of a prompt in bf16`,
      inputs: [float("bf16", [60, 4, 8]), keys, keys, segments([0, 60, 1, 3]), undefined, pages],
      attributes: { causal: 1, window: 0, scale: 1, softcap: 0 },
      outputs: [out("bf16", 60, 4, 8)],
    },
  ];
});

const cases: OpCase[] = activationTypes.flatMap((type) =>
  weightTypes.flatMap((cache) =>
    sizes.flatMap(([heads, keyHeads, width], s) =>
      batches.flatMap((batch, i) => {
        const mask = masks[(i + s) % masks.length]!; // the sizes together combine every batch with every mask
        const store = float(cache, [3, keyHeads, capacity, width], -2, 2);
        const label = `${type}, ${cache} cache, ${heads}/${keyHeads} heads of ${width}, ${batch.name}`;
        return [
          {
            op: "cache_write",
            label,
            inputs: [store, float(type, [batch.rows, keyHeads, width]), batch.segments],
            outputs: [],
            mutates: [0],
            exact: cache === type,
          },
          {
            op: "cached_attention",
            label: `${label}, ${mask.name}`,
            inputs: [
              float(type, [batch.rows, heads, width], -2, 2),
              store,
              store,
              batch.segments,
              mask.sinks ? float(cache, [heads], -2, 2) : undefined,
            ],
            attributes: {
              scale: 1 / Math.sqrt(width),
              causal: mask.causal,
              window: mask.window,
              softcap: mask.softcap,
            },
            outputs: [out(type, batch.rows, heads, width)],
          },
        ];
      }),
    ),
  ),
);

const attempt = (row: [number, number, number, number], code: string, message: RegExp) => ({
  label: `segment [${row}]`,
  code,
  message,
  segments: segments([0, 1, 0, 0], row),
});

const slotFailures = [
  attempt(
    [1, 2, 1, 39],
    "CONTEXT_OVERFLOW",
    /: segment 1: expected at most 40 positions, the length of the context, got 41$/,
  ),
  attempt([1, 2, 3, 0], "INVALID_ARGUMENT", /: segment 1: expected a cache slot in \[0, 3\), got 3$/),
  attempt([1, 2, -1, 0], "INVALID_ARGUMENT", /: segment 1: expected a cache slot in .*, got -1$/),
  attempt([1, 4, 1, 0], "INVALID_ARGUMENT", /: segment 1: expected rows within \[0, 4\), got \[1, 5\)$/),
  attempt([-1, 2, 1, 0], "INVALID_ARGUMENT", /: segment 1: expected rows within .*, got \[-1, 1\)$/),
  attempt([1, -2, 1, 0], "INVALID_ARGUMENT", /: segment 1: expected at least 0 rows and .*, got -2 and 0$/),
  attempt([1, 2, 1, -5], "INVALID_ARGUMENT", /: segment 1: expected at least 0 rows and .*, got 2 and -5$/),
  attempt(
    [1, 2147483647, 1, 2147483647],
    "INVALID_ARGUMENT",
    /: segment 1: expected rows within .*, got \[1, 2147483648\)$/,
  ),
].flatMap(({ segments: rows, ...rest }) => [
  {
    ...rest,
    op: "cache_write",
    inputs: [f32([3, 2, capacity, 8]), f32([4, 2, 8]), rows],
    outputs: [],
  },
  {
    ...rest,
    op: "cached_attention",
    inputs: [f32([4, 2, 8]), f32([3, 2, capacity, 8]), f32([3, 2, capacity, 8]), rows],
    attributes: { causal: 1, window: 0, scale: 1, softcap: 0 },
    outputs: [out("f32", 4, 2, 8)],
  },
]);

const ringFailures = [-1, 0.5, 2 ** 31 + 1].flatMap((ring): FailureCase[] => {
  const common = { label: `a ring of ${ring}`, code: "INVALID_ARGUMENT" };
  const message = new RegExp(`: ring: expected an integer .*, got ${ring.toFixed(6)}$`);
  const [rows, cache] = [segments([0, 1, 0, 0]), f32([3, 2, 40, 8])];
  return [
    {
      ...{ ...common, op: "cache_write", message, attributes: { ring } },
      ...{ inputs: [cache, f32([1, 2, 8]), rows], outputs: [] },
    },
    {
      ...{ ...common, op: "cached_attention", message },
      attributes: { causal: 1, window: 6, scale: 1, softcap: 0, ring },
      inputs: [f32([1, 2, 8]), cache, cache, rows],
      outputs: [out("f32", 1, 2, 8)],
    },
  ];
});

export default {
  cases: [...cases, ...roundedCases, ...q8Cases, ...ringCases, ...pagedCases],
  failures: [
    {
      op: "cache_write",
      label: "more rows than the ring's capacity allows",
      code: "CONTEXT_OVERFLOW",
      message: /: segment 0: expected at most 35 rows for a ring of 40 with a window of 6, got 36$/,
      inputs: [f32([3, 2, 40, 8]), f32([36, 2, 8]), segments([0, 36, 0, 10])],
      attributes: { ring: 6 },
      outputs: [],
    },
    {
      op: "cached_attention",
      label: "a ring for another window",
      code: "INVALID_ARGUMENT",
      message: /ring: expected causal attention with window 5, got causal 1 and window 6$/,
      inputs: [f32([1, 2, 8]), f32([3, 2, 40, 8]), f32([3, 2, 40, 8]), segments([0, 1, 0, 100])],
      attributes: { causal: 1, window: 6, scale: 1, softcap: 0, ring: 5 },
      outputs: [out("f32", 1, 2, 8)],
    },
    ...ringFailures,
    {
      op: "cache_write",
      label: "a q8 cache for another head width",
      code: "SHAPE_MISMATCH",
      message: /last dimension of cache: expected 8 bytes plus 4 for the scale, got 9$/,
      inputs: [given("u8", [1, 2, 4, 9], Array(72).fill(0)), f32([1, 2, 8]), segments([0, 1, 0, 0])],
      outputs: [],
    },
    ...slotFailures,
    ...pageFailures,
    {
      op: "cache_write",
      label: "more positions than the pages hold",
      code: "CONTEXT_OVERFLOW",
      message: /: segment 0: expected at most 8 positions, the length of the context, got 9$/,
      inputs: [f32([4, 2, 4, 8]), f32([1, 2, 8]), segments([0, 1, 1, 8]), given("i32", [2, 2], [0, 1, 2, 3])],
      outputs: [],
    },
    {
      op: "cache_write",
      label: "a ring in pages",
      code: "INVALID_ARGUMENT",
      message: /ring: expected 0 for a paged cache, got 3$/,
      inputs: [f32([4, 2, 4, 8]), f32([1, 2, 8]), segments([0, 1, 1, 0]), given("i32", [2, 2], [0, 1, 2, 3])],
      attributes: { ring: 3 },
      outputs: [],
    },
  ],
} satisfies OpFile;
