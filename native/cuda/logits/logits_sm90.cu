// Logits on the tensor cores of sm_90a, with the main loop of gemm_sm90_loop.cuh. TMA stores the gradients of a tile
// while the next tile is multiplied.
#include "cuda/gemm/gemm_sm90.cuh"
#include "cuda/logits/logit_gradient.cuh"
#include "cuda/logits/softmax_part.cuh"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

using namespace sm90;

template <int tile_n, int stages>
using GradientTile = StoredTile<RingTile<tile_n, stages, 2 * box_bytes, tile_n / 64 * box_bytes>>;

#if HEDDLE_SM90A
// Returns the lane's first row and column of a tile that begins at `place`.
__device__ inline Place lane_place(const Place& place) {
  const int warp = threadIdx.x / warp_size - warpgroup / warp_size, lane = threadIdx.x % warp_size;
  return {place.row + warp * 16 + lane / 4, place.column + lane % 4 * 2};
}
#endif

template <class T>
__global__ void __launch_bounds__(threads, 1) tensor_warpgroup_softmax_kernel(PreviousKernel previous,
    const __grid_constant__ CUtensorMap h_map, const __grid_constant__ CUtensorMap w_map, Softmax s) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [T::stages]);
  HEDDLE_SHARED(uint64_t, empty, [T::stages]);
  unsigned char* ring = ring_in(memory);
  const Extent<T> product(s.of.N, s.of.V, s.of.C);
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&h_map);
    ptx::prefetch_map(&w_map);
  }
  begin_ring(full, empty);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<producer_registers>();
    if (threadIdx.x == 0) copy_stages<T, false, true, false>(ring, full, empty, h_map, w_map, w_map, product);
    return;
  }
  ptx::take_registers<consumer_registers>();
  Position<T::stages> at;
  for (int64_t tile = blockIdx.x; tile < product.tiles; tile += gridDim.x) {
    const Place place = place_of<T>(tile, product.m, product.n), own = lane_place(place);
    const int32_t targets[2] = {target_of(s, own.row), target_of(s, own.row + 8)};
    float sum[T::n / 2];
    multiply_stages<T, false, true>(ring, full, empty, at, product.deep, sum);
    Part parts[2];
    reduce_logits<T::n / 8>(s, own.row, own.column, targets, parts,
        [&](int f, int half, int e) -> float& { return sum[4 * f + 2 * half + e]; });
    HEDDLE_UNROLL
    for (int half = 0; half < 2; ++half)
      if (threadIdx.x % 4 == 0 && own.row + 8 * half < product.m)
        s.parts[(own.row + 8 * half) * s.tiles + place.column / T::n] = parts[half];
    __syncwarp();  // the lanes of a warp start products together
  }
#endif
}

template <class T>
__global__ void __launch_bounds__(threads, 1)
    tensor_warpgroup_logit_gradient_kernel(PreviousKernel previous, const __grid_constant__ CUtensorMap h_map,
        const __grid_constant__ CUtensorMap w_map, const __grid_constant__ CUtensorMap to_map, Gradient g) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [T::stages]);
  HEDDLE_SHARED(uint64_t, empty, [T::stages]);
  unsigned char* ring = ring_in(memory);
  const Extent<T> product(g.of.N, g.of.V, g.of.C);
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&h_map);
    ptx::prefetch_map(&w_map);
    ptx::prefetch_map(&to_map);
  }
  begin_ring(full, empty);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<producer_registers>();
    if (threadIdx.x == 0) copy_stages<T, false, true, false>(ring, full, empty, h_map, w_map, w_map, product);
    return;
  }
  ptx::take_registers<consumer_registers>();
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size - warpgroup / warp_size;
  unsigned char* staged = ring + T::stages * T::stage_bytes + warp * T::staged_bytes;
  Position<T::stages> at;
  for (int64_t tile = blockIdx.x; tile < product.tiles; tile += gridDim.x) {
    const Place place = place_of<T>(tile, product.m, product.n), own = lane_place(place);
    const RowTerms rows[2] = {terms_of(g, own.row), terms_of(g, own.row + 8)};
    float sum[T::n / 2];
    multiply_stages<T, false, true>(ring, full, empty, at, product.deep, sum);
    to_gradients<T::n / 8>(rows, g.scale, g.begin + own.column,
        [&](int f, int half, int e) -> float& { return sum[4 * f + 2 * half + e]; });
    store_sums(&to_map, staged, static_cast<int>(own.row - lane / 4), static_cast<int>(place.column), sum);
  }
  end_stores();
#endif
}

template <class T> void run(const Context& context, const char* name, const Softmax& s) {
  launch(context, name, grid_of<T>(context, s.of.N, s.of.V), tensor_warpgroup_softmax_kernel<T>,
      map_of_matrix(s.of.h, s.of.N, s.of.C, s.of.C, T::m), map_of_matrix(s.of.w, s.of.V, s.of.C, s.of.C, T::n), s);
}
template <class T> void run(const Context& context, const char* name, const Gradient& g) {
  // The map of g.to spans all ld columns of a row. Its columns from V on are never read.
  launch(context, name, grid_of<T>(context, g.of.N, g.of.V), tensor_warpgroup_logit_gradient_kernel<T>,
      map_of_matrix(g.of.h, g.of.N, g.of.C, g.of.C, T::m), map_of_matrix(g.of.w, g.of.V, g.of.C, g.of.C, T::n),
      map_of_matrix(g.to, g.of.N, g.ld, g.ld, stored_rows), g);
}

}  // namespace

void softmax_parts_warpgroup(const Context& context, const char* name, const Softmax& s, const GemmChoice& choice) {
  if (choice.tile_n == 256) run<BoxRing<256, 4>>(context, name, s);
  else run<BoxRing<128, 6>>(context, name, s);
}
void gradients_warpgroup(const Context& context, const char* name, const Gradient& g, const GemmChoice& choice) {
  if (choice.tile_n == 256) run<GradientTile<256, 3>>(context, name, g);
  else run<GradientTile<128, 6>>(context, name, g);
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
