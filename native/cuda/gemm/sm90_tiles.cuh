// Shared by the kernels of sm_90a: the order of output tiles, and positions in a ring of stages.
#pragma once
#include "cuda/rows/math.cuh"
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {

constexpr int line_bytes = 128, group_bytes = 8 * line_bytes;  // the 128-byte swizzle repeats after group_bytes
constexpr int warpgroup = 128;                                 // threads

// The first row and column of an output tile. Tiles are ordered in strips of eight rows of tiles, so that tiles that
// run at the same time share operands in L2.
struct Place {
  int64_t row, column;
};
template <class T> __device__ inline Place place_of(int64_t tile, int64_t m, int64_t n) {
  constexpr int64_t strip = 8;
  const int64_t tiles_m = (m + T::m - 1) / T::m, tiles_n = (n + T::n - 1) / T::n,
                first = tile / (strip * tiles_n) * strip;
  const int64_t rows = tiles_m - first < strip ? tiles_m - first : strip, within = tile % (strip * tiles_n);
  return {(first + within % rows) * T::m, within / rows * T::n};
}

// A position in the ring, and the parity of the current phase of its barriers.
template <int stages> struct Position {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

}  // namespace cuda
}  // namespace heddle
