// Published rates of cards, and measured ones where NVIDIA publishes none. `sources` has the source of each.

const datasheet = (name) => `NVIDIA, ${name} data sheet`;
const LUO =
  "Luo et al. 2024, Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via Microbenchmarking, tables of latencies";
const TUNING =
  "CUDA C++ Programming Guide, Throughput of Native Arithmetic Instructions, results per clock and multiprocessor";

/**
 * @typedef {object} Card
 * @property {number} multiprocessors
 * @property {number} clock boost clock in Hz
 * @property {number} loaded share of `clock` at which kernels on tensor cores run, because of the power limit
 * @property {number} dram bytes per second
 * @property {number} attainable share of `dram` that a copy reaches
 * @property {number} l2 bytes per clock of the whole card
 * @property {number} l2PerMultiprocessor bytes per clock
 * @property {number} l2Bytes size
 * @property {number} tensor bf16 operations per clock and multiprocessor, without sparsity
 * @property {number} [mma] those of mma.sync, where newer instructions are faster than it. Default: `tensor`
 * @property {number} [integer] operations of mma.sync in 8-bit integers for each one in bf16. Default: 2
 * @property {number} lanes results of fp32 multiply-adds per clock and multiprocessor
 * @property {number} registers, sharedBytes, warps, blocks limits of a multiprocessor
 * @property {{ shared: number, l2: number, dram: number }} latency in clocks, without load
 */
export const cards = {
  h100: {
    title: "H100 SXM",
    code: "90a",
    name: /\bH100\b(?! (PCIe|NVL))/,
    ...{
      multiprocessors: 132,
      clock: 1.83e9,
      loaded: 0.85,
      dram: 3.35e12,
      attainable: 0.9,
      l2: 5120,
      l2PerMultiprocessor: 64,
      l2Bytes: 50e6,
    },
    ...{ tensor: 4096, mma: 2576, lanes: 128, registers: 65536, sharedBytes: 228 << 10, warps: 64, blocks: 32 },
    latency: { shared: 29, l2: 263, dram: 479 },
    sources: {
      "multiprocessors, tensor, dram": datasheet("H100 SXM5 (989 TFLOP/s of dense bf16, 3.35 TB/s)"),
      clock: "the clock at which 132 x 4096 operations give the data sheet's 989 TFLOP/s",
      mma: `0.629 of wgmma's rate (${LUO.replace("tables of latencies", "throughput of mma instructions")})`,
      integer: "assumed: that of wgmma and of the A100",
      loaded: "assumed: the best published products reach about 0.82 of the data sheet (fast.cu: 808 TFLOP/s)",
      attainable: "a device copy reaches about 3.0 TB/s",
      l2: "not published; assumed to be that of the A100",
      latency: LUO,
      lanes: TUNING,
      "registers, sharedBytes, warps, blocks":
        "CUDA C++ Programming Guide, Technical Specifications per Compute Capability, 9.0",
    },
  },
  a100: {
    title: "A100 SXM 80 GB",
    code: "80",
    name: /\bA100\b/,
    ...{
      multiprocessors: 108,
      clock: 1.41e9,
      loaded: 0.95,
      dram: 2.039e12,
      attainable: 0.9,
      l2: 5120,
      l2PerMultiprocessor: 64,
      l2Bytes: 40e6,
    },
    ...{ tensor: 2048, lanes: 64, registers: 65536, sharedBytes: 164 << 10, warps: 64, blocks: 32 },
    latency: { shared: 29, l2: 262, dram: 466 },
    sources: {
      "multiprocessors, clock, tensor, integer, dram": datasheet(
        "A100 80GB SXM (312 TFLOP/s of bf16, 624 TOPS of int8, 2.039 TB/s)",
      ),
      l2: "NVIDIA A100 Tensor Core GPU Architecture: 5120 bytes per clock",
      loaded: "assumed",
      attainable: "assumed to be that of the H100",
      latency: LUO,
      lanes: TUNING,
      "registers, sharedBytes, warps, blocks":
        "CUDA C++ Programming Guide, Technical Specifications per Compute Capability, 8.0",
    },
  },
  rtx4090: {
    title: "RTX 4090",
    code: "80", // prebuilds have no code for 8.9, except for e4m3
    name: /\bRTX 4090\b/,
    ...{
      multiprocessors: 128,
      clock: 2.52e9,
      loaded: 1,
      dram: 1.008e12,
      attainable: 0.9,
      l2: 2048,
      l2PerMultiprocessor: 64,
      l2Bytes: 72e6,
    },
    ...{ tensor: 512, integer: 4, lanes: 128, registers: 65536, sharedBytes: 100 << 10, warps: 48, blocks: 24 },
    latency: { shared: 30, l2: 273, dram: 542 },
    sources: {
      "multiprocessors, clock, tensor, integer, dram":
        "NVIDIA Ada GPU Architecture (165.2 TFLOP/s of bf16 with f32 sums, 660.6 TOPS of int8, 1,008 GB/s)",
      loaded: "assumed",
      l2: "not published; about 5 TB/s in published microbenchmarks",
      attainable: "assumed to be that of the H100",
      latency: LUO,
      lanes: TUNING,
      "registers, sharedBytes, warps, blocks":
        "CUDA C++ Programming Guide, Technical Specifications per Compute Capability, 8.9",
    },
  },
  b200: {
    title: "B200",
    code: "100",
    name: /\bB200\b/,
    ...{
      multiprocessors: 148,
      clock: 1.85e9,
      loaded: 0.95,
      dram: 8e12,
      attainable: 0.9,
      l2: 10240,
      l2PerMultiprocessor: 64,
      l2Bytes: 126e6,
    },
    ...{ tensor: 8192, mma: 2048, lanes: 128, registers: 65536, sharedBytes: 228 << 10, warps: 64, blocks: 32 },
    latency: { shared: 29, l2: 278, dram: 494 },
    sources: {
      "tensor, dram": `${datasheet("HGX B200")} (36 PFLOP/s of bf16 with sparsity for eight cards), ${datasheet("DGX B200")} (64 TB/s for eight cards)`,
      "multiprocessors, l2Bytes": "Chips and Cheese 2025, Nvidia's B200: Keeping the CUDA Juggernaut Rolling",
      clock: "the clock at which 148 x 8192 operations give the data sheet's 2,250 TFLOP/s",
      mma: "assumed to be that of the A100. FlashAttention-2, which uses mma.sync, then has 68 % of this rate (380 TFLOP/s, Dao-AILab/flash-attention issue 1589), and about 72 % of the A100's",
      integer: "assumed to be that of the A100",
      loaded: "assumed to be that of the A100, because mma.sync uses a quarter of the tensor cores' rate",
      attainable: "assumed to be that of the H100. A published copy reached over 6 TB/s (0.75)",
      l2: "not published; assumed to be twice that of the A100, for two dies",
      latency:
        "L2: 150 ns within a die (Chips and Cheese). Others assumed: shared memory as on the H100, DRAM as much longer than L2 as on the H100",
      lanes: TUNING,
      "registers, sharedBytes, warps, blocks":
        "CUDA C++ Programming Guide, Technical Specifications per Compute Capability, 10.0",
    },
  },
  rtx5090: {
    title: "RTX 5090",
    code: "120",
    name: /\bRTX 5090\b(?! (D|Laptop))/,
    ...{
      multiprocessors: 170,
      clock: 2.407e9,
      loaded: 1,
      dram: 1.792e12,
      attainable: 0.9,
      l2: 2720,
      l2PerMultiprocessor: 64,
      l2Bytes: 96e6,
    },
    ...{ tensor: 512, integer: 4, lanes: 128, registers: 65536, sharedBytes: 100 << 10, warps: 48, blocks: 24 },
    latency: { shared: 30, l2: 273, dram: 542 },
    sources: {
      "multiprocessors, clock, tensor, integer, dram, l2Bytes":
        "NVIDIA RTX Blackwell GPU Architecture (209.5 TFLOP/s of bf16 with f32 sums, 838 TOPS of int8, 1,792 GB/s, 96 MB of L2)",
      loaded: "assumed to be that of the RTX 4090",
      l2: "not published; assumed to be that of the RTX 4090 for each multiprocessor",
      attainable: "assumed to be that of the H100",
      latency: "assumed to be those of the RTX 4090, in clocks",
      lanes: TUNING,
      "registers, sharedBytes, warps, blocks":
        "CUDA C++ Programming Guide, Technical Specifications per Compute Capability, 12.0",
    },
  },
};

// The H200 has the multiprocessors of the H100, and faster memory.
cards.h200 = {
  ...cards.h100,
  title: "H200 SXM",
  name: /\bH200\b(?! NVL)/,
  dram: 4.8e12,
  sources: {
    ...cards.h100.sources,
    "multiprocessors, tensor, dram": datasheet("H200 SXM (989 TFLOP/s of dense bf16, 4.8 TB/s)"),
    attainable: "assumed to be that of the H100",
  },
};

/** Assumptions of the model that no source gives. Every output lists them. */
export const assumptions = [
  "The card runs at its boost clock, and at the share `loaded` of it in kernels on tensor cores.",
  "Units work at the same time if several blocks share a multiprocessor. In a single block, the loops of a warp run one after another, and warps with other roles at the same time.",
  "A warp takes the path with the fewest instructions that has the loads, products and stores of the shape.",
  "Loads take the latency of DRAM without load. Lengthening under load is not modeled. A memory fence takes twice the latency of L2.",
  "The warpgroups of the attention gradient run in step, so each waits for the products of both. Other warpgroups take turns.",
  "Waits of a block for another block are not modeled.",
  "A launch takes 2 µs. From compute capability 9.0 on, it takes 1 µs in a chain of kernels that start before the one before them has ended.",
  "Reads after another kernel's writes come from DRAM.",
  "Sampling finds 1,024 tokens in each bin that it searches. In the case of heddle bench, these are those of evenly spread logits. Threads do not wait for each other's atomics.",
  "Causal attention has the average number of tiles per block. Blocks of different length are balanced perfectly.",
];

/**
 * Returns the seconds that a launch adds to the time of its kernel. `waits`: it follows another kernel, and takes PreviousKernel
 * (native/cuda/runtime/launch.cuh). The gap of about 1 µs between two kernels of a graph then passes while the kernel before it still runs.
 */
export const launchSeconds = (card, waits = false) => (waits && Number.parseInt(card.code, 10) >= 90 ? 1e-6 : 2e-6);
