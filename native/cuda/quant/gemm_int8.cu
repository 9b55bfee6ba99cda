// Matrix products of quantized weights and 8-bit activations. 16 elements along k share one scale in each operand.
// Their integer dot products are exact. They are scaled and added up in f32. Activations are rounded as by
// round_activations (native/ops/quant.h). After llama.cpp's MMVQ and MMQ kernels: few rows use dp4a, many rows use
// integer tensor cores.
#include "cuda/quant/gemm_int8.cuh"

#include "cuda/quant/quant.cuh"
#include "ops/quant.h"

namespace heddle {
namespace cuda {
namespace {

constexpr int group = activation_group, few_threads = 256, most_rows = 4;

// Returns the sum of the squared rounding errors of a group, in units of the step 1 / inverse. The order of additions
// is that of round_activations, so that both choose the same number of steps.
__device__ inline float squared_error(float v, float inverse, int lane) {
  const float left = fmaf(v, inverse, -rintf(v * inverse)), other = __shfl_xor_sync(all_lanes, left, group / 2);
  const float low = lane < group / 2 ? left : other, high = lane < group / 2 ? other : left;
  float sum = fmaf(high, high, low * low);
  sum += __shfl_xor_sync(all_lanes, sum, 2);
  sum += __shfl_xor_sync(all_lanes, sum, 1);
  sum += __shfl_xor_sync(all_lanes, sum, 8);
  return sum + __shfl_xor_sync(all_lanes, sum, 4);
}

// Rounds x (N, K) to 8 bits. One warp per group of 32, one element per lane.
__global__ void __launch_bounds__(few_threads)
    round_kernel(PreviousKernel previous, View x, Int8Rows to, int64_t groups) {
  previous.wait();
  const int64_t g = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (g >= groups) return;  // uniform over the warp
  const int lane = threadIdx.x % warp_size;
  const float v = x[g * group + lane], largest = warp_max(fabsf(v));
  const bool finite = __ballot_sync(all_lanes, !(fabsf(v) <= 3.4028235e38f)) == 0;
  constexpr float first = activation_steps[0], second = activation_steps[1];
  const bool is_nonzero = finite && largest > least_activation;
  const float first_error = squared_error(v, is_nonzero ? first / largest : 0.0f, lane),
              second_error = squared_error(v, is_nonzero ? second / largest : 0.0f, lane);
  // The comparison of second_steps_leave_less (native/ops/quant.h), which is a host function.
  const float steps = second_error * (first * first) < first_error * (second * second) ? second : first;
  const float inverse = is_nonzero ? steps / largest : 0.0f, scale = finite ? largest / steps : NAN;
  const int q = finite ? static_cast<int>(rintf(v * inverse)) : 0;
  int sum = q;
  for (int lanes = run_elements / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(all_lanes, sum, lanes);
  to.q[g * group + lane] = static_cast<int8_t>(q);
  if (lane == 0) to.scale[g] = scale;
  if (lane % run_elements == 0)
    to.sum[g * (group / run_elements) + lane / run_elements] = scale * static_cast<float>(sum);
}

__device__ inline void store(const Int8Gemm& g, int64_t row, int64_t column, float v) {
  if (g.bias.data) v += g.bias[column];
  g.c.store(row * g.n + column, v);
}

// A warp computes one column of c, of up to four rows. Its lanes share the runs.
template <class Rows>
__global__ void __launch_bounds__(few_threads) few_rows_kernel(PreviousKernel previous, Int8Gemm g, Rows w) {
  previous.wait();
  const int lane = threadIdx.x % warp_size;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * (few_threads / warp_size) + threadIdx.x / warp_size;
  if (column >= g.n) return;  // uniform over the warp
  const unsigned runs = static_cast<unsigned>(g.k / run_elements);
  float sum[most_rows] = {};
  each_run<4>(w, column, runs, [&](const Run& run, unsigned r) {
    HEDDLE_UNROLL
    for (int i = 0; i < most_rows; ++i) {
      if (i >= g.m) break;
      const uint4 four = *reinterpret_cast<const uint4*>(g.x.q + i * g.k + r * run_elements);
      const uint32_t q[4] = {four.x, four.y, four.z, four.w};
      int product = 0;
      HEDDLE_UNROLL
      for (int word = 0; word < 4; ++word)
        product = __dp4a(static_cast<int>(run.q[word]), static_cast<int>(q[word]), product);
      sum[i] += g.x.scale[(i * runs + r) / 2] * run.scale * static_cast<float>(product);
      if constexpr (has_minimums<Rows::block_type>) sum[i] += run.minimum * g.x.sum[i * runs + r];
    }
  });
  HEDDLE_UNROLL
  for (int i = 0; i < most_rows; ++i) {
    if (i >= g.m) break;
    const float v = warp_sum(sum[i]);
    if (lane == 0) store(g, i, column, v);
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
__global__ void __launch_bounds__(threads) tensor_kernel(PreviousKernel previous, Int8Gemm g, Rows w) {
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

  HEDDLE_UNROLL
  for (int i = 0; i < rows_m; ++i) {
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = row0 + warp_row + 16 * i + fg + e / 2 * 8,
                      column = column0 + warp_column + 8 * j + 2 * ft + e % 2;
        if (row < g.m && column < g.n) store(g, row, column, sum[i][j][e]);
      }
    }
  }
}

}  // namespace

size_t int8_scratch(int64_t N, int64_t K) {
  return static_cast<size_t>(N * K) + static_cast<size_t>(N * (K / group + K / run_elements)) * sizeof(float);
}

Int8Rows round_to_int8(const Context& context, const char* name, const View& x, int64_t N, int64_t K) {
  int8_t* q = static_cast<int8_t*>(context.scratch);
  float* scale = reinterpret_cast<float*>(q + N * K);
  const Int8Rows rows{q, scale, scale + N * (K / group)};
  launch(context, name, {dim3(blocks_for(N * (K / group), few_threads / warp_size)), dim3(few_threads)}, round_kernel,
      x, rows, N * (K / group));
  return rows;
}

void gemm_int8(const Context& context, const char* name, const Int8Gemm& g, bool rowwise) {
  const bool few = g.m <= most_rows && !rowwise;
  constexpr int64_t strip = int64_t{65535} * tile_m;  // rows per launch: a grid's second dimension is limited to 65535
  with_block_rows(g.w, g.k, [&](auto w) {
    if (few) {
      launch(context, name, {dim3(blocks_for(g.n, few_threads / warp_size)), dim3(few_threads)},
          few_rows_kernel<decltype(w)>, g, w);
      return;
    }
    for (int64_t row = 0; row < g.m; row += strip) {
      Int8Gemm part = g;
      part.m = g.m - row < strip ? g.m - row : strip;
      part.x = {g.x.q + row * g.k, g.x.scale + row * (g.k / group), g.x.sum + row * (g.k / run_elements)};
      part.c.data = static_cast<char*>(g.c.data) + row * g.n * static_cast<int64_t>(dtype_bytes(g.c.type));
      launch(context, name, {dim3(blocks_for(g.n, tile_n), blocks_for(part.m, tile_m)), dim3(threads)},
          tensor_kernel<decltype(w)>, part, w);
    }
  });
}

}  // namespace cuda
}  // namespace heddle
