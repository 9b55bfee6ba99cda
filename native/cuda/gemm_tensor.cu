// The bf16 matrix product on tensor cores (sm_80 and later): cp.async brings 16-byte pieces of both operands into a ring of
// three or four stages, ldmatrix takes them to registers, mma.sync multiplies. After CUTLASS's multistage pipeline (Thakkar et al.) and
// "Dissecting Ampere" (Sun et al. 2022) for what the instructions do.
//
// An operand's tile lies in shared memory as it is stored, so that neighbours stay neighbours: (rows, 64) where the depth k is
// innermost, (64, rows) where it is not; ldmatrix.trans turns the latter.
#include "cuda/gemm.cuh"
#include "cuda/tensor_tile.cuh"

namespace heddle {
namespace cuda {
namespace {

constexpr int depth = gemm_depth;

template <int tile_m_, int tile_n_, int warps_m_, int warps_n_, int stages_> struct Tile {
  static constexpr int m = tile_m_, n = tile_n_, stages = stages_, warps_m = warps_m_, warps_n = warps_n_;
  static constexpr int threads = warps_m * warps_n * warp_size;
  static constexpr int warp_m = m / warps_m, warp_n = n / warps_n;
  static constexpr int stage_elements = (m + n) * depth;
  static constexpr size_t bytes = static_cast<size_t>(stages) * stage_elements * sizeof(uint16_t);
};
using SmallTile = Tile<64, 64, 2, 2, 3>;
template <int stages> using LargeTile = Tile<128, 128, 2, 4, stages>;

template <class T, bool a_transposed, bool b_transposed> __global__ void __launch_bounds__(T::threads, 1) tensor_kernel(Gemm whole, int64_t part) {
  constexpr int stages = T::stages;
  const Gemm g = part_of(whole, part);
  HEDDLE_DYNAMIC_SHARED(uint16_t, memory);
  constexpr int rows_m = T::warp_m / 16, columns_n = T::warp_n / 8;  // fragments of a warp
  const uint16_t *a = static_cast<const uint16_t*>(g.a.data), *b = static_cast<const uint16_t*>(g.b.data);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * T::m, column0 = static_cast<int64_t>(blockIdx.x) * T::n;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int warp_row = warp / T::warps_n * T::warp_m, warp_column = warp % T::warps_n * T::warp_n;
  const int64_t k_begin = blockIdx.z * part, tiles = (g.k - k_begin + depth - 1) / depth;

  const auto copy_stage = [&](int64_t tile) {
    uint16_t* a_tile = memory + tile % stages * T::stage_elements;
    uint16_t* b_tile = a_tile + T::m * depth;
    const int64_t k0 = k_begin + tile * depth;
    if (a_transposed) copy_tile<depth, T::m, T::threads>(a_tile, a, g.lda, k0, row0, g.k, g.m);
    else copy_tile<T::m, depth, T::threads>(a_tile, a, g.lda, row0, k0, g.m, g.k);
    if (b_transposed) copy_tile<T::n, depth, T::threads>(b_tile, b, g.ldb, column0, k0, g.n, g.k);
    else copy_tile<depth, T::n, T::threads>(b_tile, b, g.ldb, k0, column0, g.k, g.n);
  };

  float sum[rows_m][columns_n][4] = {};
  for (int64_t t = 0; t < stages - 1; ++t) {
    if (t < tiles) copy_stage(t);
    ptx::commit_copies();
  }
  for (int64_t t = 0; t < tiles; ++t) {
    ptx::wait_copies<stages - 2>();  // this thread's part of tile t is there
    __syncthreads();                 // everybody's is, and everybody has done with tile t - 1, whose place comes next
    if (t + stages - 1 < tiles) copy_stage(t + stages - 1);
    ptx::commit_copies();  // a group a tile, also an empty one: the count above relies on it
    const uint16_t* a_tile = memory + t % stages * T::stage_elements;
    const uint16_t* b_tile = a_tile + T::m * depth;
    const int matrix = lane / 8, r = lane % 8;  // what this lane's address is of, in ldmatrix
    for (int k = 0; k < depth; k += 16) {
      uint32_t left[rows_m][4], right[columns_n][2];
      HEDDLE_UNROLL
      for (int i = 0; i < rows_m; ++i) {
        // Matrices 0, 1: rows 0-7, 8-15 of depth 0-7; 2, 3: of depth 8-15.
        const int row = warp_row + i * 16 + matrix % 2 * 8, k8 = k + matrix / 2 * 8;
        if (a_transposed) ptx::load_matrices<true>(left[i], a_tile + swizzled<T::m / piece>(k8 + r, row / piece));
        else ptx::load_matrices<false>(left[i], a_tile + swizzled<depth / piece>(row + r, k8 / piece));
      }
      HEDDLE_UNROLL
      for (int j = 0; j < columns_n; j += 2) {
        // Matrices 0, 1: columns 0-7 of depth 0-7, 8-15; 2, 3: columns 8-15.
        const int column = warp_column + j * 8 + matrix / 2 * 8, k8 = k + matrix % 2 * 8;
        uint32_t two[4];
        if (b_transposed) ptx::load_matrices<false>(two, b_tile + swizzled<depth / piece>(column + r, k8 / piece));
        else ptx::load_matrices<true>(two, b_tile + swizzled<T::n / piece>(k8 + r, column / piece));
        right[j][0] = two[0], right[j][1] = two[1], right[j + 1][0] = two[2], right[j + 1][1] = two[3];
      }
      HEDDLE_UNROLL
      for (int i = 0; i < rows_m; ++i)
        HEDDLE_UNROLL
        for (int j = 0; j < columns_n; ++j) ptx::mma_bf16(sum[i][j], left[i], right[j]);
    }
  }

  float bias[columns_n][2] = {};
  if (g.bias.data) {
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j) {
      HEDDLE_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int64_t column = column0 + warp_column + j * 8 + lane % 4 * 2 + e;
        if (column < g.n) bias[j][e] = g.bias[column];
      }
    }
  }
  HEDDLE_UNROLL
  for (int i = 0; i < rows_m; ++i)
    HEDDLE_UNROLL
    for (int j = 0; j < columns_n; ++j)
      HEDDLE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = row0 + warp_row + i * 16 + lane / 4 + e / 2 * 8, column = column0 + warp_column + j * 8 + lane % 4 * 2 + e % 2;
        if (row >= g.m || column >= g.n) continue;
        // Kept short: only when all of it unrolls do the sums stay in registers.
        const float v = sum[i][j][e] + bias[j][e % 2];
        const int64_t at = row * g.ldc + column;
        if (g.c.type == DType::f32) {
          float* c = static_cast<float*>(g.c.data);
          c[at] = g.accumulate ? v + c[at] : v;
        } else {
          static_cast<uint16_t*>(g.c.data)[at] = float_to_bf16(v);
        }
      }
}

template <class T> void run(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  // The grid's second dimension is small: tall products go in strips, which are too many tiles to be cut into parts.
  constexpr int64_t strip = int64_t{65535} * T::m;
  for (int64_t row = 0; row < g.m; row += strip) {
    Gemm part = g;
    part.m = g.m - row < strip ? g.m - row : strip;
    part.a.data = static_cast<const uint16_t*>(g.a.data) + row * (g.a_transposed ? 1 : g.lda);
    part.c.data = static_cast<char*>(g.c.data) + row * g.ldc * static_cast<int64_t>(dtype_bytes(g.c.type));
    const unsigned splits = static_cast<unsigned>(choice.splits);
    const Grid grid{dim3(blocks_for(g.n, T::n), blocks_for(part.m, T::m), splits), dim3(T::threads), T::bytes};
    if (g.a_transposed) launch(context, name, grid, tensor_kernel<T, true, false>, part, choice.part);
    else if (g.b_transposed) launch(context, name, grid, tensor_kernel<T, false, true>, part, choice.part);
    else launch(context, name, grid, tensor_kernel<T, false, false>, part, choice.part);
  }
  if (choice.splits > 1) add_parts(context, name, g, choice.splits);
}

}  // namespace

void gemm_tensor(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  if (choice.tile_m == 64) run<SmallTile>(context, name, g, choice);
  else if (choice.stages == 4) run<LargeTile<4>>(context, name, g, choice);
  else run<LargeTile<3>>(context, name, g, choice);
}

}  // namespace cuda
}  // namespace heddle
