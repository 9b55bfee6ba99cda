// Shared by the products of sm_90a, in addition to sm90_tiles.cuh: producer and consumers, the ring between them, the
// end of a tile.
#pragma once
#include "cuda/gemm/gemm_end.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/runtime/tensor_map.h"

namespace heddle {
namespace cuda {
namespace sm90 {

// warpgroups that multiply, 64 rows each, in addition to one that copies
constexpr int consumers = 2, threads = (1 + consumers) * warpgroup;
constexpr int waiting_bytes = consumers * warpgroup / warp_size * end_floats * static_cast<int>(sizeof(float));

// Tiles of 128 rows in a ring of stages, after which sums wait to be stored.
template <int tile_n, int stages_, int a_bytes_, int b_bytes> struct RingTile {
  static constexpr int m = consumers * 64, n = tile_n, stages = stages_;
  static constexpr int a_bytes = a_bytes_, stage_bytes = a_bytes + b_bytes;
  // the beginning is rounded up
  static constexpr size_t bytes = static_cast<size_t>(stages) * stage_bytes + waiting_bytes + group_bytes;
};
template <class T> __host__ __device__ inline int64_t tiles_of(int64_t m, int64_t n) {
  return ((m + T::m - 1) / T::m) * ((n + T::n - 1) / T::n);
}

// As many blocks as multiprocessors: each makes one tile after another.
template <class T> Grid grid_of(const Context& context, int64_t m, int64_t n) {
  const int64_t tiles = tiles_of<T>(m, n), most = properties_of(context).multiprocessors;
  return {dim3(static_cast<unsigned>(tiles < most ? tiles : most)), dim3(threads), T::bytes};
}

#if HEDDLE_SM90A
__device__ inline unsigned char* ring_in(unsigned char* memory) {
  return memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes;
}

// Makes the ring's barriers ready: `full` for one that asks for copies, `empty` for every warp that multiplies. All
// threads call it.
template <int stages> __device__ inline void begin_ring(uint64_t (&full)[stages], uint64_t (&empty)[stages]) {
  if (threadIdx.x == 0) {
    for (int s = 0; s < stages; ++s) {
      ptx::init_barrier(&full[s], 1);
      ptx::init_barrier(&empty[s], consumers * warpgroup / warp_size);
    }
    ptx::fence_async();
  }
  __syncthreads();
}

// Ends a warp's 16 rows from `row0`, from column `column0` on, given its registers of a warpgroup's sums. In a gated
// product the first half of the columns belongs to one factor, the second half to the other.
template <bool gated, int registers>
__device__ inline void end_sums(
    const Gemm& g, float* own, int64_t row0, int64_t column0, const float (&sum)[registers]) {
  HEDDLE_ROLLED
  for (int c = 0; c < registers / 16; ++c) {
    HEDDLE_UNROLL
    for (int r = 0; r < registers / 16; ++r) {
      if (r != c) continue;  // the index of registers is a constant, the code of the end is there once
      HEDDLE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int f = 4 * (gated ? j < 2 ? 2 * r + j : registers / 8 + 2 * r + j - 2 : 4 * r + j);
        put_fragment(own, j, sum[f], sum[f + 1], sum[f + 2], sum[f + 3]);
      }
    }
    end_fragments<gated>(g, own, row0, column0 + c * (gated ? end_columns / 2 : end_columns));
  }
}
#endif

}  // namespace sm90
}  // namespace cuda
}  // namespace heddle
