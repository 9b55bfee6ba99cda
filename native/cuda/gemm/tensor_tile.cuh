// Tiles of bf16 in shared memory for tensor cores. cp.async copies them, 16 bytes at a time, and ldmatrix reads them.
//
// A tile has its operand's layout, (rows, columns). Its rows consist of pieces of 16 bytes, which are swizzled: piece p
// of row r is stored at p ^ (r % 8). The pieces of the eight rows that one ldmatrix reads are therefore in different
// banks. Rows have at least 8 pieces.
#pragma once
#include "cuda/rows/math.cuh"

namespace heddle {
namespace cuda {

constexpr int piece = 8;  // bf16 elements in 16 bytes

// Returns the index of the first element of piece p of row r, in a tile whose rows have `pieces` pieces.
template <int pieces> __device__ inline int swizzled(int r, int p) { return (r * pieces + (p ^ (r & 7))) * piece; }

// Issues the copies of a tile: `rows` rows and `columns` columns of x, from (row0, column0) on. Elements outside
// (row_end, column_end) become zeros.
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

// Loads the fragment of the left operand: rows [row, row + 16), elements [k, k + 16) along k, of a tile (rows, k).
template <int columns> __device__ inline void load_left(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  ptx::load_matrices<false>(
      to, tile + swizzled<columns / piece>(row + matrix % 2 * 8 + lane % 8, (k + matrix / 2 * 8) / piece));
}
// As load_left, of a tile (k, rows).
template <int columns>
__device__ inline void load_left_transposed(uint32_t (&to)[4], const uint16_t* tile, int row, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  ptx::load_matrices<true>(
      to, tile + swizzled<columns / piece>(k + matrix / 2 * 8 + lane % 8, (row + matrix % 2 * 8) / piece));
}
// Loads two fragments of the right operand: columns [n, n + 8) and [n + 8, n + 16), elements [k, k + 16) along k, of a
// tile (columns, k).
template <int columns>
__device__ inline void load_right(uint32_t (&first)[2], uint32_t (&second)[2], const uint16_t* tile, int n, int k) {
  const int lane = threadIdx.x % warp_size, matrix = lane / 8;
  uint32_t two[4];
  ptx::load_matrices<false>(
      two, tile + swizzled<columns / piece>(n + matrix / 2 * 8 + lane % 8, (k + matrix % 2 * 8) / piece));
  first[0] = two[0], first[1] = two[1], second[0] = two[2], second[1] = two[3];
}
// As load_right, of a tile (k, columns).
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

// Rounds the accumulators of two adjacent fragments, 16 columns, to a fragment of the left operand of a product over
// those columns. Each lane already holds the elements that it needs.
__device__ inline void as_left(uint32_t (&to)[4], const float (&first)[4], const float (&second)[4]) {
  to[0] = pack_bf16(first[0], first[1]), to[1] = pack_bf16(first[2], first[3]);
  to[2] = pack_bf16(second[0], second[1]), to[3] = pack_bf16(second[2], second[3]);
}

}  // namespace cuda
}  // namespace heddle
