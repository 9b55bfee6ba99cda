// The bf16 matrix product on the tensor cores of sm_90a, with the main loop of gemm_sm90_loop.cuh.
//
// If the epilogue only adds a bias and rounds the sums to bf16, a warp stages its rows of the tile and starts TMA
// stores. It multiplies the next tile while they run. All other epilogues are computed before the next tile's products.
//
// The gradient of a weight sums over all tokens. If it has few tiles, its parts along k are computed by different
// blocks, and add_parts adds their sums (split-k).
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
    const __grid_constant__ CUtensorMap up_map, const __grid_constant__ CUtensorMap c_map, Gemm g, int64_t part) {
#if HEDDLE_SM90A
  static_assert(!gated || b_transposed, "a gated product needs b and up stored as (n, k)");
  static_assert(!gated || !T::stores_boxes, "the epilogue of a gated product does more than store");
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [T::stages]);
  HEDDLE_SHARED(uint64_t, empty, [T::stages]);
  unsigned char* ring = ring_in(memory);
  const Extent<T> product(
      g.m, gated ? 2 * g.n : g.n, g.k, g.b_terms, ptx::blocks_of_cluster(), a_transposed ? part : 0);

  if (threadIdx.x == 0) {
    ptx::prefetch_map(&a_map);
    ptx::prefetch_map(&b_map);
    if (gated) ptx::prefetch_map(&up_map);
    if (T::stores_boxes) ptx::prefetch_map(&c_map);
  }
  begin_ring<true>(full, empty, product.cluster);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<producer_registers>();
    if (threadIdx.x == 0)
      copy_stages<T, a_transposed, b_transposed, gated>(ring, full, empty, a_map, b_map, up_map, product);
    return;
  }
  ptx::take_registers<consumer_registers>();
  const int consumer = threadIdx.x / warpgroup - 1, warp = threadIdx.x % warpgroup / warp_size;
  unsigned char* own = ring + T::stages * T::stage_bytes + (consumer * 4 + warp) * T::staged_bytes;
  Position<T::stages> at;
  for (int64_t tile = product.first(); tile < product.tiles; tile += product.step()) {
    float sum[T::n / 2];
    const int64_t deep = a_transposed ? product.end(tile) - product.begin(tile) : product.deep;
    multiply_stages<T, a_transposed, b_transposed>(ring, full, empty, at, deep, sum, product.cluster);
    const Place place = product.place(tile);
    const int64_t row0 = place.row + consumer * 64 + warp * 16;
    if constexpr (T::stores_boxes) {
      if (g.bias.data) add_bias(g.bias, g.n, place.column, sum);
      store_sums(&c_map, own, static_cast<int>(row0), static_cast<int>(place.column), sum);
    } else {
      // The sums of a part follow those of the part before it. Without parts, the sums are the result.
      Gemm of_part = g;
      if (a_transposed) of_part.c.data = static_cast<float*>(g.c.data) + product.part(tile) * g.m * g.n;
      float* staged = reinterpret_cast<float*>(own);
      epilogue_sums<gated, a_transposed>(of_part, staged, row0, gated ? place.column / 2 : place.column, sum);
    }
  }
  if constexpr (T::stores_boxes) end_stores();
#endif
}

template <class T> void run(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  const int64_t columns = g.gated() ? 2 * g.n : g.n;
  const int cluster = warpgroup_cluster(g.m, columns, T::m, T::n, properties_of(context), choice.splits);
  const Grid grid = grid_of<T>(context, g.m, columns, cluster, choice.splits);
  const CUtensorMap a = g.a_transposed ? map_of_matrix(g.a.data, g.k, g.m, g.lda, stage_depth)
                                       : map_of_matrix(g.a.data, g.m, g.k, g.lda, T::m);
  const auto right = [&](const View& b) {
    return g.b_transposed ? map_of_matrix(b.data, g.n, g.b_depth(), g.ldb, T::n / 2)
                          : map_of_matrix(b.data, g.b_depth(), g.n, g.ldb, stage_depth);
  };
  const int64_t none = 0;  // no parts
  const CUtensorMap b = right(g.b), c = T::stores_boxes ? map_of_matrix(g.c.data, g.m, g.n, g.ldc, stored_rows) : b;
  if constexpr (!T::stores_boxes) {
    if (g.gated())
      return launch(
          context, name, grid, tensor_warpgroup_kernel<T, false, true, true>, a, b, right(g.epilogue.up), c, g, none);
    if (g.a_transposed) {
      Gemm sums = g;
      if (choice.splits > 1)
        sums.c = {g.workspace, DType::f32}, sums.ldc = g.n, sums.bias.data = nullptr, sums.epilogue = {};
      const int64_t part = choice.splits > 1 ? choice.part : none;
      launch(context, name, grid, tensor_warpgroup_kernel<T, true, false, false>, a, b, b, c, sums, part);
      if (choice.splits > 1) add_parts(context, name, g, choice.splits);
      return;
    }
  }
  if (g.b_transposed) launch(context, name, grid, tensor_warpgroup_kernel<T, false, true, false>, a, b, b, c, g, none);
  else launch(context, name, grid, tensor_warpgroup_kernel<T, false, false, false>, a, b, b, c, g, none);
}

// Whether TMA stores the result: a bf16 matrix with the alignment of tensor maps, whose epilogue only adds a bias and
// rounds. Products with a transposed left operand are gradients of weights, which are f32.
bool stores_boxes(const Gemm& g) {
  const bool aligned = g.n % 8 == 0 && g.ldc % 8 == 0 && reinterpret_cast<uintptr_t>(g.c.data) % 16 == 0;
  Gemm sums = g;
  sums.bias.data = nullptr;
  return aligned && g.c.type == DType::bf16 && !g.gated() && !g.a_transposed && only_stores<false>(sums);
}

}  // namespace

void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  const bool stores = stores_boxes(g);
  if (choice.tile_n == 256 && stores) run<StoredWideTile>(context, name, g, choice);
  else if (choice.tile_n == 256) run<WideTile>(context, name, g, choice);
  else if (stores) run<StoredHalfTile>(context, name, g, choice);
  else run<HalfTile>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
