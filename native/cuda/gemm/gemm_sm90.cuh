// Shared by the matrix products of sm_90a: the epilogue of a tile, and its staging areas in shared memory.
#pragma once
#include "cuda/gemm/gemm_end.cuh"
#include "cuda/gemm/gemm_sm90_loop.cuh"

namespace heddle {
namespace cuda {
namespace sm90 {

// A tile of 128 rows: the ring of stages, and the staging area of a warp for the epilogue.
template <int tile_n, int stages_, int a_bytes_, int b_bytes>
struct RingTile : Ring<tile_n, stages_, a_bytes_, b_bytes> {
  using Of = Ring<tile_n, stages_, a_bytes_, b_bytes>;
  static constexpr int staged_bytes = staged_floats * static_cast<int>(sizeof(float));
  static constexpr size_t bytes = shared_bytes(Of::stages * Of::stage_bytes, staged_bytes);
  static constexpr bool stores_boxes = false;
};

// TMA stores a bf16 result in boxes of 64 columns. A box has the 16 rows of a warp.
constexpr int stored_rows = 16, stored_columns = line_bytes / 2, stored_bytes = stored_rows * line_bytes;
// A tile of a result that TMA stores. The staging area of a warp holds the boxes of all its rows. The warp can thus
// multiply its next tile while TMA reads them.
template <class T> struct StoredTile : T {
  static constexpr int staged_bytes = T::n / stored_columns * stored_bytes;
  static constexpr size_t bytes = shared_bytes(T::stages * T::stage_bytes, staged_bytes);
  static constexpr bool stores_boxes = true;
};

#if HEDDLE_SM90A
// Applies the epilogue to a warp's 16 rows of a tile. The first element is (row0, column0). `sum` holds the lane's
// accumulators. In a gated product, the first half of the tile's columns belongs to a b, and the second half to a up.
// stores: only_stores(g) is true for every product of the kernel.
template <bool gated, bool stores = false, int registers>
__device__ inline void epilogue_sums(
    const Gemm& g, float* own, int64_t row0, int64_t column0, const float (&sum)[registers]) {
  const bool plain = stores || only_stores<gated>(g);
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

// Adds the bias to a lane's accumulators of a tile whose first column is column0. The matrix has n columns, a multiple
// of 8. So a fragment of 8 columns lies either inside or outside the matrix.
template <int registers>
__device__ inline void add_bias(const View& bias, int64_t n, int64_t column0, float (&sum)[registers]) {
  const auto add = [&](auto element) {
    HEDDLE_UNROLL
    for (int i = 0; i < registers / 4; ++i) {
      const int64_t column = column0 + 8 * i + threadIdx.x % 4 * 2;
      const bool inside = column < n;
      const float low = inside ? element(column) : 0.0f, high = inside ? element(column + 1) : 0.0f;
      sum[4 * i] += low, sum[4 * i + 1] += high, sum[4 * i + 2] += low, sum[4 * i + 3] += high;
    }
  };
  if (bias.type == DType::f32) add([&](int64_t column) { return static_cast<const float*>(bias.data)[column]; });
  else add([&](int64_t column) { return bias[column]; });
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
