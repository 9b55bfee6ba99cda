// Tiles of bf16 in shared memory for mma.sync. cp.async fills them, 16 bytes at a time, and ldmatrix reads them.
//
// A tile has the layout of its operand, (rows, columns). Its rows consist of pieces of 16 bytes, which are swizzled:
// piece p of row r is stored as piece p ^ (r % 8). ldmatrix reads the same piece of eight rows at a time, and the
// swizzle puts these into different banks. Rows have at least 8 pieces.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

constexpr int piece = 8;  // bf16 elements in 16 bytes

// Returns the index of the first element of piece p of row r, in a tile with `pieces` pieces per row.
template <int pieces> __device__ inline int swizzled(int r, int p) { return (r * pieces + (p ^ (r & 7))) * piece; }

// Starts the copies of a tile (rows, columns) of x from (row0, column0) on. Rows from row_end on and columns from
// column_end on become zeros.
template <int rows, int columns, int threads>
__device__ inline void copy_tile(
    uint16_t* tile, const uint16_t* x, int64_t ld, int64_t row0, int64_t column0, int64_t row_end, int64_t column_end) {
  constexpr int pieces = columns / piece;
  for (int e = threadIdx.x; e < rows * pieces; e += threads) {
    const int r = e / pieces, p = e % pieces;
    const int64_t row = row0 + r, column = column0 + p * piece, left = column_end - column;
    const int valid = row < row_end && left > 0 ? (left < piece ? static_cast<int>(left) : piece) : 0;
    ptx::copy_async_16(tile + swizzled<pieces>(r, p), valid ? x + row * ld + column : x, valid * 2);
  }
}

// Loads a fragment of the left operand (mma.sync's a) from a tile (rows, k): rows [row, row + 16), and 16 elements
// along k from `k` on.
template <int columns> __device__ inline void load_left(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  ptx::load_matrices<false>(
      to, tile + swizzled<columns / piece>(row + matrix % 2 * 8 + lane % 8, (k + matrix / 2 * 8) / piece));
}
// Like load_left, from a tile (k, rows).
template <int columns>
__device__ inline void load_left_transposed(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  ptx::load_matrices<true>(
      to, tile + swizzled<columns / piece>(k + matrix / 2 * 8 + lane % 8, (row + matrix % 2 * 8) / piece));
}
// Loads two fragments of the right operand (mma.sync's b) from a tile (columns, k): columns [n, n + 8) and [n + 8, n +
// 16), and 16 elements along k from `k` on.
template <int columns>
__device__ inline void load_right(uint32_t (&first)[2], uint32_t (&second)[2], const uint16_t* tile, int n, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  uint32_t two[4];
  ptx::load_matrices<false>(
      two, tile + swizzled<columns / piece>(n + matrix / 2 * 8 + lane % 8, (k + matrix % 2 * 8) / piece));
  first[0] = two[0], first[1] = two[1], second[0] = two[2], second[1] = two[3];
}
// Like load_right, from a tile (k, columns).
template <int columns>
__device__ inline void load_right_transposed(
    uint32_t (&first)[2], uint32_t (&second)[2], const uint16_t* tile, int n, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  uint32_t two[4];
  ptx::load_matrices<true>(
      two, tile + swizzled<columns / piece>(k + matrix % 2 * 8 + lane % 8, (n + matrix / 2 * 8) / piece));
  first[0] = two[0], first[1] = two[1], second[0] = two[2], second[1] = two[3];
}

using ptx::pack_bf16;

// Rounds two adjacent accumulator fragments, which have 16 columns, to one fragment of a left operand whose k are these
// columns. In both layouts, a lane holds the same elements.
__device__ inline void as_left(uint32_t (&to)[4], const float (&first)[4], const float (&second)[4]) {
  to[0] = pack_bf16(first[0], first[1]), to[1] = pack_bf16(first[2], first[3]);
  to[2] = pack_bf16(second[0], second[1]), to[3] = pack_bf16(second[2], second[3]);
}

}  // namespace cuda
}  // namespace heddle
