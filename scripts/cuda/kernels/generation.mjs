// Generation: sampling, decode steps and a prompt. Numbers repeat native/cuda/rows/sample.cu, sample_draw.cu and native/cuda/gemm.
import { BLOCKS, DEPTH, epilogue, FLAGS, gemvLaunches } from "./products.mjs";
import { promptChunk } from "./rows.mjs";

/**
 * Assumed number of tokens in each bin that is searched for a cut-off. Text models have fewer: a bin spans at most 1/16 of its distance from the
 * best logit, and top_p rarely keeps more than some hundred tokens.
 */
const SEARCHED_TOKENS = 1024;

/**
 * The launches of sampling with top_p. Each of two searches, for top_p and for the draw, takes four digits. For each digit, a block visits the
 * tokens of a bin. `searches`: how many tokens the bins have.
 */
function samplingLaunches({ rows = 1, vocabulary, searches }) {
  const parts = rows * Math.ceil(vocabulary / 4096);
  const each = 4096 / 256;
  const digits = 4 * searches.length;
  const visits = searches.reduce((sum, tokens) => sum + 4 * Math.ceil(tokens / 1024), 0);
  const pass = (source, kernel, totals, more = {}) => ({
    source: `rows/${source}`,
    kernel,
    ...{ blocks: parts, threads: 256 },
    roles: [{ warps: 8, totals, path: { CALL: 0, ...more } }],
    dram: rows * vocabulary * 4,
  });
  return [
    pass("sample", /17scan_parts_kernel/, { LDG: each }, { LDG: 4 }),
    { ...pass("sample", /13adjust_kernel/, {}), blocks: rows, dram: 0 },
    pass("sample", /16sum_parts_kernel/, { LDG: each }, { LDG: 4 }),
    pass("sample_draw", /12count_kernel/, { ATOMS: 3 * each }, { ATOMS: 4 }),
    pass("sample_draw", /12group_kernel/, { STG: each }, { STG: 4 }),
    {
      source: "rows/sample_draw",
      kernel: /11draw_kernel/,
      ...{ blocks: rows, threads: 1024 },
      // A digit has four barriers, and six are around them. F2I converts weights to integers, so that only the loops that visit tokens have it.
      roles: [{ warps: 32, path: { BAR: 6, F2I: 2, CALL: 0 }, totals: { BAR: 6 + 4 * digits, F2I: 2 * visits } }],
      dram: 0,
    },
  ].map((launch, n) => ({ ...launch, waits: n > 0 }));
}

/** A token with top_p, from one row of 131072 logits. */
export const sampling = () => ({
  title: `sampling, one row of 131072, top_p, ${SEARCHED_TOKENS} tokens in the bins that are searched`,
  rate: { unit: "ms" },
  launches: samplingLaunches({ vocabulary: 131072, searches: [SEARCHED_TOKENS, SEARCHED_TOKENS] }),
});

/**
 * The case of `heddle bench`, whose logits are spread evenly from -1 to 1. At temperature 0.7, distances from the best one are up to 2.86.
 * top_p 0.9 cuts at 1.89, in a bin that is 1/16 wide, and half of the draws end below 0.55, in a bin of 1/32.
 */
export function benchedSampling() {
  const [rows, vocabulary] = [8, 128256];
  const density = vocabulary / (2 / 0.7); // tokens for each unit of distance
  return {
    title: `sampling, ${rows} rows of ${vocabulary}, top_p, evenly spread logits`,
    bench: [`sample top-p ${rows}x${vocabulary}`],
    rate: { unit: "tokens/s", amount: rows },
    launches: samplingLaunches({ rows, vocabulary, searches: [density / 16, density / 32] }),
  };
}

/** The number of launches of a case. */
const launchCount = (launches) => launches.reduce((sum, { count = 1 }) => sum + count, 0);

/**
 * Launches of a decode step besides its products. A layer has two norms, rope of q and k, two cache writes, and two kernels of attention. With
 * quantized weights, the product of gate and up is separate. `bytes`: of the cache that a layer's attention reads.
 */
const smallLaunches = (layers, quantized, bytes) => [
  { note: "embedding, norms, rope, cache writes", count: (quantized ? 7 : 6) * layers + 2, dram: 0 },
  { note: "cached attention, its parts and their merge", count: 2 * layers, dram: bytes / 2 },
];

/**
 * A token of a model with the shapes of Llama 3 8B, at position 2048, with top_p. A layer's products: q, k, v, output, gate and up, down.
 * Norms, attention and the gated product store bf16, so no kernel rounds the operands of products.
 */
export function decodeStep(card, format) {
  const [width, hidden, vocabulary, layers, position] = [4096, 14336, 128256, 32, 2048];
  const keys = 8 * 128;
  const quantized = format !== "bf16";
  const repeated = (count, n, k, more) => gemvLaunches(card, format, n, k, more).map((one) => ({ ...one, count }));
  const launches = [
    ...repeated(2 * layers, width, width),
    ...repeated(2 * layers, keys, width),
    ...(quantized ? repeated(2 * layers, hidden, width) : repeated(layers, hidden, width, { factors: 2 })),
    ...repeated(layers, width, hidden),
    ...repeated(1, vocabulary, width),
    ...smallLaunches(layers, quantized, position * 2 * keys * 2),
  ];
  const bytes = launches.reduce((sum, { count = 1, dram }) => sum + count * dram, 0);
  const all = [...launches, ...samplingLaunches({ vocabulary, searches: [SEARCHED_TOKENS, SEARCHED_TOKENS] })];
  return {
    title: `decode step, 32 layers, 8B, ${format}, ${launchCount(all)} launches`,
    rate: { unit: "TB/s", amount: bytes / 1e12 },
    launches: all.map((launch) => ({ ...launch, waits: true })),
  };
}

/**
 * The decode step of `heddle bench`: a model with the shapes of SmolLM 135M, greedy, at position 512. Its kernels are short, so all count by
 * their bytes and launches. The model's table is the head too.
 */
export function benchedDecode(format) {
  const [width, hidden, vocabulary, layers, position, keys] = [576, 1536, 49152, 30, 512, 3 * 64];
  const quantized = format !== "bf16";
  const matrices = 2 * width * width + 2 * keys * width + 3 * hidden * width;
  const { bytes } = BLOCKS[format];
  const launches = [
    { note: "products of layers", count: (quantized ? 7 : 6) * layers, dram: (matrices * bytes) / (quantized ? 7 : 6) },
    { note: "logits", dram: vocabulary * width * bytes },
    ...smallLaunches(layers, quantized, position * 2 * keys * 2),
    { note: "draw", count: 6, dram: 2 * vocabulary },
  ];
  return {
    title: `decode step, 30 layers, 135M, ${format}, ${launchCount(launches)} launches`,
    bench: [`decode 1 135M ${format}`],
    rate: { unit: "tokens/s", amount: 1 },
    launches: launches.map((launch) => ({ ...launch, waits: true })),
  };
}

/** A product of few tiles by mma.sync, in tiles of 64 x 64 by four warps of 32 x 32 (small_tiles of choice.h). `parts`: of split-k. */
function smallProductLaunch(m, n, k, { parts = 1 } = {}) {
  const tiles = Math.ceil(m / 64) * Math.ceil(n / 64) * parts;
  const steps = k / DEPTH / parts;
  const end = Object.fromEntries(Object.entries(epilogue(1)).map(([name, times]) => [name, 2 * times]));
  return {
    source: "gemm/gemm_tensor",
    kernel: new RegExp(`tensor_kernel.*TileILi64ELi64ELi2ELi2ELi3EEE${FLAGS.NT}`),
    ...{ blocks: tiles, threads: 128, shared: 3 * 16384 },
    roles: [
      {
        warps: 4,
        mark: "HMMA",
        path: { HMMA: 32, "LDGSTS.128": 8, CALL: 0, ...epilogue(1) },
        totals: { HMMA: steps * 32, ...end },
        l2: steps * 16384,
      },
    ],
    dram: 2 * (m * k + n * k) + 4 * parts * m * n,
    l2: tiles * steps * 16384 + 4 * parts * m * n,
  };
}

/**
 * The prompt of `heddle bench`: 512 tokens of a model in bf16 with the shapes of SmolLM 135M. Its products have few tiles. That of gate and up
 * counts as one of twice the columns by mma.sync, although wgmma computes it on sm_90a. A row of 512 sees 320 positions on average, rounded up to
 * tiles.
 */
export function benchedPrompt(card) {
  const [rows, width, hidden, vocabulary, layers, keys] = [512, 576, 1536, 49152, 30, 3 * 64];
  const times = (count, launch) => ({ ...launch, count, waits: launch.waits ?? true });
  const parts = hidden / 512; // least_part of choice.h
  const [attention] = promptChunk(card, { rows, positions: 320, heads: 9, keyHeads: 3, width: 64 }).launches;
  const launches = [
    times(2 * layers, smallProductLaunch(rows, width, width)),
    times(2 * layers, smallProductLaunch(rows, keys, width)),
    times(layers, smallProductLaunch(rows, 2 * hidden, width)),
    times(layers, smallProductLaunch(rows, width, hidden, { parts })),
    times(layers, { note: "sums of the parts of a product", dram: 4 * (parts + 1) * rows * width }),
    times(layers, { ...attention, waits: false }),
    times(2 * layers + 1, { note: "norms", dram: 10 * rows * width }),
    times(2 * layers, { note: "rope of q and k", dram: 4 * rows * (width + keys) }),
    times(2 * layers, { note: "cache writes", dram: 6 * rows * keys }),
    times(1, { note: "embedding", dram: 6 * rows * width }),
    times(1, { note: "logits of the last row", dram: 2 * vocabulary * width }),
    times(8, { note: "last row, its rounding, and draw", dram: 2 * vocabulary }),
  ];
  return {
    title: `prompt of 512 tokens, 30 layers, 135M, bf16, ${launchCount(launches)} launches`,
    bench: ["prefill 512 135M bf16"],
    rate: { unit: "tokens/s", amount: rows },
    launches,
  };
}
