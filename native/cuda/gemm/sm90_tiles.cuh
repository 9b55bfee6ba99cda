// Shared by the kernels of sm_90a: sizes, the order of output tiles, and positions in a ring of stages.
#pragma once
#include "cuda/rows/math.cuh"
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {

// The 128-byte swizzle permutes the 16-byte pieces of a line. Its pattern repeats after group_bytes.
constexpr int line_bytes = 128, group_bytes = 8 * line_bytes;
constexpr int line_pieces = line_bytes / 16;  // pieces of 16 bytes
constexpr int warpgroup = 128;                // threads
// Returns the offset of piece p of line r in a box with this swizzle.
__device__ inline int offset_in_box(int r, int p) { return r * line_bytes + (p ^ r % line_pieces) * 16; }

// The first row and column of an output tile. Tiles are numbered strip by strip. A strip is eight rows of tiles,
// numbered column by column. Tiles that run at the same time then share operands in the L2 cache. Each block of a
// cluster computes its own tile under the same number. These tiles are one below the other, and may lie after the last
// row.
struct Place {
  int64_t row, column;
};
template <class T> __device__ inline Place place_of(int64_t tile, int64_t m, int64_t n, int cluster = 1) {
  const int64_t strip = 8 / cluster, height = cluster * T::m;
  const int64_t tiles_m = (m + height - 1) / height, tiles_n = (n + T::n - 1) / T::n,
                first = tile / (strip * tiles_n) * strip;
  const int64_t rows = tiles_m - first < strip ? tiles_m - first : strip, within = tile % (strip * tiles_n);
  return {(first + within % rows) * height + blockIdx.x % static_cast<unsigned>(cluster) * T::m, within / rows * T::n};
}

// A stage of the ring, and the parity that the phases of its barriers have in the current round. Consumers wait for
// `full` with this parity, the producer for `empty` with the other parity.
template <int stages> struct Position {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

}  // namespace cuda
}  // namespace heddle
