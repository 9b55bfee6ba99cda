// Matrix products, and products with one row. Numbers repeat native/cuda/gemm and native/cuda/quant/gemm_int8.cu.

export const DEPTH = 64; // gemm_depth of choice.h

/** The epilogue of a warp that only stores sums, for `chunks` times 16 rows and 32 columns: stores to the staging area, and to the result. */
export const epilogue = (chunks) => ({ STS: 8 * chunks, STG: 4 * chunks });

/** The template arguments of a product's kernel: whether its operands are stored transposed, and whether it is gated. */
export const FLAGS = { NT: "Lb0ELb1ELb0E", NN: "Lb0ELb0ELb0E", TN: "Lb1ELb0ELb0E" };

/**
 * The launch of a bf16 product c (m, n). `layout`: NT for x Wᵀ, NN for x W, TN for dyᵀ x. `outputBytes`: 2 for bf16, 4 for f32, 0 for none.
 * `end` describes a kernel with another epilogue. Its `path` is what a warp executes for a tile of sm_90a, or for 16 rows of its tile on other
 * architectures. `parts`: of split-k, whose sums are f32. `warpgroups`: whether wgmma computes it.
 */
export function productLaunch(
  card,
  m,
  n,
  whole,
  { layout = "NT", outputBytes = 2, parts = 1, end: other, warpgroups = card.code === "90a" } = {},
) {
  const k = whole / parts;
  const compulsory = 2 * (m * whole + n * whole) + outputBytes * parts * m * n;
  if (warpgroups) {
    // gemm_sm90.cu: persistent blocks, tiles of 128 x 256, strips of eight rows of tiles. Clusters of two blocks share the columns' tile of b:
    // each block takes half of it from L2. warpgroup_cluster of choice.h decides whether there are clusters.
    const [tileM, tileN] = [128, 256];
    const [rowsOfTiles, columnsOfTiles] = [Math.ceil(m / tileM), Math.ceil(n / tileN)];
    const pairs = Math.ceil(rowsOfTiles / 2) * columnsOfTiles * parts;
    const rounds = Math.ceil((rowsOfTiles * columnsOfTiles * parts) / card.multiprocessors);
    const clusters = !other && rowsOfTiles > 1 && Math.ceil(pairs / Math.floor(card.multiprocessors / 2)) <= rounds;
    const cluster = clusters ? 2 : 1;
    const tiles = cluster === 2 ? 2 * pairs : rowsOfTiles * columnsOfTiles * parts;
    // Copies of a stage: a box for a K-major tile, or for each 64 rows of an MN-major one. Tiles of b have two halves.
    const copies = (layout === "TN" ? 2 : 1) + (layout === "NT" ? 2 : 4) / cluster;
    const blocks = Math.min(tiles, card.multiprocessors);
    const fromL2 = 2 * (tileM + tileN / cluster); // bytes per element along k of a tile
    const own = Math.ceil(tiles / blocks);
    const stages = own * (k / DEPTH);
    // A strip's wave reads its rows of a once, and the columns of b that the wave covers.
    const waves = tiles / blocks;
    const rows = Math.min(m, 8 * tileM);
    const columns = Math.min(n, (blocks / 8) * tileN);
    const read = 2 * waves * (rows + columns) * k;
    // TMA stores a bf16 result from a staging area that holds the whole tile. A warp stages 64 words per lane, in four boxes.
    const timesOwn = (path) => Object.fromEntries(Object.entries(path).map(([name, count]) => [name, own * count]));
    const end = other
      ? { ...other, totals: timesOwn(other.path) }
      : outputBytes === 2
        ? {
            kernel: new RegExp(`tensor_warpgroup_kernelINS0_4sm9010StoredTile.*RingTileILi256E.*${FLAGS[layout]}`),
            shared: 3 * 49152 + 65536 + 1024,
            path: { STS: 64, UTMASTG: 4 },
            totals: { STS: own * 64, UTMASTG: own * 4 },
          }
        : {
            kernel: new RegExp(`tensor_warpgroup_kernelINS0_4sm906Paired.*RingTileILi256E.*${FLAGS[layout]}`),
            shared: 4 * 49152 + 8 * 16 * 40 * 4 + 1024,
            path: epilogue(1),
            totals: epilogue(own * 8),
          };
    return {
      source: end.source ?? "gemm/gemm_sm90",
      kernel: end.kernel,
      ...{ blocks, threads: 384, shared: end.shared },
      roles: [
        {
          warps: 8,
          mark: "HGMMA",
          path: { HGMMA: 8, CALL: 0, ...end.path },
          totals: { HGMMA: (stages * DEPTH) / 16, ...end.totals },
          outer: own,
          tensor: own * 2 * tileM * tileN * k,
          shared: stages * 2 * (64 + tileN) * DEPTH * 2, // each warpgroup reads its rows of a and all of b
        },
        // The copies into the ring go on during the epilogue, so the warp that issues them has the bytes from L2.
        {
          warps: 1,
          mark: "UTMALDG",
          path: { UTMALDG: 8 },
          totals: { UTMALDG: stages * copies },
          outer: own,
          l2: stages * fromL2 * DEPTH,
        },
      ],
      dram: Math.max(compulsory, Math.min(read, waves * blocks * fromL2 * k) + outputBytes * parts * m * n),
      l2: tiles * fromL2 * k + outputBytes * parts * m * n,
    };
  }
  // gemm_multistage.cuh: tiles of 128 x 128 or 128 x 256, by eight warps of 64 x 32 or 64 x 64. Code for sm_90a lacks the wide tiles
  // (has_wide_tiles and takes_wide_tiles in choice.h).
  const tilesOf = (width) => Math.ceil(m / 128) * Math.ceil(n / width) * parts;
  const busyWith = (width) => tilesOf(width) / Math.ceil(tilesOf(width) / card.multiprocessors);
  const hasWide = card.code !== "90a" && card.sharedBytes >= 144 << 10 && n > 128;
  const wide = !other && hasWide && 2 * busyWith(256) >= 0.9 * busyWith(128);
  const width = wide ? 256 : 128;
  const tiles = tilesOf(width);
  const steps = k / DEPTH;
  const products = width / 2; // mma.sync of a warp for a stage
  const copies = (128 + width) / 32; // of 16 bytes by a thread, for a stage
  const end = other ?? {
    source: "gemm/gemm_tensor",
    kernel: new RegExp(`tensor_kernel.*TileILi128ELi${width}ELi2ELi4ELi3EEE${FLAGS[layout]}`),
    path: epilogue(1),
  };
  // A warp stages 16 rows of 32 columns at a time.
  const ofTile = (path) =>
    Object.fromEntries(Object.entries(path).map(([name, count]) => [name, (width / 32) * count]));
  return {
    source: end.source,
    kernel: end.kernel,
    ...{ blocks: tiles, threads: 256, shared: 3 * (128 + width) * DEPTH * 2 },
    roles: [
      {
        warps: 8,
        mark: "HMMA",
        path: { HMMA: products, "LDGSTS.128": copies / 2, CALL: 0, ...end.path },
        totals: { HMMA: steps * products, "LDGSTS.128": steps * copies, ...ofTile(end.path) },
        l2: steps * (128 + width) * DEPTH * 2,
      },
    ],
    dram: compulsory,
    l2: tiles * (128 + width) * k * 2 + outputBytes * parts * m * n,
  };
}

export const product = (card, size) => ({
  title: `bf16 product ${size}³`,
  bench: [`gemm bf16 ${size}x${size}x${size} NT`],
  rate: { unit: "TFLOP/s", amount: (2 * size ** 3) / 1e12 },
  launches: [productLaunch(card, size, size, size)],
});

/** A product by mma.sync on a card of sm_90a. `choose_gemm` takes wgmma for it, so this is a floor. */
export const olderProduct = (card, size) => ({
  title: `bf16 product ${size}³ by mma.sync`,
  rate: { unit: "TFLOP/s", amount: (2 * size ** 3) / 1e12 },
  launches: [productLaunch(card, size, size, size, { warpgroups: false })],
});

/**
 * The forward product of training with fp8 on sm_90a. Two kernels round bf16 operands to bytes (fp8_product.cu), and wgmma multiplies these
 * in tiles of 128 x 128 (gemm_fp8_sm90.cu). Tensor cores multiply bytes at twice the rate of bf16.
 */
export function fp8Product(card, size) {
  const [side, threads] = [128, 256];
  const elements = size * size;
  const tiles = (size / side) ** 2;
  const blocks = Math.min(tiles, card.multiprocessors);
  const own = Math.ceil(tiles / blocks);
  const stages = own * (size / side);
  const columns = Math.min(size, (blocks / 8) * side);
  const read = (tiles / blocks) * (8 * side + columns) * size;
  return {
    title: `fp8 training product ${size}³`,
    rate: { unit: "TFLOP/s", amount: (2 * size ** 3) / 1e12 },
    launches: [
      {
        source: "quant/fp8_product",
        kernel: /fp8_operand_kernelILb0E/,
        count: 2,
        ...{ blocks: tiles, threads },
        roles: [{ warps: 8, path: { "LDG.64": 16, "STG.32": 16, CALL: 0 } }],
        dram: 3 * elements,
      },
      {
        source: "quant/gemm_fp8_sm90",
        kernel: /tensor_warpgroup_fp8_kernel/,
        ...{ blocks, threads: 384, shared: 6 * 32768 + 8 * 16 * 40 * 4 + 1024 },
        roles: [
          {
            warps: 8,
            mark: "QGMMA",
            path: { QGMMA: 4, CALL: 0, ...epilogue(1) },
            totals: { QGMMA: stages * 4, ...epilogue(own * 4) },
            outer: own,
            tensor: own * side * side * size,
            shared: stages * 2 * (64 + side) * side,
          },
          {
            warps: 1,
            mark: "UTMALDG",
            path: { UTMALDG: 2 },
            totals: { UTMALDG: stages * 2 },
            outer: own,
            l2: stages * 2 * side * side,
          },
        ],
        dram: read + 2 * elements,
        l2: tiles * 2 * side * size + 2 * elements,
      },
    ],
  };
}

export const BLOCKS = {
  bf16: { bytes: 2 },
  q8_0: { type: 5, bytes: 34 / 32, path: { IDP: 16, "LDS.128": 4, "LDG.128": 2 } },
  q4_0: { bytes: 18 / 32 },
  q4_k: { type: 12, bytes: 144 / 256, path: { IDP: 16, "LDS.128": 4, "LDG.128": 4 } },
};

/**
 * A product of many rows with a weight in q4_k. A kernel first decodes the weight to bf16 terms (decoded_gemm.cuh), in one strip. Rows of bf16
 * take two terms. The ring loads them twice, as for a product with twice the inner dimension. A prompt has rows of f32, which another kernel
 * rounds first, and a weight is rounded to one term.
 */
export function decodedProduct(card, { prompt = false } = {}) {
  const [m, n, k, terms] = [8192, 4096, 4096, prompt ? 1 : 2];
  const { type, bytes } = BLOCKS.q4_k;
  return {
    title: `${prompt ? "a prompt's" : "bf16"} rows ${m} x q4_k (${n}, ${k})`,
    rate: { unit: "TFLOP/s", amount: (2 * m * n * k) / 1e12 },
    launches: [
      ...(prompt ? [{ note: "rounding of the rows", dram: m * k * (4 + 2) }] : []),
      {
        source: "quant/gemm_decoded",
        kernel: new RegExp(`decode_kernel.*DTypeE${type}E.*_1EE`),
        ...{ blocks: (n * k) / 16 / 256, threads: 256 },
        roles: [{ warps: 8, path: { "STG.128": 2 }, totals: { "STG.128": 2 * terms } }],
        dram: n * k * (bytes + 2 * terms),
      },
      productLaunch(card, m, n, terms * k),
    ],
  };
}

/**
 * The same with rows that are rounded to 8 bits, as for fewer rows (max_rows_in_int8). Integer tensor cores multiply tiles of
 * 64 x 64 (gemm_int8.cu). A stage has four runs of 16 elements along k. For each run, a warp of 32 x 32 elements has 8 mma.sync.
 */
export function integerProduct() {
  const [m, n, k] = [8192, 4096, 4096];
  const { type, bytes } = BLOCKS.q4_k;
  const [runs, stages] = [k / 16, k / 64];
  const rounded = 1 + 4 / 32 + 4 / 16; // bytes of an activation: itself, and its share of a scale and of a sum
  const tiles = (m / 64) * (n / 64);
  return {
    title: `8-bit rows ${m} x q4_k (${n}, ${k})`,
    rate: { unit: "TFLOP/s", amount: (2 * m * n * k) / 1e12 },
    launches: [
      {
        source: "quant/gemm_int8",
        kernel: /12round_kernel/,
        ...{ blocks: (m * k) / 16 / 256, threads: 256 },
        roles: [{ warps: 8, path: { "LDG.128": 4, "STG.64": 2, "LDG.16": 0, CALL: 0 } }],
        dram: m * k * (4 + rounded),
      },
      {
        source: "quant/gemm_int8",
        kernel: new RegExp(`13tensor_kernel.*DTypeE${type}E`),
        ...{ blocks: tiles, threads: 128 },
        roles: [
          {
            warps: 4,
            mark: "IMMA",
            // A thread copies two runs of the rows in an iteration, and decodes one run of the weight. HADD2 converts its two scales.
            path: { IMMA: 8, "LDG.32": 4, HADD2: 2, CALL: 0 },
            totals: { IMMA: runs * 8, "LDG.32": stages * 4, HADD2: stages * 4 },
            outer: stages,
            l2: 64 * k * (rounded + bytes),
          },
        ],
        dram: m * k * rounded + n * k * bytes + 4 * m * n,
        l2: tiles * 64 * k * (rounded + bytes) + 4 * m * n,
      },
    ],
  };
}

/**
 * The products of a mixture of experts with weights in q4_k and evenly chosen experts, with the shapes of Qwen3 30B A3B. A range of experts is
 * decoded at a time, whose two bf16 terms take at most 64 MiB (decoded_experts of decoded_weights.h). experts_tensor.cu uses mma.sync on all cards.
 */
export function expertProduct() {
  const [rows, slots, experts, n, k, terms] = [2048, 8, 128, 768, 2048, 2];
  const { type, bytes } = BLOCKS.q4_k;
  const pairs = (rows * slots) / experts;
  const steps = (terms * k) / DEPTH;
  const most = Math.floor((64 << 20) / (2 * terms * n * k));
  const launchesOf = (count, ofLaunch) => {
    // A launch has too few tiles of 128 x 128, so tiles are 64 x 64, by four warps of 32 x 32.
    const tiles = ofLaunch * Math.ceil(pairs / 64) * (n / 64);
    const end = Object.fromEntries(Object.entries(epilogue(1)).map(([name, times]) => [name, 2 * times]));
    return [
      {
        source: "quant/gemm_decoded",
        kernel: new RegExp(`decode_kernel.*DTypeE${type}E.*_1EE`),
        ...{ count, blocks: (ofLaunch * n * k) / 16 / 256, threads: 256 },
        roles: [{ warps: 8, path: { "STG.128": 2 }, totals: { "STG.128": 2 * terms } }],
        dram: ofLaunch * n * k * (bytes + 2 * terms),
      },
      {
        source: "gemm/experts_tensor",
        kernel: /tensor_experts_kernel.*TileILi64ELi64ELi2ELi2ELi3EEELb1E/,
        ...{ count, blocks: tiles, threads: 128, shared: 3 * 16384 },
        roles: [
          {
            warps: 4,
            mark: "HMMA",
            path: { HMMA: 32, "LDGSTS.128": 4, CALL: 0, ...epilogue(1) },
            totals: { HMMA: steps * 32, "LDGSTS.128": steps * 8, ...end },
            l2: steps * 16384,
          },
        ],
        dram: 2 * ofLaunch * (pairs * (k + n) + terms * n * k),
        l2: tiles * steps * 16384 + 2 * ofLaunch * pairs * n,
      },
    ];
  };
  const [whole, rest] = [Math.floor(experts / most), experts % most];
  return {
    title: `experts, ${rows} rows x ${slots} of ${experts}, q4_k (${n}, ${k})`,
    rate: { unit: "TFLOP/s", amount: (2 * rows * slots * n * k) / 1e12 },
    launches: [...launchesOf(whole, most), ...(rest ? launchesOf(1, rest) : [])],
  };
}

/** Launches of one row times a weight (n, k). */
export function gemvLaunches(card, format, n, k, { factors = 1 } = {}) {
  const { type, bytes, path } = BLOCKS[format];
  const weights = factors * n * k * bytes;
  if (format === "bf16")
    return [
      {
        source: "gemm/gemm",
        kernel: factors === 2 ? /15few_rows_kernelI.*LoadsE3ELb1E/ : /15few_rows_kernelI.*LoadsE3ELb0E/,
        ...{ blocks: n / 8, threads: 256 },
        roles: [
          {
            warps: 8,
            path: { "LDG.128": 8, "LDG.32": 0, "LDG.16": 0 },
            totals: { "LDG.128": (factors * 2 * k) / 256 },
          },
        ],
        dram: weights + 2 * k,
      },
    ];
  // Each block rounds the row to shared memory. A thread rounds 16 elements at a time, and stores them as two words of 64 bits.
  const [threads, warps] = [512, 16];
  const blocks = Math.min(n, 2 * card.multiprocessors);
  const columns = n / blocks / warps;
  return [
    {
      source: "quant/gemm_int8",
      kernel: new RegExp(`few_rows_kernel.*DTypeE${type}EEELb1E`),
      ...{ blocks, threads, shared: 1.375 * k },
      roles: [
        {
          warps,
          path: { ...path, "STS.64": 2, CALL: 0 },
          totals: { "LDS.128": (columns * k) / 16 / 32, "STS.64": (2 * k) / 16 / threads },
          outer: columns,
        },
      ],
      dram: weights + 2 * k,
    },
  ];
}

export const gemv = (card, format, n, k) => ({
  title: `one row x (${n}, ${k}) ${format}`,
  rate: { unit: "TB/s", amount: (n * k * BLOCKS[format].bytes) / 1e12 },
  launches: gemvLaunches(card, format, n, k),
});

/**
 * A product of one row in a chain, where each kernel starts while the one before it ends. In bf16, x is stored in bf16, as by the norms of a
 * decode step.
 */
export const gemvChain = (card, format, n, k) => ({
  title: `one row x (${n}, ${k}) ${format}, in a chain`,
  // The chain of `heddle bench` feeds sums in f32 to the next product. Quantized products round them on their own.
  bench: n === k && format !== "bf16" ? [`gemv ${format} ${n}x${k}`] : [],
  rate: { unit: "TB/s", amount: (n * k * BLOCKS[format].bytes) / 1e12 },
  launches: gemvLaunches(card, format, n, k).map((launch) => ({ ...launch, waits: true })),
});

/** The chain of products in bf16 that `heddle bench` times. A kernel rounds the f32 result of a product for the next one. */
export function roundedChain(card) {
  const [n, k] = [4096, 4096];
  return {
    title: `one row x (${n}, ${k}) bf16, in a chain that rounds f32`,
    bench: [`gemv bf16 ${n}x${k}`],
    rate: { unit: "TB/s", amount: (n * k * 2) / 1e12 },
    launches: [{ note: "x rounded to bf16", dram: 6 * k }, ...gemvLaunches(card, "bf16", n, k)].map((launch) => ({
      ...launch,
      waits: true,
    })),
  };
}
