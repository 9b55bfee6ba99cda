// Matrix products of quantized weights and 8-bit activations. 16 elements along k share one scale in each operand.
// Their integer dot products are exact. They are scaled and added up in f32. Activations are rounded as by
// round_activations (native/ops/quant.h). After llama.cpp's MMVQ and MMQ kernels: few rows use dp4a, many rows use
// integer tensor cores.
#include "cuda/quant/gemm_int8.cuh"

#include "cuda/quant/int8_rows.cuh"

namespace heddle {
namespace cuda {
namespace {

// An Int8Gemm with rounded activations.
struct Product {
  int8::Rows x;
  View bias;
  Out c;
  int64_t m, n, k;
};

constexpr int round_threads = 256;

// Rounds x to 8 bits.
__global__ void __launch_bounds__(round_threads)
    round_kernel(PreviousKernel previous, View x, int8::Rows to, int64_t groups) {
  previous.wait();
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * round_threads + threadIdx.x;
  int8::round_rows<false>(x, groups, to, thread, static_cast<int64_t>(gridDim.x) * round_threads);
}

__device__ inline float bias_of(const Product& g, int64_t column) { return g.bias.data ? g.bias[column] : 0.0f; }

// ---- few rows

constexpr int few_threads = 512, few_warps = few_threads / warp_size, few_blocks = 2, most_rows = 4;

// A warp computes columns of c, of up to four rows. Its lanes share the runs. With `rounds`, each block rounds the rows
// of `activations` to shared memory, which saves a launch. The weights of the warps' first columns arrive in the L2
// cache meanwhile. Otherwise, g.x has the rounded rows.
template <class Rows, bool rounds>
__global__ void __launch_bounds__(few_threads, few_blocks)
    few_rows_kernel(PreviousKernel previous, Product g, Rows w, View activations) {
  previous.wait();
  const int lane = threadIdx.x % warp_size;
  const unsigned runs = static_cast<unsigned>(g.k / run_elements);
  // 32-bit indices save registers. They suffice for the rows of w.
  const unsigned first = blockIdx.x + gridDim.x * (threadIdx.x / warp_size), columns = static_cast<unsigned>(g.n);
  const int rows = static_cast<int>(g.m);
  if constexpr (rounds) {
    HEDDLE_DYNAMIC_SHARED(uint8_t, shared);
    g.x = int8::rows_at(shared, g.m * g.k);
    if (first < columns) w.fetch(first);
    int8::round_rows<true>(activations, g.m * g.k / int8::group, g.x, threadIdx.x, few_threads);
    __syncthreads();
  }
  for (unsigned column = first; column < columns; column += gridDim.x * few_warps) {
    float sum[most_rows] = {};
    each_run<4>(w, column, runs, [&](const Run& run, unsigned r) {
      HEDDLE_UNROLL
      for (int i = 0; i < most_rows; ++i) {
        if (i >= rows) break;
        const unsigned at = i * runs + r;
        const uint4 four = *reinterpret_cast<const uint4*>(g.x.q + int8::place_of<rounds>(at) * run_elements);
        const uint32_t q[4] = {four.x, four.y, four.z, four.w};
        int product = 0;
        HEDDLE_UNROLL
        for (int word = 0; word < 4; ++word)
          product = __dp4a(static_cast<int>(run.q[word]), static_cast<int>(q[word]), product);
        sum[i] += g.x.scale[at / 2] * run.scale * static_cast<float>(product);
        if constexpr (has_minimums<Rows::block_type>) sum[i] += run.minimum * g.x.sum[at];
      }
    });
    HEDDLE_ROLLED
    for (int i = 0; i < rows; ++i) {
      // Register indices are constant, and the code that stores is instantiated only once.
      float own = sum[0];
      HEDDLE_UNROLL
      for (int r = 1; r < most_rows; ++r)
        if (r == i) own = sum[r];
      const float v = warp_sum(own);
      if (lane == 0) g.c.store(i * g.n + column, v + bias_of(g, column));
    }
  }
}

// ---- many rows

// tile_runs: runs along k of a stage. warps_n: warps along a tile's columns.
constexpr int tile_m = 64, tile_n = 64, tile_runs = 4, warps_n = 2, threads = 4 * warp_size;
constexpr int words = tile_runs * 4;
// Rows have a pitch of 20 words. Lane (g, t) of a warp reads the word at 20 g + t, and these are in 32 different banks.
constexpr int pitch = words + 4;

// Computes a tile of 64 x 64 per block. Each of four warps computes 32 x 32 elements. For each stage of four runs along
// k, activations are copied to shared memory, and weights are unpacked to it. mma.sync then multiplies run by run.
template <class Rows>
__global__ void __launch_bounds__(threads) tensor_kernel(PreviousKernel previous, Product g, Rows w) {
  previous.wait();
  HEDDLE_SHARED(uint32_t, a_tile, [tile_m][pitch]);
  HEDDLE_SHARED(uint32_t, b_tile, [tile_n][pitch]);
  HEDDLE_SHARED(float, a_scale, [tile_m][tile_runs]);
  HEDDLE_SHARED(float, a_sum, [tile_m][tile_runs]);
  HEDDLE_SHARED(float, b_scale, [tile_n][tile_runs]);
  HEDDLE_SHARED(float, b_minimum, [tile_n][tile_runs]);
  constexpr int rows_m = 2, columns_n = 4;  // accumulator fragments of a warp
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * tile_m, column0 = static_cast<int64_t>(blockIdx.x) * tile_n;
  const int64_t runs = g.k / run_elements;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, fg = lane / 4, ft = lane % 4;
  const int warp_row = warp / warps_n * 32, warp_column = warp % warps_n * 32;
  float sum[rows_m][columns_n][4] = {};

  for (int64_t run0 = 0; run0 < runs; run0 += tile_runs) {
    for (int e = threadIdx.x; e < tile_m * tile_runs; e += threads) {
      const int i = e / tile_runs, r = e % tile_runs;
      const int64_t row = row0 + i, run = run0 + r;
      const bool inside = row < g.m && run < runs;
      const uint4 zeros{0, 0, 0, 0};
      const uint4 q = inside ? *reinterpret_cast<const uint4*>(g.x.q + (row * runs + run) * run_elements) : zeros;
      a_tile[i][4 * r] = q.x, a_tile[i][4 * r + 1] = q.y, a_tile[i][4 * r + 2] = q.z, a_tile[i][4 * r + 3] = q.w;
      a_scale[i][r] = inside ? g.x.scale[(row * runs + run) / 2] : 0.0f;
      a_sum[i][r] = inside ? g.x.sum[row * runs + run] : 0.0f;
    }
    for (int e = threadIdx.x; e < tile_n * tile_runs; e += threads) {
      const int j = e / tile_runs, r = e % tile_runs;
      Run run{};
      if (column0 + j < g.n && run0 + r < runs) run = w.run(column0 + j, run0 + r);
      HEDDLE_UNROLL
      for (int word = 0; word < 4; ++word) b_tile[j][4 * r + word] = run.q[word];
      b_scale[j][r] = run.scale;
      b_minimum[j][r] = run.minimum;
    }
    __syncthreads();
    for (int r = 0; r < tile_runs; ++r) {
      uint32_t left[rows_m][2], right[columns_n];
      HEDDLE_UNROLL
      for (int i = 0; i < rows_m; ++i) {
        HEDDLE_UNROLL
        for (int half = 0; half < 2; ++half) left[i][half] = a_tile[warp_row + 16 * i + 8 * half + fg][4 * r + ft];
      }
      HEDDLE_UNROLL
      for (int j = 0; j < columns_n; ++j) right[j] = b_tile[warp_column + 8 * j + fg][4 * r + ft];
      HEDDLE_UNROLL
      for (int j = 0; j < columns_n; ++j) {
        float scale[2], minimum[2];
        HEDDLE_UNROLL
        for (int e = 0; e < 2; ++e) {
          scale[e] = b_scale[warp_column + 8 * j + 2 * ft + e][r];
          minimum[e] = b_minimum[warp_column + 8 * j + 2 * ft + e][r];
        }
        HEDDLE_UNROLL
        for (int i = 0; i < rows_m; ++i) {
          int product[4] = {};
          ptx::mma_int8(product, left[i], right[j]);
          HEDDLE_UNROLL
          for (int e = 0; e < 4; ++e) {
            const int row = warp_row + 16 * i + fg + e / 2 * 8;
            sum[i][j][e] +=
                a_scale[row][r] * scale[e % 2] * static_cast<float>(product[e]) + minimum[e % 2] * a_sum[row][r];
          }
        }
      }
    }
    __syncthreads();  // the next stage overwrites the tiles
  }

  // A separate loop adds the biases, so that the code that loads one is instantiated once per column.
  HEDDLE_UNROLL
  for (int j = 0; j < columns_n; ++j) {
    HEDDLE_UNROLL
    for (int second = 0; second < 2; ++second) {
      const int64_t column = column0 + warp_column + 8 * j + 2 * ft + second;
      const float bias = column < g.n ? bias_of(g, column) : 0.0f;
      HEDDLE_UNROLL
      for (int i = 0; i < 2 * rows_m; ++i) sum[i / 2][j][i % 2 * 2 + second] += bias;
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < rows_m; ++i) {
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = row0 + warp_row + 16 * i + fg + e / 2 * 8,
                      column = column0 + warp_column + 8 * j + 2 * ft + e % 2;
        if (row < g.m && column < g.n) g.c.store(row * g.n + column, sum[i][j][e]);
      }
    }
  }
}

}  // namespace

size_t int8_scratch(int64_t m, int64_t k) { return static_cast<size_t>(int8::bytes_of(m * k)); }

void gemm_int8(const Context& context, const char* name, const Int8Gemm& g, bool rowwise) {
  const bool few = g.m <= most_rows && !rowwise;
  const size_t shared = static_cast<size_t>(int8::bytes_of(g.m * g.k));
  const bool rounds = few && shared <= default_shared_bytes;
  const Product product{int8::rows_at(context.scratch, g.m * g.k), g.bias, g.c, g.m, g.n, g.k};
  if (!rounds) {
    const int64_t groups = g.m * g.k / int8::group;
    launch(context, name, {dim3(blocks_for(2 * groups, round_threads)), dim3(round_threads)}, round_kernel, g.x,
        product.x, groups);
  }
  constexpr int64_t strip = int64_t{65535} * tile_m;  // rows per launch: a grid's second dimension is limited to 65535
  with_block_rows(g.w, g.k, [&](auto w) {
    if (few) {
      const int64_t resident = int64_t{few_blocks} * properties_of(context).multiprocessors;
      const Grid grid{
          dim3(static_cast<unsigned>(g.n < resident ? g.n : resident)), dim3(few_threads), rounds ? shared : 0};
      launch(context, name, grid, rounds ? few_rows_kernel<decltype(w), true> : few_rows_kernel<decltype(w), false>,
          product, w, g.x);
      return;
    }
    for (int64_t row = 0; row < g.m; row += strip) {
      Product part = product;
      part.m = g.m - row < strip ? g.m - row : strip;
      part.x = {product.x.q + row * g.k, product.x.scale + row * (g.k / int8::group),
          product.x.sum + row * (g.k / run_elements)};
      part.c.data = static_cast<char*>(g.c.data) + row * g.n * static_cast<int64_t>(dtype_bytes(g.c.type));
      launch(context, name, {dim3(blocks_for(g.n, tile_n), blocks_for(part.m, tile_m)), dim3(threads)},
          tensor_kernel<decltype(w)>, part, w);
    }
  });
}

}  // namespace cuda
}  // namespace heddle
