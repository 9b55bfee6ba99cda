// The products of a mixture of experts in bf16 on tensor cores (sm_80 and later), as grouped products. The main loop is
// that of gemm_multistage.cuh. The tiles of all experts' products form one grid (Gale et al. 2022, "MegaBlocks").
//
// The pairs of an expert are rows at arbitrary places. cp.async copies each row from its place, so no operand is
// gathered in global memory first. An expert may have any number of pairs. Beyond its last pair, tiles are filled with
// zeros.
#include "cuda/gemm/experts.cuh"
#include "cuda/gemm/gemm_multistage.cuh"

namespace heddle {
namespace cuda {
namespace {

using multistage::Bf16;
using multistage::LargeTile;
using multistage::SmallTile;

constexpr int depth = Bf16::depth;

// Copies lines of a matrix, given by their indices, to tiles of `lines` lines with `count` elements. A thread copies
// the same places of every tile, so it keeps the indices of its lines in registers. The matrix has lines of `width`
// elements, a multiple of 8.
template <int lines, int count, int threads> struct GatheredLines {
  static constexpr int pieces = count / piece, step = threads / pieces, each = lines / step;
  static_assert(threads % pieces == 0 && lines % step == 0, "threads copy equal parts of a tile");
  int32_t line[each];  // -1: zeros

  // Loads the indices of the tile's lines, which are of[first] and following. Lines from of[end] on become zeros.
  __device__ void load(const int32_t* of, int64_t first, int64_t end) {
    HEDDLE_UNROLL
    for (int i = 0; i < each; ++i) {
      const int64_t at = first + threadIdx.x / pieces + i * step;
      line[i] = at < end ? of[at] : -1;
    }
  }
  // Starts the copies of elements [first, first + count) of the lines. Elements beyond the width become zeros.
  __device__ void copy(uint16_t* tile, const uint16_t* x, int width, int64_t first) const {
    const int r = threadIdx.x / pieces, p = threadIdx.x % pieces;
    const int64_t at = first + p * piece;
    const bool inside = at < width;
    HEDDLE_UNROLL
    for (int i = 0; i < each; ++i) {
      const bool valid = inside && line[i] >= 0;
      ptx::copy_async_16(tile + swizzled<pieces>(r + i * step, p),
          valid ? x + at + static_cast<int64_t>(line[i]) * width : x, valid ? 16 : 0);
    }
  }
};

// A tile of the product of one expert: sorted pairs [first, end), of which the tile has at most T::m, and columns from
// column0 on. If there are fewer tiles than blocks, the expert of the last blocks is -1.
struct ExpertTile {
  int32_t expert;
  int64_t first, end, column0;
};
// Returns the block's tile. Adjacent blocks have different rows and the same columns, in strips of up to eight tiles of
// rows. They read the same weights at the same time. All threads of a warp must call it.
template <class T> __device__ inline ExpertTile expert_tile(const Groups& groups, unsigned columns) {
  constexpr unsigned strip = 8;
  const int lane = threadIdx.x % warp_size;
  unsigned tile = blockIdx.x;
  for (int64_t e0 = 0; e0 < groups.experts; e0 += warp_size) {
    const int64_t e = e0 + lane;  // a lane counts the tiles of one expert
    const int begin = e < groups.experts ? groups.begin[e] : 0, end = e < groups.experts ? groups.begin[e + 1] : 0;
    const unsigned rows = static_cast<unsigned>((static_cast<int64_t>(end) - begin + T::m - 1) / T::m);
    unsigned sum = rows * columns;  // of this lane and lower ones
    HEDDLE_UNROLL
    for (int lanes = 1; lanes < warp_size; lanes *= 2) {
      const unsigned lower = __shfl_up_sync(all_lanes, sum, lanes);
      if (lane >= lanes) sum += lower;
    }
    const unsigned after = __ballot_sync(all_lanes, tile < sum);  // the tile is before the end of these experts' tiles
    if (!after) {
      tile -= __shfl_sync(all_lanes, sum, warp_size - 1);
      continue;
    }
    const int owner = warp_size - __popc(after);
    tile -= __shfl_sync(all_lanes, sum - rows * columns, owner);
    const unsigned rows_of_owner = __shfl_sync(all_lanes, rows, owner), row0 = tile / (strip * columns) * strip,
                   left = rows_of_owner - row0, rows_of_strip = left < strip ? left : strip;
    tile %= strip * columns;
    const int64_t first =
        __shfl_sync(all_lanes, begin, owner) + static_cast<int64_t>(row0 + tile % rows_of_strip) * T::m;
    return {static_cast<int32_t>(e0) + owner, first, __shfl_sync(all_lanes, end, owner),
        static_cast<int64_t>(tile / rows_of_strip) * T::n};
  }
  return {-1, 0, 0, 0};
}

// Stores the sums that the warp has staged: 16 sorted pairs from `first` on, and 32 columns from column0 on.
__device__ inline void store_pairs(
    const Products& a, const Groups& groups, const ExpertTile& tile, const float* own, int64_t first, int64_t column0) {
  constexpr int width = 4, lanes = staged_columns / width, step = warp_size / lanes, each = staged_rows / step;
  const int lane = threadIdx.x % warp_size, row = lane / lanes, place = lane % lanes * width;
  const int64_t column = column0 + place, left = a.M - column;
  const int count = left < width ? static_cast<int>(left) : width;
  __syncwarp();  // the fragments of all lanes are staged
  if (count > 0) {
    int32_t pair[each];
    HEDDLE_UNROLL
    for (int r = 0; r < each; ++r) {
      const int64_t at = first + row + r * step;
      pair[r] = at < tile.end ? groups.order[at] : -1;
    }
    float bias[width] = {};
    if (a.bias.data) add_run(a.bias, tile.expert * a.pitch + column, bias, count);
    HEDDLE_UNROLL
    for (int r = 0; r < each; ++r) {
      const float4 four = *reinterpret_cast<const float4*>(own + (row + r * step) * staged_pitch + place);
      const float v[width] = {four.x + bias[0], four.y + bias[1], four.z + bias[2], four.w + bias[3]};
      if (pair[r] >= 0) store_run(a.y, pair[r] * a.pitch + column, v, count);
    }
  }
  __syncwarp();  // all lanes have read the sums, so the next ones can be staged
}

// Computes one tile per block. Decoded weights have several terms along k. Each is multiplied by the same elements of
// x.
template <class T, bool w_transposed>
__global__ void __launch_bounds__(T::threads, 1)
    tensor_experts_kernel(PreviousKernel previous, Products a, Groups groups, unsigned columns) {
  previous.wait();
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  const ExpertTile tile = expert_tile<T>(groups, columns);
  if (tile.expert < 0) return;  // uniform over the block
  const int width = static_cast<int>(a.K), steps = (width + depth - 1) / depth, terms = a.terms > 0 ? a.terms : 1;
  const int64_t w_width = a.terms > 0 ? static_cast<int64_t>(terms) * steps * depth : a.K;
  const uint16_t *x = static_cast<const uint16_t*>(a.x.data),
                 *w = static_cast<const uint16_t*>(a.w.data) + tile.expert * a.M * w_width;
  GatheredLines<T::m, depth, T::threads> rows;
  rows.load(groups.rows, tile.first, tile.end);
  const auto copy = [&](uint16_t* a_tile, uint16_t* b_tile, int64_t t) {
    const int64_t k0 = t * depth;
    rows.copy(a_tile, x, width, static_cast<int>(t) % steps * depth);
    if (w_transposed)
      multistage::copy_lines<Bf16, T::n, depth, true, T::threads>(b_tile, w, w_width, tile.column0, k0, a.M, w_width);
    else multistage::copy_lines<Bf16, depth, T::n, false, T::threads>(b_tile, w, a.M, k0, tile.column0, a.K, a.M);
  };
  float sum[T::rows][T::columns][4] = {};
  multistage::multiply_ring<Bf16, T, false, w_transposed>(memory, terms * steps, sum, copy, [](int64_t) {});
  multistage::stage_sums<T>(reinterpret_cast<float*>(memory), sum, [&](const float* own, int row, int column) {
    store_pairs(a, groups, tile, own, tile.first + row, tile.column0 + column);
  });
}

// Computes the gradient of one expert's weights. Its pairs are the inner dimension. grid (tiles of K, tiles of M, E)
template <class T>
__global__ void __launch_bounds__(T::threads, 1) tensor_experts_gradient_kernel(WeightGradients a, Groups groups) {
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  const int64_t expert = blockIdx.z, row0 = static_cast<int64_t>(blockIdx.y) * T::m,
                column0 = static_cast<int64_t>(blockIdx.x) * T::n;
  const int64_t begin = groups.begin[expert], end = groups.begin[expert + 1];
  const uint16_t *dy = static_cast<const uint16_t*>(a.dy.data), *x = static_cast<const uint16_t*>(a.x.data);
  GatheredLines<depth, T::m, T::threads> left;
  GatheredLines<depth, T::n, T::threads> right;
  left.load(groups.order, begin, end), right.load(groups.rows, begin, end);
  const auto copy = [&](uint16_t* a_tile, uint16_t* b_tile, int64_t t) {
    left.copy(a_tile, dy, static_cast<int>(a.M), row0), right.copy(b_tile, x, static_cast<int>(a.K), column0);
    // The indices of the next tile arrive while this one is multiplied.
    const int64_t next = begin + (t + 1) * depth;
    left.load(groups.order, next, end), right.load(groups.rows, next, end);
  };
  float sum[T::rows][T::columns][4] = {};
  multistage::multiply_ring<Bf16, T, true, false>(memory, ceil_div(end - begin, depth), sum, copy, [](int64_t) {});
  Gemm result{};
  result.c = {a.dw + expert * a.M * a.K, DType::f32};
  result.m = a.M, result.n = a.K, result.ldc = a.K;
  multistage::stage_sums<T>(reinterpret_cast<float*>(memory), sum, [&](const float* own, int row, int column) {
    epilogue_fragments<false>(result, true, own, row0 + row, column0 + column);
  });
}

// Calls use(tile) with the Tile type of a choice.
template <class F> void with_tile(const ExpertChoice& choice, F use) {
  if (choice.tile_m == 64) use(SmallTile{});
  else use(LargeTile{});
}

}  // namespace

void experts_tensor(
    const Context& context, const char* name, const Products& a, const Groups& groups, const ExpertChoice& choice) {
  with_tile(choice, [&](auto tile) {
    using T = decltype(tile);
    const TileGrid tiles(most_group_tiles(a.pairs, a.E, T::m), blocks_for(a.M, T::n));
    const Grid grid{dim3(tiles.blocks), dim3(T::threads), T::bytes};
    if (a.w_transposed) launch(context, name, grid, tensor_experts_kernel<T, true>, a, groups, tiles.columns);
    else launch(context, name, grid, tensor_experts_kernel<T, false>, a, groups, tiles.columns);
  });
}

void expert_gradients_tensor(const Context& context, const char* name, const WeightGradients& a, const Groups& groups,
    const ExpertChoice& choice) {
  with_tile(choice, [&](auto tile) {
    using T = decltype(tile);
    const Grid grid{
        dim3(blocks_for(a.K, T::n), blocks_for(a.M, T::m), static_cast<unsigned>(a.E)), dim3(T::threads), T::bytes};
    launch(context, name, grid, tensor_experts_gradient_kernel<T>, a, groups);
  });
}

}  // namespace cuda
}  // namespace heddle
