// The main loop of matrix products on CUDA cores. A block computes a tile of 64 x 64. It reads tiles (tile_k, 64) of
// both operands from shared memory. Each of 256 threads computes 4 x 4 elements in registers, with 16 multiply-adds for
// 8 values from shared memory. After "How to optimize a CUDA matmul kernel" (Boehm 2022).
//
// The classes of operands differ in how they fill a tile: from float elements, from rows by index, or from quantized
// blocks.
#pragma once
#include "cuda/quant/quant.cuh"

namespace heddle {
namespace cuda {
namespace tiled {

constexpr int tile_m = 64, tile_n = 64, per_thread = 4;
constexpr int threads = (tile_m / per_thread) * (tile_n / per_thread);
// The pitch of a tile (tile_k, pitch). If an operand is K-major, adjacent threads store elements with adjacent k. The
// padding of one float puts these into different banks.
constexpr int pitch = tile_m + 1;
static_assert(tile_m == tile_n, "both operands are filled by the same code");

struct AsItIs {
  __device__ int64_t operator()(int64_t i) const { return i; }
};

// An operand of float elements. Its lines are the rows of the left operand, or the columns of the right operand. The
// operand has `lines` lines, and the block's tile begins at line0. k ends at k_end. A line is a row of x if k_major,
// otherwise a column of x. line_of and depth_of map the indices of lines and of k to indices of x.
template <class LineOf = AsItIs, class DepthOf = AsItIs> struct Elements {
  View x;
  int64_t ld;
  bool k_major;
  int64_t line0, lines, k_end;
  LineOf line_of;
  DepthOf depth_of;

  // Loads the tile of the block's lines from k0 on. Adjacent threads read adjacent elements of x. Elements beyond the
  // last line or k_end become zeros.
  template <int tile_k> __device__ void fill(float (&tile)[tile_k][pitch], int64_t k0) const {
    for (int e = threadIdx.x; e < tile_m * tile_k; e += threads) {
      const int i = k_major ? e / tile_k : e % tile_m, k = k_major ? e % tile_k : e / tile_m;
      const int64_t line = line0 + i, depth = k0 + k;
      const bool inside = line < lines && depth < k_end;
      float v = 0;
      if (inside) v = x[k_major ? line_of(line) * ld + depth_of(depth) : depth_of(depth) * ld + line_of(line)];
      tile[k][i] = v;
    }
  }
};

// An operand of quantized blocks: the rows of w from `first` on. Each thread dequantizes runs of 16 elements in
// registers.
template <class Rows> struct Blocks {
  Rows w;
  int64_t first;
  bool k_major;
  int64_t line0, lines, k_end;

  template <int tile_k> __device__ void fill(float (&tile)[tile_k][pitch], int64_t k0) const {
    static_assert(tile_k % run_elements == 0, "a tile must consist of whole runs");
    constexpr int deep = tile_k / run_elements, wide = tile_m / run_elements;
    for (int e = threadIdx.x; e < tile_m * tile_k / run_elements; e += threads) {
      const int i = k_major ? e / deep : e % wide * run_elements, k = k_major ? e % deep * run_elements : e / wide;
      const int64_t line = line0 + i, depth = k0 + k;
      Run run{};  // zeros
      if (line < lines && depth < k_end)
        run = w.run(first + (k_major ? line : depth), (k_major ? depth : line) / run_elements);
      HEDDLE_UNROLL
      for (int r = 0; r < run_elements; ++r) {
        if (k_major) tile[k + r][i] = run[r];
        else tile[k][i + r] = run[r];
      }
    }
  }
};

// Adds the products over [k_begin, k_end) of k of the thread's elements of the block's tile to `total`. All threads of
// the block must call it.
template <int tile_k, class Left, class Right>
__device__ inline void add_products(
    int64_t k_begin, int64_t k_end, const Left& left, const Right& right, float (&total)[per_thread][per_thread]) {
  HEDDLE_SHARED(float, a_tile, [tile_k][pitch]);
  HEDDLE_SHARED(float, b_tile, [tile_k][pitch]);
  const int tx = threadIdx.x % (tile_n / per_thread), ty = threadIdx.x / (tile_n / per_thread);
  // Each thread sums up the products of a tile, then adds this sum to its total. Rounding errors therefore grow with
  // tile_k plus the number of tiles, not with k.
  static_assert(tile_k >= 32, "with shorter tiles, the number of tiles would dominate the rounding errors");
  for (int64_t k0 = k_begin; k0 < k_end; k0 += tile_k) {
    float sum[per_thread][per_thread] = {};
    left.fill(a_tile, k0);
    right.fill(b_tile, k0);
    __syncthreads();
    for (int k = 0; k < tile_k; ++k) {
      float a[per_thread], b[per_thread];
      HEDDLE_UNROLL
      for (int i = 0; i < per_thread; ++i) a[i] = a_tile[k][ty * per_thread + i];
      HEDDLE_UNROLL
      for (int j = 0; j < per_thread; ++j) b[j] = b_tile[k][tx + j * (tile_n / per_thread)];
      HEDDLE_UNROLL
      for (int i = 0; i < per_thread; ++i) {
        HEDDLE_UNROLL
        for (int j = 0; j < per_thread; ++j) sum[i][j] += a[i] * b[j];
      }
    }
    HEDDLE_UNROLL
    for (int i = 0; i < per_thread; ++i) {
      HEDDLE_UNROLL
      for (int j = 0; j < per_thread; ++j) total[i][j] += sum[i][j];
    }
    __syncthreads();  // the next tiles overwrite these
  }
}

// Calls use(i, j, values) for each of the thread's elements of the block's tile. `values` has the element of each
// total. Register indices are constant, and `use` is instantiated only once.
template <int totals, class Use>
__device__ inline void each_element(const float (&total)[totals][per_thread][per_thread], const Use& use) {
  const int tx = threadIdx.x % (tile_n / per_thread), ty = threadIdx.x / (tile_n / per_thread);
  HEDDLE_ROLLED
  for (int at = 0; at < per_thread * per_thread; ++at) {
    float values[totals];
    HEDDLE_UNROLL
    for (int t = 0; t < totals; ++t) {
      HEDDLE_UNROLL
      for (int e = 0; e < per_thread * per_thread; ++e)
        if (e == 0 || e == at) values[t] = total[t][e / per_thread][e % per_thread];
    }
    use(ty * per_thread + at / per_thread, tx + at % per_thread * (tile_n / per_thread), values);
  }
}

// Computes the block's tile of the product over [k_begin, k_end) of k. Calls store(i, j, value) for each of the
// thread's elements. All threads of the block must call it.
template <int tile_k, class Left, class Right, class Store>
__device__ inline void tile_product(
    int64_t k_begin, int64_t k_end, const Left& left, const Right& right, const Store& store) {
  float total[1][per_thread][per_thread] = {};
  add_products<tile_k>(k_begin, k_end, left, right, total[0]);
  each_element(total, [&](int i, int j, const float(&values)[1]) { store(i, j, values[0]); });
}

}  // namespace tiled
}  // namespace cuda
}  // namespace heddle
