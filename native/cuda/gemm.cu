// The f32 matrix product on the ordinary multiply-add units, for operands of any floating type. Each block makes a tile of 64 x
// 64 from tiles of 64 x 16 and 16 x 64 in shared memory; each of 256 threads makes 4 x 4 of it in registers, so that of 8
// values read from shared memory 16 multiply-adds follow. After "How to optimize a CUDA matmul kernel" (Boehm 2022).
#include "cuda/gemm.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int tile_m = 64, tile_n = 64, tile_k = 16, per_thread = 4;
constexpr int threads = (tile_m / per_thread) * (tile_n / per_thread);
// One more than 64 keeps the columns that a transposing store writes in different banks.
constexpr int pitch = tile_m + 1;

__global__ void __launch_bounds__(threads, 2) gemm_kernel(Gemm g) {
  HEDDLE_SHARED(float, a_tile, [tile_k][pitch]);
  HEDDLE_SHARED(float, b_tile, [tile_k][pitch]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const int tx = threadIdx.x % (tile_n / per_thread), ty = threadIdx.x / (tile_n / per_thread);
  float sum[per_thread][per_thread] = {};

  for (int64_t k0 = 0; k0 < g.k; k0 += tile_k) {
    // Neighbouring threads read neighbouring elements as stored.
    for (int e = threadIdx.x; e < tile_m * tile_k; e += threads) {
      const int i = g.a_transposed ? e % tile_m : e / tile_k, k = g.a_transposed ? e / tile_m : e % tile_k;
      const int64_t row = row0 + i, depth = k0 + k;
      const bool inside = row < g.m && depth < g.k;
      a_tile[k][i] = inside ? g.a[g.a_transposed ? depth * g.lda + row : row * g.lda + depth] : 0.0f;
    }
    for (int e = threadIdx.x; e < tile_n * tile_k; e += threads) {
      const int j = g.b_transposed ? e / tile_k : e % tile_n, k = g.b_transposed ? e % tile_k : e / tile_n;
      const int64_t column = column0 + j, depth = k0 + k;
      const bool inside = column < g.n && depth < g.k;
      b_tile[k][j] = inside ? g.b[g.b_transposed ? column * g.ldb + depth : depth * g.ldb + column] : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < tile_k; ++k) {
      float a[per_thread], b[per_thread];
      HEDDLE_UNROLL
      for (int i = 0; i < per_thread; ++i) a[i] = a_tile[k][ty * per_thread + i];
      HEDDLE_UNROLL
      for (int j = 0; j < per_thread; ++j) b[j] = b_tile[k][tx + j * (tile_n / per_thread)];
      HEDDLE_UNROLL
      for (int i = 0; i < per_thread; ++i)
        HEDDLE_UNROLL
        for (int j = 0; j < per_thread; ++j) sum[i][j] += a[i] * b[j];
    }
    __syncthreads();  // before the next tiles overwrite these
  }

  HEDDLE_UNROLL
  for (int i = 0; i < per_thread; ++i) {
    const int64_t row = row0 + ty * per_thread + i;
    if (row >= g.m) continue;
    HEDDLE_UNROLL
    for (int j = 0; j < per_thread; ++j) {
      const int64_t column = column0 + tx + j * (tile_n / per_thread);
      if (column >= g.n) continue;
      float v = sum[i][j];
      if (g.bias.data) v += g.bias[column];
      if (g.accumulate) v += g.c[row * g.ldc + column];
      g.c.store(row * g.ldc + column, v);
    }
  }
}

// ---- few rows: generating a token reads every weight once, so that lanes should read neighbours ---------------------------

constexpr int few_threads = 256, most_rows = 4;

// b stored (n, k). A warp makes one column of up to four rows.
__global__ void __launch_bounds__(few_threads) few_rows_kernel(Gemm g) {
  const int lane = threadIdx.x % warp_size;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // whole warps
  float sum[most_rows] = {};
  for (int64_t k = lane; k < g.k; k += warp_size) {
    const float weight = g.b[column * g.ldb + k];
    HEDDLE_UNROLL
    for (int i = 0; i < most_rows; ++i)
      if (i < g.m) sum[i] += g.a[i * g.lda + k] * weight;
  }
  HEDDLE_UNROLL
  for (int i = 0; i < most_rows; ++i) {
    if (i >= g.m) break;
    float v = warp_sum(sum[i]);
    if (lane != 0) continue;
    if (g.bias.data) v += g.bias[column];
    if (g.accumulate) v += g.c[i * g.ldc + column];
    g.c.store(i * g.ldc + column, v);
  }
}

}  // namespace

GemmKernel choose_gemm(const Gemm& g, int multiprocessors) {
  if (g.m <= most_rows && !g.a_transposed && g.b_transposed && !g.rowwise) return GemmKernel::few_rows;
  if (g.c.type == DType::f16 || (g.accumulate && g.c.type != DType::f32)) return GemmKernel::multiply_add;
  // The tensor kernels copy 16 bytes at a time.
  const auto aligned = [](const View& x, int64_t row) { return row % 8 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0; };
  if (g.a.type != DType::bf16 || g.b.type != DType::bf16 || !aligned(g.a, g.lda) || !aligned(g.b, g.ldb) || (g.a_transposed && g.b_transposed))
    return GemmKernel::multiply_add;
  // Large tiles read less; small ones where there would be too few large ones to keep every multiprocessor busy.
  const int64_t large_tiles = ((g.m + 127) / 128) * ((g.n + 127) / 128);
  return g.rowwise || large_tiles >= multiprocessors ? GemmKernel::tensor_large : GemmKernel::tensor_small;
}

void gemm_few_rows(const Context& context, const char* name, const Gemm& g) {
  launch(context, name, {dim3(blocks_for(g.n, few_threads / warp_size)), dim3(few_threads)}, few_rows_kernel, g);
}

void gemm(const Context& context, const char* name, const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
  switch (choose_gemm(g, static_cast<CudaAccelerator*>(context.accelerator)->multiprocessors())) {
    case GemmKernel::few_rows: return gemm_few_rows(context, name, g);
    case GemmKernel::multiply_add: return gemm_multiply_add(context, name, g);
    case GemmKernel::tensor_small: return gemm_tensor(context, name, g, false);
    case GemmKernel::tensor_large: return gemm_tensor(context, name, g, true);
  }
}

void gemm_multiply_add(const Context& context, const char* name, const Gemm& g) {
  // The grid's second dimension is small: tall products go in strips.
  constexpr int64_t strip = int64_t{65535} * tile_m;
  for (int64_t row = 0; row < g.m; row += strip) {
    Gemm part = g;
    part.m = g.m - row < strip ? g.m - row : strip;
    const auto skip = [](const void* data, DType type, int64_t elements) {
      return const_cast<char*>(static_cast<const char*>(data)) + elements * static_cast<int64_t>(dtype_bytes(type));
    };
    part.a.data = skip(g.a.data, g.a.type, row * (g.a_transposed ? 1 : g.lda));
    part.c.data = skip(g.c.data, g.c.type, row * g.ldc);
    launch(context, name, {dim3(blocks_for(g.n, tile_n), blocks_for(part.m, tile_m)), dim3(threads)}, gemm_kernel, part);
  }
}

}  // namespace cuda
}  // namespace heddle
