// Shared by the matrix products of sm_90a: the roles of warpgroups, the ring between them, and the epilogue of a tile.
#pragma once
#include "cuda/gemm/gemm_end.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/ptx/ptx_bulk.cuh"
#include "cuda/runtime/tensor_map.h"

namespace heddle {
namespace cuda {
namespace sm90 {

// consumers: warpgroups that multiply 64 rows each. The first warpgroup of a block is the producer, which copies.
constexpr int consumers = 2, threads = (1 + consumers) * warpgroup;

// Returns the dynamic shared memory of a block: its ring, then the staging areas of its multiplying warps. The last
// group_bytes are for the alignment of the first stage.
constexpr size_t shared_bytes(int ring_bytes, int staged_bytes) {
  return static_cast<size_t>(ring_bytes + consumers * warpgroup / warp_size * staged_bytes + group_bytes);
}
// A tile of 128 rows: the ring of stages, and the staging area of a warp for the epilogue.
template <int tile_n, int stages_, int a_bytes_, int b_bytes> struct RingTile {
  static constexpr int m = consumers * 64, n = tile_n, stages = stages_;
  static constexpr int a_bytes = a_bytes_, stage_bytes = a_bytes + b_bytes;
  static constexpr int staged_bytes = staged_floats * static_cast<int>(sizeof(float));
  static constexpr size_t bytes = shared_bytes(stages * stage_bytes, staged_bytes);
  static constexpr bool stores_boxes = false;
};

// TMA stores a result in bf16 by boxes of 64 columns. A box has the 16 rows of a warp.
constexpr int stored_rows = 16, stored_columns = line_bytes / 2, stored_bytes = stored_rows * line_bytes;
// A tile of a result that TMA stores. The staging area of a warp holds the boxes of all its rows. The warp can thus
// multiply its next tile while TMA reads them.
template <class Ring> struct StoredTile : Ring {
  static constexpr int staged_bytes = Ring::n / stored_columns * stored_bytes;
  static constexpr size_t bytes = shared_bytes(Ring::stages * Ring::stage_bytes, staged_bytes);
  static constexpr bool stores_boxes = true;
};
// Returns the number of output tiles of a product.
template <class T> __host__ __device__ inline int64_t tiles_of(int64_t m, int64_t n) {
  return ((m + T::m - 1) / T::m) * ((n + T::n - 1) / T::n);
}

// Returns a grid of at most one block per multiprocessor. Each block computes one tile after another.
template <class T> Grid grid_of(const Context& context, int64_t m, int64_t n) {
  const int64_t tiles = tiles_of<T>(m, n), most = properties_of(context).multiprocessors;
  return {dim3(static_cast<unsigned>(tiles < most ? tiles : most)), dim3(threads), T::bytes};
}

#if HEDDLE_SM90A
// Returns the first address in dynamic shared memory that is aligned to group_bytes.
__device__ inline unsigned char* ring_in(unsigned char* memory) {
  return memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes;
}

// Initializes the ring's barriers. A phase of `full` has one arrival, of the thread that issues the copies. A phase of
// `empty` has one arrival from each consumer warp. All threads must call this function.
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

// Applies the epilogue to a warp's 16 rows of a tile. The first element is (row0, column0). `sum` holds the lane's
// accumulators. In a gated product, the first half of the tile's columns belongs to a b, and the second half to a up.
template <bool gated, int registers>
__device__ inline void epilogue_sums(
    const Gemm& g, float* own, int64_t row0, int64_t column0, const float (&sum)[registers]) {
  const bool plain = only_stores<gated>(g);
  HEDDLE_ROLLED
  for (int c = 0; c < registers / 16; ++c) {
    HEDDLE_UNROLL
    for (int r = 0; r < registers / 16; ++r) {
      if (r != c) continue;  // register indices are constant, and the epilogue is instantiated only once
      HEDDLE_UNROLL
      for (int j = 0; j < 4; ++j) {
        // The first register of the j-th fragment to stage. Registers 4 i to 4 i + 3 have columns 8 i to 8 i + 7. A
        // gated product stages two fragments of the first half, then the same two of the second half.
        const int f = 4 * (gated ? j < 2 ? 2 * r + j : registers / 8 + 2 * r + j - 2 : 4 * r + j);
        stage_fragment(own, j, sum[f], sum[f + 1], sum[f + 2], sum[f + 3]);
      }
    }
    epilogue_fragments<gated>(g, plain, own, row0, column0 + c * (gated ? staged_columns / 2 : staged_columns));
  }
}

// Rounds a warp's 16 rows of a tile to bf16, and starts to store them at (row0, column0) of the matrix of `map`. `own`
// is the staging area of the warp. Its boxes have the 128-byte swizzle. The lanes of a warp thus write to 32 different
// banks. end_stores must follow the last tile.
template <int registers>
__device__ inline void store_sums(
    const void* map, unsigned char* own, int row0, int column0, const float (&sum)[registers]) {
  const int lane = threadIdx.x % warp_size, row = lane / 4;
  if (lane == 0) ptx::wait_writes_read();
  __syncwarp();  // TMA has read the previous tile's boxes, so the next ones can be staged
  HEDDLE_UNROLL
  for (int i = 0; i < registers / 4; ++i) {  // fragments of 16 rows and 8 columns: a piece of 16 bytes in each row
    unsigned char* to = own + i / 8 * stored_bytes + row * line_bytes + (i % 8 ^ row) * 16 + lane % 4 * 4;
    *reinterpret_cast<uint32_t*>(to) = ptx::pack_bf16(sum[4 * i], sum[4 * i + 1]);
    *reinterpret_cast<uint32_t*>(to + 8 * line_bytes) = ptx::pack_bf16(sum[4 * i + 2], sum[4 * i + 3]);
  }
  ptx::fence_async();
  __syncwarp();  // the boxes of all lanes are staged
  if (lane != 0) return;
  HEDDLE_UNROLL
  for (int b = 0; b < registers * 2 / stored_columns; ++b)
    ptx::store_box(map, column0 + b * stored_columns, row0, own + b * stored_bytes);
  ptx::commit_writes();
}
// Waits until the boxes of a warp's last tile have been read. The block's shared memory must exist until then.
__device__ inline void end_stores() {
  if (threadIdx.x % warp_size == 0) ptx::wait_writes_read();
}
#endif

}  // namespace sm90
}  // namespace cuda
}  // namespace heddle
