// The f32 matrix product on the ordinary multiply-add units, for operands of any type; and the choice among the kernels.
#include "cuda/gemm.cuh"

#include "cuda/gemm_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

using tiled::tile_m;
using tiled::tile_n;

__device__ inline void store(const Gemm& g, int64_t row, int64_t column, float v) {
  if (g.bias.data) v += g.bias[column];
  if (g.accumulate) v += g.c[row * g.ldc + column];
  g.c.store(row * g.ldc + column, v);
}

__global__ void __launch_bounds__(tiled::threads, 2) gemm_kernel(Gemm g) {
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const tiled::Elements<> a{g.a, g.lda, !g.a_transposed, row0, g.m, g.k, {}, {}}, b{g.b, g.ldb, g.b_transposed, column0, g.n, g.k, {}, {}};
  tiled::tile_product<16>(g.k, a, b, [&](int i, int j, float v) {
    if (row0 + i < g.m && column0 + j < g.n) store(g, row0 + i, column0 + j, v);
  });
}

// b quantised. 64 deep, so that every thread has a run of it to take apart.
template <class Rows> __global__ void __launch_bounds__(tiled::threads, 2) quantised_gemm_kernel(Gemm g, Rows w) {
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const tiled::Elements<> a{g.a, g.lda, !g.a_transposed, row0, g.m, g.k, {}, {}};
  const tiled::Blocks<Rows> b{w, 0, g.b_transposed, column0, g.n, g.k};
  tiled::tile_product<64>(g.k, a, b, [&](int i, int j, float v) {
    if (row0 + i < g.m && column0 + j < g.n) store(g, row0 + i, column0 + j, v);
  });
}

// ---- few rows: generating a token reads every weight once, so that lanes should read neighbours ---------------------------

constexpr int few_threads = 256, most_rows = 4;

__device__ inline void finish(const Gemm& g, int64_t column, const float (&sum)[most_rows]) {
  HEDDLE_UNROLL
  for (int i = 0; i < most_rows; ++i) {
    if (i >= g.m) break;
    const float v = warp_sum(sum[i]);
    if (threadIdx.x % warp_size == 0) store(g, i, column, v);
  }
}

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
  finish(g, column, sum);
}

// The same with quantised weights: lane i takes run i, i + 32, ... of 16 elements apart.
template <class Rows> __global__ void __launch_bounds__(few_threads) quantised_few_rows_kernel(Gemm g, Rows w) {
  const int lane = threadIdx.x % warp_size;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // whole warps
  float sum[most_rows] = {};
  for (int64_t r = lane; r < g.k / run_elements; r += warp_size) {
    const Run run = w.run(column, r);
    HEDDLE_UNROLL
    for (int i = 0; i < most_rows; ++i) {
      if (i >= g.m) break;
      float x[run_elements];
      load_run(g.a, i * g.lda + r * run_elements, x);
      HEDDLE_UNROLL
      for (int e = 0; e < run_elements; ++e) sum[i] += x[e] * run[e];
    }
  }
  finish(g, column, sum);
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
  const Grid grid{dim3(blocks_for(g.n, few_threads / warp_size)), dim3(few_threads)};
  if (!is_quantised(g.b.type)) return launch(context, name, grid, few_rows_kernel, g);
  with_block_rows(g.b, g.ldb, [&](auto w) { launch(context, name, grid, quantised_few_rows_kernel<decltype(w)>, g, w); });
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
    const Grid grid{dim3(blocks_for(g.n, tile_n), blocks_for(part.m, tile_m)), dim3(tiled::threads)};
    if (!is_quantised(g.b.type)) launch(context, name, grid, gemm_kernel, part);
    else with_block_rows(g.b, g.ldb, [&](auto w) { launch(context, name, grid, quantised_gemm_kernel<decltype(w)>, part, w); });
  }
}

}  // namespace cuda
}  // namespace heddle
