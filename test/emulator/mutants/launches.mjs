// Mutations of the wait for the previous kernel (PreviousKernel in launch.cuh). mutants.mjs describes the fields.
const wait = "  previous.wait();\n";
const none = "  static_cast<void>(previous);\n";

export const launches = [
  ["launches: rope does not wait", "rope.cu", wait, none],
  [
    "launches: rope waits after its first load",
    "rope.cu",
    `${wait}  const int64_t row = blockIdx.x;
  HEDDLE_SHARED(float, cosines, [most_pairs]);
  HEDDLE_SHARED(float, sines, [most_pairs]);
  const float position = static_cast<float>(a.positions[row]);
`,
    `  const int64_t row = blockIdx.x;
  HEDDLE_SHARED(float, cosines, [most_pairs]);
  HEDDLE_SHARED(float, sines, [most_pairs]);
  const float position = static_cast<float>(a.positions[row]);
${wait}`,
  ],
  [
    "launches: warps beyond the last column end without waiting",
    "gemm.cu",
    `${wait}  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
  float sum[most_rows] = {}, up`,
    `  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
${wait}  float sum[most_rows] = {}, up`,
  ],
  [
    "launches: one thread of a tensor-core product does not wait",
    "gemm_multistage.cuh",
    `${wait}  const Gemm g = part_of(whole, part);`,
    `  if (threadIdx.x != 0) previous.wait();
  const Gemm g = part_of(whole, part);`,
  ],
  [
    "launches: the thread that copies boxes does not wait",
    "gemm_sm90.cu",
    `begin_ring<true>(full, empty, product.cluster);\n${wait}`,
    "begin_ring<true>(full, empty, product.cluster);\n  if (threadIdx.x != 0) previous.wait();\n",
  ],
  ["launches: a cache write does not wait", "cache.cu", wait, none],
  ["launches: cached attention does not wait", "cached_attention_tensor.cu", wait, none],
  [
    "launches: the merge of parts does not wait",
    "cached_attention_tensor.cu",
    `fold_tensor_parts_kernel(PreviousKernel previous, CachedArguments a) {\n${wait}`,
    `fold_tensor_parts_kernel(PreviousKernel previous, CachedArguments a) {\n${none}`,
  ],
  [
    "launches: the draw of a token does not wait",
    "sample_draw.cu",
    `draw_kernel(PreviousKernel previous, Arguments a) {\n${wait}`,
    `draw_kernel(PreviousKernel previous, Arguments a) {\n${none}`,
  ],
];
