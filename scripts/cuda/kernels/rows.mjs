// Attention and memory-bound ops. Numbers repeat the launch code in native/cuda/attention and native/cuda/rows.

const causalFlops = ({ batch, length, heads, width }) => 2 * batch * heads * length * length * width;
const operandBytes = ({ batch, length, heads, width }) => batch * length * heads * width * 2;
const shapeOf = (shape) => ({ heads: 16, width: 128, ...shape });

/** Causal attention forward. `shape`: batch, length, and optionally heads and their width. Other cards than sm_90a need a width of 128. */
export function attention(card, partial) {
  const shape = shapeOf(partial);
  const { batch, length, heads, width } = shape;
  const title = `attention forward, causal, ${batch} x ${length}`;
  const bench = [`attention forward bf16 B${batch} H${heads}/${heads} T${length} D${width}`];
  const rate = { unit: "TFLOP/s", amount: causalFlops(shape) / 1e12 };
  const dram = 4 * operandBytes(shape);
  if (card.code === "90a") {
    // attention_sm90.cu: 128 queries a block, tiles of 128 keys. Both products sum over 16 elements in an instruction.
    const tiles = (length / 128 + 1) / 2;
    const blocks = (batch * heads * length) / 128;
    const tileBytes = 128 * width * 2;
    const products = (width + 128) / 16;
    const launch = {
      source: "attention/attention_sm90",
      kernel: new RegExp(`attention_kernel.*TileILi${width}ELi128E`),
      ...{ blocks, threads: 384, shared: 5 * tileBytes + 1024 },
      roles: [
        {
          warps: 8,
          mark: "HGMMA",
          path: { HGMMA: products, MUFU: 66, CALL: 0 },
          totals: { HGMMA: products * tiles },
          tensor: tiles * 2 * 2 * 128 * 128 * width,
          shared: tiles * (2 * (tileBytes / 2 + tileBytes) + 2 * tileBytes), // q and k for each warpgroup, v for each
          l2: tiles * 2 * tileBytes,
        },
        { warps: 1, path: { UTMALDG: 2 }, totals: { UTMALDG: 4 * tiles } },
      ],
      dram,
      l2: blocks * (tiles * 2 * tileBytes + 2 * tileBytes),
    };
    return { title, bench, rate, launches: [launch] };
  }
  // attention_tensor.cu: 64 queries a block, tiles of 64 keys.
  const tiles = (length / 64 + 1) / 2;
  const blocks = (batch * heads * length) / 64;
  const launch = {
    source: "attention/attention_tensor",
    kernel: /attention_kernelILi128ELi64E/,
    ...{ blocks, threads: 128, shared: (64 + 4 * 64) * width * 2 },
    roles: [
      {
        warps: 4,
        mark: "HMMA",
        path: { HMMA: 128, MUFU: 34, "LDGSTS.128": 4, CALL: 0 },
        totals: { HMMA: 128 * tiles, "LDGSTS.128": 16 * tiles },
        l2: tiles * 32768,
      },
    ],
    dram,
    l2: blocks * (tiles * 32768 + 2 * 16384),
  };
  return { title, bench, rate, launches: [launch] };
}

/**
 * A chunk of a prompt over the KV cache: `rows` new rows that see `positions` positions. `store` is the cache's dtype. On sm_90a, bf16 takes wgmma,
 * and f16 the kernel of mma.sync that other cards use for bf16 too.
 */
export function promptChunk(
  card,
  { rows = 256, positions = 8192, heads = 32, keyHeads = 8, width = 128, store = "bf16" } = {},
) {
  const isWarpgroups = card.code === "90a" && store === "bf16";
  const amount = (4 * rows * heads * positions * width) / 1e12;
  const title = `chunk of ${rows} rows over ${positions} positions, ${heads} heads, ${store} cache`;
  // Queries and outputs are f32.
  const dram = 2 * positions * keyHeads * width * 2 + 2 * rows * heads * width * 4;
  // cached_attention_sm90.cu: 64 or 128 pairs of a row and a head a block, as warpgroup_pairs chooses, and tiles of 128 keys.
  // cached_attention_prefill.cu: 64 pairs, and tiles of 64 keys.
  const pairs = isWarpgroups && (rows * heads) / 64 > card.multiprocessors ? 128 : 64;
  const keys = isWarpgroups ? 128 : 64;
  const tiles = positions / keys;
  const tileBytes = keys * width * 2;
  const blocks = (rows * heads) / pairs;
  const groups = pairs / 64; // warpgroups that multiply
  const launch = isWarpgroups
    ? {
        source: "attention/cached_attention_sm90",
        kernel: new RegExp(`prefill_kernel.*TileILi${width}ELi128E`),
        ...{ blocks, threads: 384, shared: 128 * width * 2 + 4 * tileBytes + 1024 },
        roles: [
          {
            warps: 4 * groups,
            mark: "HGMMA",
            path: { HGMMA: (width + keys) / 16, MUFU: 66, CALL: 0 },
            totals: { HGMMA: ((width + keys) / 16) * tiles },
            tensor: tiles * 2 * 2 * pairs * keys * width,
            shared: tiles * groups * (64 * width * 2 + 2 * tileBytes),
            l2: tiles * 2 * tileBytes,
          },
          { warps: 4, path: { "LDGSTS.128": 8 }, totals: { "LDGSTS.128": (tiles * 2 * tileBytes) / 512 / 4 } },
        ],
      }
    : {
        source: "attention/cached_attention_prefill",
        kernel: new RegExp(`prefill_kernel.*PrefillPlanINS0_${store === "f16" ? "3F16" : "4Bf16"}ELi1ELi${width}E`),
        ...{ blocks, threads: 128, shared: (64 + 4 * 64) * width * 2 },
        roles: [
          {
            warps: 4,
            mark: "HMMA",
            path: { HMMA: width, MUFU: 34, CALL: 0 },
            totals: { HMMA: width * tiles, "LDGSTS.128": (tiles * 2 * tileBytes) / 512 / 4 },
            l2: tiles * 2 * tileBytes,
          },
        ],
      };
  return {
    title,
    rate: { unit: "TFLOP/s", amount },
    launches: [{ ...launch, dram, l2: blocks * (tiles * 2 * tileBytes + 2 * pairs * width * 4) }],
  };
}

/** The gradients of causal attention, for shapes as in `attention`. The small kernels before them are not part of it. */
export function attentionBackward(card, partial) {
  const shape = shapeOf(partial);
  const { batch, length, heads, width } = shape;
  const title = `attention backward, causal, ${batch} x ${length}`;
  const rate = { unit: "TFLOP/s", amount: (2.5 * causalFlops(shape)) / 1e12 };
  const dram = 8 * operandBytes(shape);
  if (card.code === "90a") {
    // attention_backward_sm90.cu: 128 keys a block, tiles of 64 queries. S' and dP' sum over the width, dq over 128 keys, dk and dv over 64
    // queries.
    const steps = (length / 64 + 2) / 2;
    const blocks = (batch * heads * length) / 128;
    const sums = batch * heads * length * width * 4;
    const [tileBytes, products] = [128 * width, (2 * width + 128 + 2 * 64) / 16];
    return {
      title,
      rate,
      launches: [
        {
          source: "attention/attention_backward_sm90",
          kernel: new RegExp(`attention_gradient_kernel.*PlanILi${width}E`),
          ...{
            blocks,
            threads: 384,
            shared: 4 * tileBytes + 2 * (2 * tileBytes + 1024) + 2 * 16384 + 2 * tileBytes + 1024,
          },
          roles: [
            {
              warps: 8,
              mark: "HGMMA",
              isInStep: true,
              path: { HGMMA: products, MUFU: 32, CALL: 0 },
              totals: { HGMMA: products * steps },
              tensor: steps * 5 * 2 * 64 * 128 * width,
              shared: steps * 336 * 8 * width, // docs/internals/cuda-attention.md, "Backward on sm_90a", for heads of 128
              l2: steps * (4 * tileBytes + 1024),
            },
          ],
          dram: dram + sums,
          l2: blocks * steps * (4 * tileBytes + 1024),
        },
        {
          source: "attention/attention_backward_sm90",
          kernel: new RegExp(`store_sums_kernel.*PlanILi${width}E`),
          ...{ blocks: (batch * heads * length) / 64, threads: 2 * width },
          roles: [{ warps: width / 16, path: { "LDG.128": 8, "STG.32": 16 } }],
          dram: sums + operandBytes(shape),
        },
      ],
    };
  }
  // attention_tensor_backward.cu: 64 queries or keys a block, tiles of 32.
  const steps = (length / 32 + 2) / 2;
  const blocks = (batch * heads * length) / 64;
  const launch = (kernel, products, tiles) => ({
    source: "attention/attention_tensor_backward",
    kernel,
    ...{ blocks, threads: 128, shared: (2 * 64 + tiles * 32) * width * 2 },
    roles: [
      {
        warps: 4,
        mark: "HMMA",
        path: { HMMA: products, MUFU: 16, "LDGSTS.128": 4, CALL: 0 },
        totals: { HMMA: products * steps, "LDGSTS.128": 8 * steps },
        l2: steps * 16384,
      },
    ],
    dram: dram / 2,
    l2: blocks * steps * 16384,
  });
  return {
    title,
    rate,
    launches: [launch(/query_gradient_kernelILi128E/, 96, 4), launch(/key_gradient_kernelILi128E/, 128, 2)],
  };
}

/** Causal attention forward and backward, as `heddle bench` times them. */
export function attentionBoth(card, partial) {
  const shape = shapeOf(partial);
  const { batch, length, heads, width } = shape;
  return {
    title: `attention forward and backward, causal, ${batch} x ${length}`,
    bench: [`attention forward+backward bf16 B${batch} H${heads}/${heads} T${length} D${width}`],
    rate: { unit: "TFLOP/s", amount: (3.5 * causalFlops(shape)) / 1e12 },
    launches: [...attention(card, shape).launches, ...attentionBackward(card, shape).launches],
  };
}

const ROWS = 65536;
const COLUMNS = 2048;
const matrix = ROWS * COLUMNS;
const scalars = { "LDG.32": 0, "LDG.16": 0 };

export const adamw = () => ({
  title: `AdamW, f32, ${ROWS} x ${COLUMNS}`,
  bench: [`adamw f32 ${ROWS}x${COLUMNS}`],
  rate: { unit: "TB/s", amount: (7 * 4 * matrix) / 1e12 },
  launches: [
    {
      source: "rows/elementwise",
      kernel: /map_kernel.*AdamW/,
      ...{ blocks: Math.min(65536, matrix / 8 / 256), threads: 256 },
      roles: [
        {
          warps: 8,
          path: { "LDG.128": 8, "STG.128": 6, ...scalars, CALL: 0 },
          totals: { "LDG.128": matrix / Math.min(65536, matrix / 2048) / 256, "STG.128": 6 },
        },
      ],
      dram: 7 * 4 * matrix,
    },
  ],
});

/** An op with two bf16 operands: add, or swiglu. */
export const add = (name) => ({
  title: `${name}, bf16, ${ROWS} x ${COLUMNS}`,
  bench: [`${name} bf16 ${ROWS}x${COLUMNS}`],
  rate: { unit: "TB/s", amount: (3 * 2 * matrix) / 1e12 },
  launches: [
    {
      source: "rows/elementwise",
      kernel: name === "add" ? /map_kernel.*[\d_]3AddELi2E/ : /map_kernel.*[\d_]3GluELi2E/,
      ...{ blocks: 65536, threads: 256 },
      roles: [
        {
          warps: 8,
          path: { "LDG.128": 2, "STG.128": 1, ...(name === "swiglu" && { MUFU: 16 }), ...scalars, CALL: 0 },
          totals: { "LDG.128": 2 },
        },
      ],
      dram: 3 * 2 * matrix,
    },
  ],
});

export const vectors = (name) => ({
  title: `${name} with residual, bf16, ${ROWS} x ${COLUMNS}`,
  bench: [`${name} with residual bf16 ${ROWS}x${COLUMNS}`],
  rate: { unit: "TB/s", amount: (4 * 2 * matrix) / 1e12 },
  launches: [
    {
      source: "rows/norm",
      kernel: /19norm_vectors_kernelILi1E/,
      ...{ blocks: ROWS, threads: 256 },
      roles: [{ warps: 8, path: { "LDG.128": 3, "STG.128": 2, SHFL: 10, ...scalars, CALL: 0 } }],
      dram: 4 * 2 * matrix,
    },
  ],
});

/** The gradient of swiglu. */
export const gatedGradient = () => ({
  title: `swiglu backward, bf16, ${ROWS} x ${COLUMNS}`,
  rate: { unit: "TB/s", amount: (5 * 2 * matrix) / 1e12 },
  launches: [
    {
      source: "rows/elementwise",
      kernel: /map_kernel.*[\d_]11GluBackwardELi3E/,
      ...{ blocks: 65536, threads: 256 },
      roles: [
        { warps: 8, path: { "LDG.128": 3, "STG.128": 2, MUFU: 16, ...scalars, CALL: 0 }, totals: { "LDG.128": 3 } },
      ],
      dram: 5 * 2 * matrix,
    },
  ],
});

/** The gradients of rms_norm with respect to x and to the weights. The parts of the second one are added by another kernel. */
export const normGradient = () => {
  const [parts, threads] = [512, COLUMNS / 16]; // parts_of of norm_backward.cu
  const partRows = ROWS / parts;
  return {
    title: `rms_norm backward, bf16, ${ROWS} x ${COLUMNS}`,
    rate: { unit: "TB/s", amount: (3 * 2 * matrix) / 1e12 },
    launches: [
      {
        source: "rows/norm_backward",
        kernel: /25norm_backward_part_kernelILb0E/,
        ...{ blocks: parts, threads, shared: 2 * 4 * threads * 16 },
        roles: [
          {
            warps: threads / 32,
            path: { "LDGSTS.128": 4, "STG.128": 2, SHFL: 20, ...scalars, CALL: 0 },
            totals: { "STG.128": 2 * partRows, "STG.32": COLUMNS / threads },
          },
        ],
        dram: 3 * 2 * matrix + parts * COLUMNS * 4,
      },
      {
        source: "rows/norm_backward",
        kernel: /16add_parts_kernelILi1E/,
        ...{ blocks: COLUMNS / 32, threads: 1024 },
        roles: [{ warps: 32, totals: { "LDG.32": parts / 32 } }],
        dram: parts * COLUMNS * 4,
      },
    ],
  };
};

/** Softmax in f32. Rows of up to 4096 columns stay in registers. Longer ones are read twice. */
export function softmax(rows, columns) {
  const vectors = columns / 2048;
  const inRegisters = vectors <= 2;
  const path = { ...scalars, "LDG.16": 0, CALL: 0 };
  const role = inRegisters
    ? { path: { "LDG.128": 2 * vectors, "STG.128": 2 * vectors, SHFL: 20, ...path } }
    : {
        path: { "LDG.128": 2, "STG.128": 2, ...path },
        totals: { "STG.128": 2 * vectors, FSEL: vectors }, // marks of the second and the first reading
      };
  return {
    title: `softmax, f32, ${rows} x ${columns}`,
    bench: [`softmax f32 ${rows}x${columns}`],
    rate: { unit: "TB/s", amount: (2 * 4 * rows * columns) / 1e12 },
    launches: [
      {
        source: "rows/norm",
        kernel: new RegExp(`14softmax_kernelILi${inRegisters ? 2 : 0}ELi8E`),
        ...{ blocks: rows, threads: 256 },
        roles: [{ warps: 8, ...role }],
        dram: (inRegisters ? 2 : 3) * 4 * rows * columns,
      },
    ],
  };
}

/** The share of tokens whose ids have 64 rows or more, in the cases of embeddings. */
const FREQUENT = 0.1;

/**
 * The launches of add_rows.cu for the gradient of a table in bf16. `distinct` ids occur. `inPlace`: the result is added to another gradient of
 * the table, so that other rows stay unchanged.
 */
export function embeddingGradientLaunches({ vocabulary, width, tokens, distinct, inPlace = false }) {
  const source = "rows/add_rows";
  const range = Math.min(256, Math.max(1, Math.ceil(vocabulary / 128)));
  const columns = Math.ceil(width / 256);
  const rows = tokens * width * 2;
  const loads = (each) => 8 * Math.ceil(each / 8);
  const adding = (each) => ({
    path: { "LDG.128": 8, SHFL: 8, "LDG.16": 0, CALL: 0 },
    totals: { SHFL: loads(each) },
  });
  const touched = (8 * distinct) / vocabulary;
  return [
    {
      source,
      kernel: /16sort_rows_kernel/,
      ...{ blocks: Math.ceil(vocabulary / range), threads: 1024 },
      roles: [
        { warps: 32, path: { ATOMS: 4, VOTE: 4, CALL: 0 }, totals: { ATOMS: tokens / 1024, VOTE: tokens / 1024 } },
      ],
      dram: 4 * tokens,
      l2: (Math.ceil(vocabulary / range) + 1) * 8 * tokens,
    },
    {
      source,
      kernel: /15add_rows_kernelILi8E/,
      ...{ blocks: Math.ceil(tokens / 512) * columns, threads: 256 },
      roles: [{ warps: 8, ...adding(64) }],
      dram: FREQUENT * rows + (FREQUENT * tokens * width * 4) / 64,
    },
    {
      source,
      kernel: /15add_rows_kernelILi8E/,
      ...{ blocks: Math.ceil(vocabulary / 8) * columns, threads: 256 },
      roles: [
        { warps: 8 - touched, path: { "LDG.128": 0, SHFL: 0, CALL: 0, ...(!inPlace && { "STG.128": 2 }) } },
        { warps: touched, ...adding(tokens / distinct) },
      ].filter(({ warps }) => warps > 0),
      dram: (1 - FREQUENT) * rows + (inPlace ? 2 * distinct : vocabulary) * width * 4,
    },
  ];
}

/** The gradient of an embedding table. A quarter of the tokens are distinct. */
export const embeddingGradient = (vocabulary, width, tokens) => ({
  title: `embedding backward, bf16, table of ${vocabulary} x ${width}, ${tokens} tokens`,
  rate: { unit: "TB/s", amount: (vocabulary * width * 4 + tokens * width * 2) / 1e12 },
  launches: embeddingGradientLaunches({ vocabulary, width, tokens, distinct: tokens / 4 }),
});
