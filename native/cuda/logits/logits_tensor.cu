// Logits on tensor cores by mma.sync (sm_80 and later), with the main loop of gemm_multistage.cuh. A block computes one
// tile. The blocks of a strip of eight rows of tiles have consecutive numbers. They run at about the same time, and
// share operands in L2.
#include "cuda/gemm/gemm_multistage.cuh"
#include "cuda/gemm/sm90_tiles.cuh"
#include "cuda/logits/logit_gradient.cuh"
#include "cuda/logits/softmax_part.cuh"

namespace heddle {
namespace cuda {
namespace logits {
namespace {

using multistage::Bf16;
using multistage::LargeTile;
using multistage::SmallTile;

// The place of the block's tile, and that of the warp's sums in it.
template <class T> struct BlockTile {
  Place place;
  int warp_row, warp_column, lane_row, lane_column;

  __device__ explicit BlockTile(const Operands& of) : place(place_of<T>(blockIdx.x, of.N, of.V)) {
    const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
    warp_row = warp / T::warps_n * T::warp_m, warp_column = warp % T::warps_n * T::warp_n;
    lane_row = warp_row + lane / 4, lane_column = warp_column + lane % 4 * 2;
  }
};

// Adds the products of the block's tile to `sum`. All threads of the block must call it. The ring can then be
// overwritten.
template <class T>
__device__ inline void multiply(
    uint16_t* memory, const Operands& of, const Place& place, float (&sum)[T::rows][T::columns][4]) {
  const multistage::Sides<Bf16> sides{of.h, of.w, nullptr, of.C, of.C, of.N, of.V, 0, of.C};
  multistage::multiply_stages<Bf16, T, false, true, false>(memory, sides, place.row, place.column, sum, [](int64_t) {});
  __syncthreads();
}

// Calls use(i, own) for each 16 rows of the warp's sums, with a copy of them. `use` is instantiated only once, and
// register indices are constant.
template <class T, class Use>
__device__ inline void each_rows(const float (&sum)[T::rows][T::columns][4], const Use& use) {
  HEDDLE_ROLLED
  for (int i = 0; i < T::rows; ++i) {
    float own[T::columns][4];
    HEDDLE_UNROLL
    for (int r = 0; r < T::rows; ++r) {
      if (r != i) continue;
      HEDDLE_UNROLL
      for (int f = 0; f < T::columns; ++f) {
        HEDDLE_UNROLL
        for (int e = 0; e < 4; ++e) own[f][e] = sum[r][f][e];
      }
    }
    use(i, own);
  }
}

template <class T>
__global__ void __launch_bounds__(T::threads, 1) tensor_softmax_kernel(PreviousKernel previous, Softmax s) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  HEDDLE_SHARED(int32_t, targets, [T::m]);
  previous.wait();
  const BlockTile<T> tile(s.of);
  for (int row = threadIdx.x; row < T::m; row += T::threads) targets[row] = target_of(s, tile.place.row + row);
  float sum[T::rows][T::columns][4] = {};
  multiply<T>(memory, s.of, tile.place, sum);
  Part* parts = reinterpret_cast<Part*>(memory);  // (T::m, T::warps_n)
  each_rows<T>(sum, [&](int i, float(&own)[T::columns][4]) {
    const int row = tile.lane_row + 16 * i;
    const int32_t of_rows[2] = {targets[row], targets[row + 8]};
    Part two[2];
    reduce_logits<T::columns>(s, tile.place.row + row, tile.place.column + tile.lane_column, of_rows, two,
        [&](int f, int half, int e) -> float& { return own[f][2 * half + e]; });
    if (threadIdx.x % 4 != 0) return;
    HEDDLE_UNROLL
    for (int half = 0; half < 2; ++half)
      parts[(row + 8 * half) * T::warps_n + tile.warp_column / T::warp_n] = two[half];
  });
  __syncthreads();
  for (int row = threadIdx.x; row < T::m && tile.place.row + row < s.of.N; row += T::threads) {
    Part whole = parts[row * T::warps_n];
    HEDDLE_UNROLL
    for (int w = 1; w < T::warps_n; ++w) {
      const Part& part = parts[row * T::warps_n + w];
      const float largest = fmaxf(whole.largest, part.largest);
      whole = {largest, whole.sum_for(largest) + part.sum_for(largest)};
    }
    s.parts[(tile.place.row + row) * s.tiles + tile.place.column / T::n] = whole;
  }
}

template <class T>
__global__ void __launch_bounds__(T::threads, 1) tensor_logit_gradient_kernel(PreviousKernel previous, Gradient g) {
  static_assert(T::warp_n == staged_columns, "a warp stages 16 rows of its columns at a time, in the ring");
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  HEDDLE_SHARED(RowTerms, terms, [T::m]);
  previous.wait();
  const BlockTile<T> tile(g.of);
  for (int row = threadIdx.x; row < T::m; row += T::threads) terms[row] = terms_of(g, tile.place.row + row);
  float sum[T::rows][T::columns][4] = {};
  multiply<T>(memory, g.of, tile.place, sum);
  // Stores whole lines of ld columns. The columns after the last entry of the vocabulary are not read.
  Gemm to{};
  to.c = {g.to, DType::bf16}, to.m = g.of.N, to.n = to.ldc = g.ld;
  float* staged = reinterpret_cast<float*>(memory) + threadIdx.x / warp_size * staged_floats;
  each_rows<T>(sum, [&](int i, float(&own)[T::columns][4]) {
    const int row = tile.lane_row + 16 * i;
    const RowTerms rows[2] = {terms[row], terms[row + 8]};
    to_gradients<T::columns>(rows, g.scale, g.begin + tile.place.column + tile.lane_column,
        [&](int f, int half, int e) -> float& { return own[f][2 * half + e]; });
    HEDDLE_UNROLL
    for (int f = 0; f < T::columns; ++f) stage_fragment(staged, f, own[f][0], own[f][1], own[f][2], own[f][3]);
    __syncwarp();  // the fragments of all lanes are staged
    store_fragments<DType::bf16>(
        to, staged, tile.place.row + tile.warp_row + 16 * i, tile.place.column + tile.warp_column);
    __syncwarp();  // all lanes have read the fragments, so the next ones can be staged
  });
}

template <class T> Grid grid_of(const Operands& of) {
  return {dim3(blocks_for(of.N, T::m) * blocks_for(of.V, T::n)), dim3(T::threads), T::bytes};
}
// Calls launch_it(T{}) with the tile of `choice`.
template <class F> void with_tile(const GemmChoice& choice, F launch_it) {
  if (choice.tile_m == 64) launch_it(SmallTile{});
  else launch_it(LargeTile{});
}

}  // namespace

void softmax_parts_tensor(const Context& context, const char* name, const Softmax& s, const GemmChoice& choice) {
  with_tile(choice, [&](auto tile) {
    using T = decltype(tile);
    launch(context, name, grid_of<T>(s.of), tensor_softmax_kernel<T>, s);
  });
}
void gradients_tensor(const Context& context, const char* name, const Gradient& g, const GemmChoice& choice) {
  with_tile(choice, [&](auto tile) {
    using T = decltype(tile);
    launch(context, name, grid_of<T>(g.of), tensor_logit_gradient_kernel<T>, g);
  });
}

}  // namespace logits
}  // namespace cuda
}  // namespace heddle
