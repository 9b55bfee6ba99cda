// The bf16 matrix product on the tensor cores of sm_90a, with the main loop of gemm_sm90_loop.cuh.
//
// If the epilogue only rounds the sums to bf16, a warp stages its rows of the tile and starts TMA stores. It multiplies
// the next tile while they run. All other epilogues are computed before the next tile's products.
#include "cuda/gemm/gemm_sm90.cuh"

namespace heddle {
namespace cuda {
namespace {

using namespace sm90;

template <int tile_n, int stages>
using Boxes = Paired<RingTile<tile_n, stages, 2 * box_bytes, tile_n / 64 * box_bytes>>;
using WideTile = Boxes<256, 4>;
using HalfTile = Boxes<128, 6>;
// The staged results take 64 and 32 KB, so the wide tile has one stage less.
using StoredWideTile = StoredTile<Boxes<256, 3>>;
using StoredHalfTile = StoredTile<Boxes<128, 6>>;
// A block has at most 227 KB of shared memory, of which 128 bytes are for barriers.
static_assert(StoredWideTile::bytes <= (227 << 10) - 128 && StoredHalfTile::bytes <= (227 << 10) - 128,
    "blocks fit into a multiprocessor");

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
  const Extent<T> product(g.m, gated ? 2 * g.n : g.n, g.k, g.b_terms, ptx::blocks_of_cluster());

  if (threadIdx.x == 0) {
    ptx::prefetch_map(&a_map);
    ptx::prefetch_map(&b_map);
    if (gated) ptx::prefetch_map(&up_map);
    if (T::stores_boxes) ptx::prefetch_map(&c_map);
  }
  begin_ring<true>(full, empty, product.cluster);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<40>();
    if (threadIdx.x == 0)
      copy_stages<T, a_transposed, b_transposed, gated>(ring, full, empty, a_map, b_map, up_map, product);
  } else {
    ptx::take_registers<232>();
    const int consumer = threadIdx.x / warpgroup - 1, warp = threadIdx.x % warpgroup / warp_size;
    unsigned char* own = ring + T::stages * T::stage_bytes + (consumer * 4 + warp) * T::staged_bytes;
    Position<T::stages> at;
    for (int64_t tile = product.first(); tile < product.tiles; tile += product.step()) {
      float sum[T::n / 2];
      multiply_stages<T, a_transposed, b_transposed>(ring, full, empty, at, product.deep, sum, product.cluster);
      const Place place = product.place(tile);
      const int64_t row0 = place.row + consumer * 64 + warp * 16;
      if constexpr (T::stores_boxes)
        store_sums(&c_map, own, static_cast<int>(row0), static_cast<int>(place.column), sum);
      else epilogue_sums<gated>(g, reinterpret_cast<float*>(own), row0, gated ? place.column / 2 : place.column, sum);
    }
    if constexpr (T::stores_boxes) end_stores();
  }
  end_ring<T>();
#endif
}

template <class T> void run(const Context& context, const char* name, const Gemm& g) {
  const int64_t columns = g.gated() ? 2 * g.n : g.n;
  const Grid grid =
      grid_of<T>(context, g.m, columns, warpgroup_cluster(g.m, columns, T::m, T::n, properties_of(context)));
  const CUtensorMap a = g.a_transposed ? map_of_matrix(g.a.data, g.k, g.m, g.lda, stage_depth)
                                       : map_of_matrix(g.a.data, g.m, g.k, g.lda, T::m);
  const auto right = [&](const View& b) {
    return g.b_transposed ? map_of_matrix(b.data, g.n, g.b_depth(), g.ldb, T::n / 2)
                          : map_of_matrix(b.data, g.b_depth(), g.n, g.ldb, stage_depth);
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
