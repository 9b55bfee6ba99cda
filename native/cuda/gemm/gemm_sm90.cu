// The bf16 matrix product on the tensor cores of sm_90a. Blocks are persistent: each computes one output tile of 128
// rows after another. The producer warpgroup fills a ring of stages: one of its threads issues TMA copies. The two
// consumer warpgroups multiply 64 rows each by wgmma. A stage's `full` barrier counts copied bytes, and its `empty`
// barrier counts consumer warps that have read it. After CUTLASS's warp-specialized persistent kernels (Thakkar et
// al.), "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking" (Luo et al. 2025) and fast.cu (Shankhdhar
// 2024).
//
// If the epilogue only rounds the sums to bf16, a warp stages its rows of the tile and starts TMA stores. It multiplies
// the next tile while they run. All other epilogues are computed before the next tile's products.
//
// The tiles of a stage keep the layouts of the operands, in lines of 128 bytes with the 128-byte swizzle. The tile of a
// K-major operand is (rows, 64 along k). That of an MN-major operand consists of adjacent boxes (64 along k, 64 rows).
// The matrix descriptors differ accordingly.
#include "cuda/gemm/gemm_sm90.cuh"

namespace heddle {
namespace cuda {
namespace {

using namespace sm90;

constexpr int depth = gemm_depth;
constexpr int box_bytes = 64 * line_bytes;  // a box has 64 x 64 elements

template <int tile_n, int stages> using Boxes = RingTile<tile_n, stages, 2 * box_bytes, tile_n / 64 * box_bytes>;
using WideTile = Boxes<256, 4>;
using HalfTile = Boxes<128, 6>;
// The staged results take 64 and 32 KB, so the wide tile has one stage less.
using StoredWideTile = StoredTile<Boxes<256, 3>>;
using StoredHalfTile = StoredTile<Boxes<128, 6>>;
// A block has at most 227 KB of shared memory, of which 128 bytes are for barriers.
static_assert(StoredWideTile::bytes <= (227 << 10) - 128 && StoredHalfTile::bytes <= (227 << 10) - 128,
    "blocks fit into a multiprocessor");

// In a gated product, a box of b_map or up_map has half a tile's columns. The tile holds the box of b, then that of up.
template <class T, bool a_transposed, bool b_transposed, bool gated>
__global__ void __launch_bounds__(threads, 1) tensor_warpgroup_kernel(PreviousKernel previous,
    const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
    const __grid_constant__ CUtensorMap up_map, const __grid_constant__ CUtensorMap c_map, Gemm g) {
#if HEDDLE_SM90A
  static_assert(!gated || b_transposed, "a gated product needs b and up stored as (n, k)");
  static_assert(!gated || !T::stores_boxes, "the epilogue of a gated product does more than store");
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [T::stages]);
  HEDDLE_SHARED(uint64_t, empty, [T::stages]);
  unsigned char* ring = ring_in(memory);
  const int64_t columns = gated ? 2 * g.n : g.n, tiles = tiles_of<T>(g.m, columns),
                deep = (g.k + depth - 1) / depth * g.b_terms;
  Position<T::stages> at;

  if (threadIdx.x == 0) {
    ptx::prefetch_map(&a_map);
    ptx::prefetch_map(&b_map);
    if (gated) ptx::prefetch_map(&up_map);
    if (T::stores_boxes) ptx::prefetch_map(&c_map);
  }
  begin_ring(full, empty);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<40>();
    if (threadIdx.x != 0) return;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place place = place_of<T>(tile, g.m, columns);
      const int row = static_cast<int>(place.row), column = static_cast<int>(gated ? place.column / 2 : place.column);
      int a_k = 0;  // each term of b is multiplied by all elements of a
      for (int64_t d = 0; d < deep; ++d, at.advance()) {
        const int k = static_cast<int>(d * depth);
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
        a_k = a_k + depth < g.k ? a_k + depth : 0;
      }
    }
    return;
  }

  ptx::take_registers<232>();
  const int consumer = threadIdx.x / warpgroup - 1, lane = threadIdx.x % warp_size,
            warp = threadIdx.x % warpgroup / warp_size;
  unsigned char* own = ring + T::stages * T::stage_bytes + (consumer * 4 + warp) * T::staged_bytes;
  // Bytes from the start of 16 elements along k to that of the next 16, in a tile.
  constexpr int a_step = a_transposed ? 16 * line_bytes : 32, b_step = b_transposed ? 32 : 16 * line_bytes;
  constexpr unsigned a_leading = a_transposed ? box_bytes : ptx::k_major,
                     b_leading = b_transposed ? ptx::k_major : box_bytes;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float sum[T::n / 2];
    HEDDLE_UNROLL
    for (int r = 0; r < T::n / 2; ++r) sum[r] = 0;
    int before = -1;  // the previous stage, which unfinished products may still read
    for (int64_t d = 0; d < deep; ++d, at.advance()) {
      const unsigned char *a_tile = ring + at.stage * T::stage_bytes + consumer * box_bytes,
                          *b_tile = ring + at.stage * T::stage_bytes + T::a_bytes;
      ptx::wait_barrier(&full[at.stage], at.parity);
      ptx::fence_products();
      HEDDLE_UNROLL
      for (int k = 0; k < depth / 16; ++k)
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
    const Place place = place_of<T>(tile, g.m, columns);
    const int64_t row0 = place.row + consumer * 64 + warp * 16;
    if constexpr (T::stores_boxes) store_sums(&c_map, own, static_cast<int>(row0), static_cast<int>(place.column), sum);
    else epilogue_sums<gated>(g, reinterpret_cast<float*>(own), row0, gated ? place.column / 2 : place.column, sum);
  }
  if constexpr (T::stores_boxes) end_stores();
#endif
}

template <class T> void run(const Context& context, const char* name, const Gemm& g) {
  const Grid grid = grid_of<T>(context, g.m, g.gated() ? 2 * g.n : g.n);
  const CUtensorMap a =
      g.a_transposed ? map_of_matrix(g.a.data, g.k, g.m, g.lda, depth) : map_of_matrix(g.a.data, g.m, g.k, g.lda, T::m);
  const auto right = [&](const View& b) {
    return g.b_transposed ? map_of_matrix(b.data, g.n, g.b_depth(), g.ldb, g.gated() ? T::n / 2 : T::n)
                          : map_of_matrix(b.data, g.b_depth(), g.n, g.ldb, depth);
  };
  const CUtensorMap b = right(g.b), c = T::stores_boxes ? map_of_matrix(g.c.data, g.m, g.n, g.ldc, stored_rows) : b;
  if constexpr (!T::stores_boxes) {
    if (g.gated())
      return launch(
          context, name, grid, tensor_warpgroup_kernel<T, false, true, true>, a, b, right(g.epilogue.up), c, g);
    if (g.a_transposed)
      return launch(context, name, grid, tensor_warpgroup_kernel<T, true, false, false>, a, b, b, c, g);
  }
  if (g.b_transposed) launch(context, name, grid, tensor_warpgroup_kernel<T, false, true, false>, a, b, b, c, g);
  else launch(context, name, grid, tensor_warpgroup_kernel<T, false, false, false>, a, b, b, c, g);
}

// Whether TMA stores the result: a bf16 matrix with the alignment of tensor maps, whose epilogue only rounds the sums.
// Products with a transposed left operand are gradients of weights, which are f32.
bool stores_boxes(const Gemm& g) {
  const bool aligned = g.n % 8 == 0 && g.ldc % 8 == 0 && reinterpret_cast<uintptr_t>(g.c.data) % 16 == 0;
  return aligned && g.c.type == DType::bf16 && !g.gated() && !g.a_transposed && only_stores<false>(g);
}

}  // namespace

void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  const bool stores = stores_boxes(g);
  if (choice.tile_n == 256 && stores) run<StoredWideTile>(context, name, g);
  else if (choice.tile_n == 256) run<WideTile>(context, name, g);
  else if (stores) run<StoredHalfTile>(context, name, g);
  else run<HalfTile>(context, name, g);
}

}  // namespace cuda
}  // namespace heddle
