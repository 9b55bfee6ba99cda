import { activationTypes, f32, float, given, type OpCase, type OpFile, out, weightTypes } from "./harness.ts";

const segments = (...rows: [first: number, rows: number, slot: number, past: number][]) =>
  given("i32", [rows.length, 4], rows.flat());

/** A decode step of three sequences, a prompt beside a decode step, one long decode, and an empty segment. */
const batches = [
  { name: "decode of three", rows: 3, segments: segments([0, 1, 2, 5], [1, 1, 0, 0], [2, 1, 1, 39]) },
  { name: "prompt and decode", rows: 20, segments: segments([0, 19, 1, 3], [19, 1, 0, 17]) },
  { name: "prompt from nothing, empty segment", rows: 33, segments: segments([0, 33, 2, 0], [0, 0, 0, 0]) },
];
const masks = [
  { name: "causal", causal: 1, window: 0, softcap: 0 },
  { name: "window 6", causal: 1, window: 6, softcap: 0 },
  { name: "soft cap, both ways", causal: 0, window: 0, softcap: 3 },
  { name: "sinks", causal: 1, window: 0, softcap: 0, sinks: true },
  { name: "sinks, window 6 both ways", causal: 0, window: 6, softcap: 0, sinks: true },
];
const sizes = [
  [1, 1, 4],
  [4, 2, 16],
  [9, 3, 64],
  [2, 2, 20],
  [6, 1, 128],
] as const;
const capacity = 40;

const cases: OpCase[] = activationTypes.flatMap((type) =>
  weightTypes.flatMap((cache) =>
    sizes.flatMap(([heads, keyHeads, width], s) =>
      batches.flatMap((batch, i) => {
        const mask = masks[(i + s) % masks.length]!; // over the sizes, every batch meets every mask
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

export default {
  cases,
  failures: [
    attempt([1, 2, 1, 39], "CONTEXT_OVERFLOW", /: segment 1 ends at position 41, the context holds 40$/),
    attempt([1, 2, 3, 0], "INVALID_ARGUMENT", /: segment 1 uses cache slot 3, expected one of \[0, 3\)$/),
    attempt([1, 2, -1, 0], "INVALID_ARGUMENT", /: segment 1 uses cache slot -1, /),
    attempt([1, 4, 1, 0], "INVALID_ARGUMENT", /: segment 1 covers rows 1 to 5, expected rows within \[0, 4\)$/),
    attempt([-1, 2, 1, 0], "INVALID_ARGUMENT", /: segment 1 covers rows -1 to 1, /),
    attempt([1, -2, 1, 0], "INVALID_ARGUMENT", /: segment 1 has -2 rows after 0 past positions/),
    attempt([1, 2, 1, -5], "INVALID_ARGUMENT", /: segment 1 has 2 rows after -5 past positions/),
    attempt([1, 2147483647, 1, 2147483647], "INVALID_ARGUMENT", /: segment 1 covers rows 1 to 2147483648/),
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
  ]),
} satisfies OpFile;
