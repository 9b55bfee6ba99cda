// The main loop of bf16 products on the tensor cores of sm_90a, for kernels that differ in their epilogue. Blocks are
// persistent: each computes one output tile of 128 rows after another. The producer warpgroup fills a ring of stages:
// one of its threads issues TMA copies. The two consumer warpgroups multiply 64 rows each by wgmma. A stage's `full`
// barrier counts copied bytes, and its `empty` barrier counts consumer warps that have read it. After CUTLASS's
// warp-specialized persistent kernels (Thakkar et al.), "Dissecting the NVIDIA Hopper Architecture through
// Microbenchmarking" (Luo et al. 2025) and fast.cu (Shankhdhar 2024).
//
// The tiles of a stage keep the layouts of the operands, in lines of 128 bytes with the 128-byte swizzle. The tile of a
// K-major operand is (rows, 64 along k). That of an MN-major operand consists of adjacent boxes (64 along k, 64 rows).
// The matrix descriptors differ accordingly.
#pragma once
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
// A tile of 128 rows, and its ring of stages. Kernels may add a staging area for each warp.
template <int tile_n, int stages_, int a_bytes_, int b_bytes> struct Ring {
  static constexpr int m = consumers * 64, n = tile_n, stages = stages_;
  static constexpr int a_bytes = a_bytes_, stage_bytes = a_bytes + b_bytes;
  static constexpr size_t bytes = shared_bytes(stages * stage_bytes, 0);
};

// Elements along k of a stage, and bytes of a box of 64 x 64 elements.
constexpr int stage_depth = gemm_depth, box_bytes = 64 * line_bytes;
// The ring of bf16 tiles.
template <int tile_n, int stages> using BoxRing = Ring<tile_n, stages, 2 * box_bytes, tile_n / 64 * box_bytes>;

// Returns the number of output tiles of a product.
template <class T> __host__ __device__ inline int64_t tiles_of(int64_t m, int64_t n) {
  return ((m + T::m - 1) / T::m) * ((n + T::n - 1) / T::n);
}

// Returns a grid of at most one block per multiprocessor. Each block computes one tile after another.
template <class T> Grid grid_of(const Context& context, int64_t m, int64_t n) {
  const int64_t tiles = tiles_of<T>(m, n), most = properties_of(context).multiprocessors;
  return {dim3(static_cast<unsigned>(tiles < most ? tiles : most)), dim3(threads), T::bytes};
}

// The sizes of a product of (m, k) by (k, n), with `terms` terms of the right operand (Gemm::b_terms). n counts the
// columns of both factors of a gated product.
template <class T> struct Extent {
  int64_t m, n, k;
  int64_t tiles, deep;  // output tiles, and stages of one

  __device__ Extent(int64_t rows, int64_t columns, int64_t depth, int terms = 1)
      : m(rows), n(columns), k(depth), tiles(tiles_of<T>(rows, columns)),
        deep((depth + stage_depth - 1) / stage_depth * terms) {}
};

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

// Copies the stages of all tiles of the block. One thread of the producer must call it. In a gated product, a box of
// b_map or up_map has half a tile's columns. The tile holds the box of b, then that of up.
template <class T, bool a_transposed, bool b_transposed, bool gated>
__device__ inline void copy_stages(unsigned char* ring, uint64_t (&full)[T::stages], uint64_t (&empty)[T::stages],
    const CUtensorMap& a_map, const CUtensorMap& b_map, const CUtensorMap& up_map, const Extent<T>& product) {
  Position<T::stages> at;
  for (int64_t tile = blockIdx.x; tile < product.tiles; tile += gridDim.x) {
    const Place place = place_of<T>(tile, product.m, product.n);
    const int row = static_cast<int>(place.row), column = static_cast<int>(gated ? place.column / 2 : place.column);
    int a_k = 0;  // each term of b is multiplied by all elements of a
    for (int64_t d = 0; d < product.deep; ++d, at.advance()) {
      const int k = static_cast<int>(d * stage_depth);
      unsigned char *a_tile = ring + at.stage * T::stage_bytes, *b_tile = a_tile + T::a_bytes;
      // In the first round, the wait returns at once: for a new barrier, the phase of parity 1 counts as complete.
      ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);
      ptx::arrive_expecting(&full[at.stage], T::stage_bytes);
      if (a_transposed)
        for (int i = 0; i < T::m / 64; ++i)
          ptx::copy_box(a_tile + i * box_bytes, &a_map, row + 64 * i, a_k, &full[at.stage]);
      else ptx::copy_box(a_tile, &a_map, a_k, row, &full[at.stage]);
      if (b_transposed) ptx::copy_box(b_tile, &b_map, k, column, &full[at.stage]);
      else
        for (int i = 0; i < T::n / 64; ++i)
          ptx::copy_box(b_tile + i * box_bytes, &b_map, column + 64 * i, k, &full[at.stage]);
      if (gated) ptx::copy_box(b_tile + T::n / 2 * line_bytes, &up_map, k, column, &full[at.stage]);
      a_k = a_k + stage_depth < product.k ? a_k + stage_depth : 0;
    }
  }
}

// Computes the sums of one tile from its `deep` stages, beginning at `at`. All threads of the consumers must call it.
// `sum` receives a lane's accumulators of its warpgroup's 64 rows.
template <class T, bool a_transposed, bool b_transposed>
__device__ inline void multiply_stages(const unsigned char* ring, uint64_t (&full)[T::stages],
    uint64_t (&empty)[T::stages], Position<T::stages>& at, int64_t deep, float (&sum)[T::n / 2]) {
  // Bytes from the start of 16 elements along k to that of the next 16, in a tile.
  constexpr int a_step = a_transposed ? 16 * line_bytes : 32, b_step = b_transposed ? 32 : 16 * line_bytes;
  constexpr unsigned a_leading = a_transposed ? box_bytes : ptx::k_major,
                     b_leading = b_transposed ? ptx::k_major : box_bytes;
  const int consumer = threadIdx.x / warpgroup - 1, lane = threadIdx.x % warp_size;
  HEDDLE_UNROLL
  for (int r = 0; r < T::n / 2; ++r) sum[r] = 0;
  int before = -1;  // the previous stage, which unfinished products may still read
  for (int64_t d = 0; d < deep; ++d, at.advance()) {
    const unsigned char *a_tile = ring + at.stage * T::stage_bytes + consumer * box_bytes,
                        *b_tile = ring + at.stage * T::stage_bytes + T::a_bytes;
    ptx::wait_barrier(&full[at.stage], at.parity);
    ptx::fence_products();
    HEDDLE_UNROLL
    for (int k = 0; k < stage_depth / 16; ++k)
      ptx::multiply_tiles<a_transposed, !b_transposed>(sum,
          ptx::describe_tile(a_tile + k * a_step, a_leading, group_bytes),
          ptx::describe_tile(b_tile + k * b_step, b_leading, group_bytes), true);
    ptx::commit_products();
    ptx::wait_products<1>();  // the products of the previous stage are complete
    if (before >= 0 && lane == 0) ptx::arrive(&empty[before]);
    before = at.stage;
  }
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int r = 0; r < T::n / 2; ++r) ptx::pin(sum[r]);
  if (lane == 0) ptx::arrive(&empty[before]);
}
#endif

}  // namespace sm90
}  // namespace cuda
}  // namespace heddle
