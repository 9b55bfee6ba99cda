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
//
// Two blocks may form a cluster. Their tiles have the same columns, so they share the tile of b. Each block copies half
// of it to both, and its own tile of a. For tiles of 128 x 256, they read a third less from the L2 cache. A stage is
// filled again when the consumers of both blocks have read it. A block without a tile takes part nevertheless.
#pragma once
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/ptx/ptx_bulk.cuh"
#include "cuda/ptx/ptx_cluster.cuh"
#include "cuda/runtime/tensor_map.h"

namespace heddle {
namespace cuda {
namespace sm90 {

// consumers: warpgroups that multiply 64 rows each. The first warpgroup of a block is the producer, which copies.
constexpr int consumers = 2, threads = (1 + consumers) * warpgroup;
// Registers per thread of the producer and of the consumers, set by setmaxnreg.
constexpr int producer_registers = 40, consumer_registers = 232;
static_assert(ptx::registers_fit<threads>(producer_registers + consumers * consumer_registers),
    "setmaxnreg must not distribute more than 168 registers per thread of a block");

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
  static constexpr bool pairs = false;
};
// A ring for clusters of one or two blocks. The tile of b consists of two halves, which are separate boxes.
template <class T> struct Paired : T {
  static constexpr bool pairs = true;
};

// Elements along k of a stage, and bytes of a box of 64 x 64 elements.
constexpr int stage_depth = gemm_depth, box_bytes = 64 * line_bytes;
// The ring of bf16 tiles.
template <int tile_n, int stages> using BoxRing = Ring<tile_n, stages, 2 * box_bytes, tile_n / 64 * box_bytes>;

// Returns the number of output tiles of a product, in clusters of this many blocks. The tiles that the blocks of a
// cluster compute together count as one.
template <class T> __host__ __device__ inline int64_t tiles_of(int64_t m, int64_t n, int cluster = 1) {
  const int64_t height = cluster * T::m;
  return ((m + height - 1) / height) * ((n + T::n - 1) / T::n);
}

// Returns a grid of at most one block per multiprocessor. Each block computes one tile after another. With split-k,
// each part has its own tiles.
template <class T> Grid grid_of(const Context& context, int64_t m, int64_t n, int cluster = 1, int parts = 1) {
  const int64_t tiles = tiles_of<T>(m, n, cluster) * parts, most = properties_of(context).multiprocessors / cluster,
                clusters = tiles < most ? tiles : most;
  return {dim3(static_cast<unsigned>(clusters * cluster)), dim3(threads), T::bytes, static_cast<unsigned>(cluster)};
}

// The sizes of a product of (m, k) by (k, n), with `terms` terms of the right operand (Gemm::b_terms). For a gated
// product, n includes the columns of both factors. A cluster has `cluster` blocks. With split-k, a tile is computed
// once for each part of k, and the tiles of a part follow those of the part before it. Products of several terms are
// not split.
template <class T> struct Extent {
  int64_t m, n, k;
  int64_t tiles, deep;       // output tiles (of a cluster) of all parts, and stages of all parts
  int64_t of_part, in_part;  // tiles of a part, and its stages: the last part may have fewer
  int cluster;

  // part: elements along k of a part, a multiple of stage_depth. 0: all of k
  __device__ Extent(int64_t rows, int64_t columns, int64_t depth, int terms = 1, int blocks = 1, int64_t part = 0)
      : m(rows), n(columns), k(depth), tiles(tiles_of<T>(rows, columns, blocks)),
        deep((depth + stage_depth - 1) / stage_depth * terms), of_part(tiles), in_part(deep), cluster(blocks) {
    if (part == 0) return;
    in_part = part / stage_depth;
    tiles *= (deep + in_part - 1) / in_part;
  }
  // The block's first tile, and the distance to its next one.
  __device__ int64_t first() const { return blockIdx.x / static_cast<unsigned>(cluster); }
  __device__ int64_t step() const { return gridDim.x / static_cast<unsigned>(cluster); }
  __device__ Place place(int64_t tile) const { return place_of<T>(tile % of_part, m, n, cluster); }
  // The part of a tile, its first stage, and the stage after its last.
  __device__ int64_t part(int64_t tile) const { return tile / of_part; }
  __device__ int64_t begin(int64_t tile) const { return part(tile) * in_part; }
  __device__ int64_t end(int64_t tile) const {
    const int64_t after = begin(tile) + in_part;
    return after < deep ? after : deep;
  }
};

#if HEDDLE_SM90A
// Returns the first address in dynamic shared memory that is aligned to group_bytes.
__device__ inline unsigned char* ring_in(unsigned char* memory) {
  return memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes;
}

// Initializes the ring's barriers. A phase of `full` has one arrival, of the thread that issues the copies. A phase of
// `empty` has one arrival from each consumer warp of the cluster. All threads must call this function.
template <bool pairs = false, int stages>
__device__ inline void begin_ring(uint64_t (&full)[stages], uint64_t (&empty)[stages], int cluster = 1) {
  if (threadIdx.x == 0) {
    for (int s = 0; s < stages; ++s) {
      ptx::init_barrier(&full[s], 1);
      ptx::init_barrier(&empty[s], cluster * consumers * warpgroup / warp_size);
    }
    ptx::fence_async();
  }
  if (pairs) ptx::sync_cluster();
  else __syncthreads();
}

// Copies the stages of all tiles of the block. One thread of the producer must call it. In a gated product, a box of
// b_map or up_map has half a tile's columns. The tile holds the box of b, then that of up. With T::pairs, a box of a
// K-major b has half a tile's columns too.
template <class T, bool a_transposed, bool b_transposed, bool gated>
__device__ inline void copy_stages(unsigned char* ring, uint64_t (&full)[T::stages], uint64_t (&empty)[T::stages],
    const CUtensorMap& a_map, const CUtensorMap& b_map, const CUtensorMap& up_map, const Extent<T>& product) {
  constexpr int halves = T::pairs || gated ? 2 : 1;  // of the tile of b
  const int rank = T::pairs ? static_cast<int>(blockIdx.x) % product.cluster : 0;
  Position<T::stages> at;
  // Copies a box of b to each block of the cluster.
  const auto share = [&](unsigned char* to, const CUtensorMap& map, int x, int y) {
    if (T::pairs && product.cluster == 2) ptx::copy_box_to(to, &map, x, y, &full[at.stage], 3);
    else ptx::copy_box(to, &map, x, y, &full[at.stage]);
  };
  for (int64_t tile = product.first(); tile < product.tiles; tile += product.step()) {
    const Place place = product.place(tile);
    const int row = static_cast<int>(place.row), column = static_cast<int>(gated ? place.column / 2 : place.column);
    // The gradient of a weight (a_transposed) may be split along k. Otherwise, each term of b is multiplied by all
    // elements of a.
    const int64_t begin = a_transposed ? product.begin(tile) : 0, end = a_transposed ? product.end(tile) : product.deep;
    int a_k = static_cast<int>(begin * stage_depth);
    for (int64_t d = begin; d < end; ++d, at.advance()) {
      const int k = static_cast<int>(d * stage_depth);
      unsigned char *a_tile = ring + at.stage * T::stage_bytes, *b_tile = a_tile + T::a_bytes;
      // In the first round, the wait returns at once: for a new barrier, the phase of parity 1 counts as complete.
      ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);
      ptx::arrive_expecting(&full[at.stage], T::stage_bytes);
      if (a_transposed)
        for (int i = 0; i < T::m / 64; ++i)
          ptx::copy_box(a_tile + i * box_bytes, &a_map, row + 64 * i, a_k, &full[at.stage]);
      else ptx::copy_box(a_tile, &a_map, a_k, row, &full[at.stage]);
      for (int half = rank; half < halves; half += T::pairs ? product.cluster : 1) {
        const int first = half * T::n / halves;
        if (gated) share(b_tile + first * line_bytes, half == 0 ? b_map : up_map, k, column);
        else if (b_transposed) share(b_tile + first * line_bytes, b_map, k, column + first);
        else
          for (int i = first / 64; i < (first + T::n / halves) / 64; ++i)
            share(b_tile + i * box_bytes, b_map, column + 64 * i, k);
      }
      a_k = a_k + stage_depth < product.k ? a_k + stage_depth : 0;
    }
  }
  // A block may end only after the other block's last arrival at this block's barriers. By then, the consumers of both
  // blocks have read all stages. An unused stage counts as read.
  if (T::pairs)
    for (int s = 0; s < T::stages; ++s, at.advance()) ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);
}

// Computes the sums of one tile from its `deep` stages, beginning at `at`. All threads of the consumers must call it.
// `sum` receives a lane's accumulators of its warpgroup's 64 rows. `cluster`: see Extent.
template <class T, bool a_transposed, bool b_transposed>
__device__ inline void multiply_stages(const unsigned char* ring, uint64_t (&full)[T::stages],
    uint64_t (&empty)[T::stages], Position<T::stages>& at, int64_t deep, float (&sum)[T::n / 2], int cluster = 1) {
  // Bytes from the start of 16 elements along k to that of the next 16, in a tile.
  constexpr int a_step = a_transposed ? 16 * line_bytes : 32, b_step = b_transposed ? 32 : 16 * line_bytes;
  constexpr unsigned a_leading = a_transposed ? box_bytes : ptx::k_major,
                     b_leading = b_transposed ? ptx::k_major : box_bytes;
  const int consumer = threadIdx.x / warpgroup - 1, lane = threadIdx.x % warp_size;
  HEDDLE_UNROLL
  for (int r = 0; r < T::n / 2; ++r) sum[r] = 0;
  // The warp has read a stage. The producers of both blocks wait for that, because each fills a part of it.
  const auto release = [&](int stage) {
    if (T::pairs && lane < cluster) ptx::arrive_at(&empty[stage], static_cast<unsigned>(lane));
    if (!T::pairs && lane == 0) ptx::arrive(&empty[stage]);
  };
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
    if (before >= 0) release(before);
    before = at.stage;
  }
  ptx::wait_products<0>();
  HEDDLE_UNROLL
  for (int r = 0; r < T::n / 2; ++r) ptx::pin(sum[r]);
  release(before);
}
#endif

}  // namespace sm90
}  // namespace cuda
}  // namespace heddle
