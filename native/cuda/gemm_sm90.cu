// The bf16 matrix product on the tensor cores of sm_90a. Blocks stay for the whole product and make one tile of 128 rows after another: one
// warpgroup copies (one thread of it asks the tensor memory accelerator for boxes), two multiply 64 rows each (wgmma), and a ring of stages
// lies between, whose barriers count the bytes that came and the warps that are done. After CUTLASS's warp-specialised persistent
// kernels (Thakkar et al.), "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking" (Luo et al. 2025) and fast.cu
// (Shankhdhar 2024).
//
// A stage's tile of an operand lies as the operand is stored, in lines of 128 bytes with the 128-byte swizzle: (rows, 64 depths), or
// (64 depths, 64 rows) boxes side by side where the rows are innermost; the product's descriptors say which.
#include "cuda/gemm.cuh"
#include "cuda/sm90_tiles.cuh"
#include "cuda/tensor_map.h"

namespace heddle {
namespace cuda {
namespace {

constexpr int depth = gemm_depth, consumers = 2, threads = (1 + consumers) * warpgroup;
constexpr int box_bytes = 64 * line_bytes;  // of 64 x 64 elements

template <int tile_n, int stages_> struct Tile {
  static constexpr int m = 128, n = tile_n, stages = stages_;
  static constexpr int a_bytes = m / 64 * box_bytes, stage_bytes = a_bytes + n / 64 * box_bytes;
  static constexpr size_t bytes = static_cast<size_t>(stages) * stage_bytes + group_bytes;  // the beginning is rounded up
};
using WideTile = Tile<256, 4>;
using HalfTile = Tile<128, 6>;

template <class T, bool a_transposed, bool b_transposed>
__global__ void __launch_bounds__(threads, 1) tensor_warpgroup_kernel(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map, Gemm g) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [T::stages]);
  HEDDLE_SHARED(uint64_t, empty, [T::stages]);
  unsigned char* ring = memory + (group_bytes - ptx::shared_address(memory) % group_bytes) % group_bytes;
  const int64_t tiles = ((g.m + T::m - 1) / T::m) * ((g.n + T::n - 1) / T::n), deep = (g.k + depth - 1) / depth;
  Position<T::stages> at;

  if (threadIdx.x == 0) {
    for (int s = 0; s < T::stages; ++s) {
      ptx::init_barrier(&full[s], 1);
      ptx::init_barrier(&empty[s], consumers * warpgroup / warp_size);
    }
    ptx::fence_async();
    ptx::prefetch_map(&a_map);
    ptx::prefetch_map(&b_map);
  }
  __syncthreads();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<40>();
    if (threadIdx.x != 0) return;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place place = place_of<T>(tile, g.m, g.n);
      const int row = static_cast<int>(place.row), column = static_cast<int>(place.column);
      for (int64_t d = 0; d < deep; ++d, at.advance()) {
        const int k = static_cast<int>(d * depth);
        unsigned char *a_tile = ring + at.stage * T::stage_bytes, *b_tile = a_tile + T::a_bytes;
        ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);  // at once in the first round: the phase before a new barrier's counts as complete
        ptx::arrive_expecting(&full[at.stage], T::stage_bytes);
        if (a_transposed)
          for (int i = 0; i < T::m / 64; ++i) ptx::copy_box(a_tile + i * box_bytes, &a_map, row + 64 * i, k, &full[at.stage]);
        else
          ptx::copy_box(a_tile, &a_map, k, row, &full[at.stage]);
        if (b_transposed) ptx::copy_box(b_tile, &b_map, k, column, &full[at.stage]);
        else
          for (int i = 0; i < T::n / 64; ++i) ptx::copy_box(b_tile + i * box_bytes, &b_map, column + 64 * i, k, &full[at.stage]);
      }
    }
    return;
  }

  ptx::take_registers<232>();
  const int consumer = threadIdx.x / warpgroup - 1, lane = threadIdx.x % warp_size, warp = threadIdx.x % warpgroup / warp_size;
  const bool together = g.ldc % 2 == 0 && reinterpret_cast<uintptr_t>(g.c.data) % (g.c.type == DType::f32 ? 8 : 4) == 0;
  // What a descriptor's address grows by for the next 16 depths.
  constexpr int a_step = a_transposed ? 16 * line_bytes : 32, b_step = b_transposed ? 32 : 16 * line_bytes;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float sum[T::n / 2];
    HEDDLE_UNROLL
    for (int r = 0; r < T::n / 2; ++r) sum[r] = 0;
    int before = -1;  // the stage that the products under way read
    for (int64_t d = 0; d < deep; ++d, at.advance()) {
      const unsigned char *a_tile = ring + at.stage * T::stage_bytes + consumer * box_bytes, *b_tile = ring + at.stage * T::stage_bytes + T::a_bytes;
      ptx::wait_barrier(&full[at.stage], at.parity);
      ptx::fence_products();
      HEDDLE_UNROLL
      for (int k = 0; k < depth / 16; ++k)
        ptx::multiply_tiles<a_transposed, !b_transposed>(sum, ptx::describe_tile(a_tile + k * a_step, box_bytes, group_bytes),
                                                         ptx::describe_tile(b_tile + k * b_step, box_bytes, group_bytes), true);
      ptx::commit_products();
      ptx::wait_products<1>();  // those of the stage before are done
      if (before >= 0 && lane == 0) ptx::arrive(&empty[before]);
      before = at.stage;
    }
    ptx::wait_products<0>();
    HEDDLE_UNROLL
    for (int r = 0; r < T::n / 2; ++r) ptx::pin(sum[r]);
    if (lane == 0) ptx::arrive(&empty[before]);

    const Place place = place_of<T>(tile, g.m, g.n);
    HEDDLE_UNROLL
    for (int j = 0; j < T::n / 8; ++j) {
      const int64_t column = place.column + 8 * j + lane % 4 * 2;
      const bool both = column + 1 < g.n;
      float bias[2] = {};
      if (g.bias.data && column < g.n) {
        bias[0] = g.bias[column];
        if (both) bias[1] = g.bias[column + 1];
      }
      HEDDLE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t row = place.row + consumer * 64 + warp * 16 + half * 8 + lane / 4;
        if (row < g.m && column < g.n) store_pair(g.c, row * g.ldc + column, sum[4 * j + 2 * half] + bias[0], sum[4 * j + 2 * half + 1] + bias[1], both, together, g.accumulate);
      }
    }
  }
#endif
}

template <class T> void run(const Context& context, const char* name, const Gemm& g) {
  const int64_t tiles = ((g.m + T::m - 1) / T::m) * ((g.n + T::n - 1) / T::n);
  const int64_t most = static_cast<CudaAccelerator*>(context.accelerator)->properties().multiprocessors;
  const Grid grid{dim3(static_cast<unsigned>(tiles < most ? tiles : most)), dim3(threads), T::bytes};
  const CUtensorMap a = g.a_transposed ? map_of_matrix(g.a.data, g.k, g.m, g.lda, depth) : map_of_matrix(g.a.data, g.m, g.k, g.lda, T::m);
  const CUtensorMap b = g.b_transposed ? map_of_matrix(g.b.data, g.n, g.k, g.ldb, T::n) : map_of_matrix(g.b.data, g.k, g.n, g.ldb, depth);
  if (g.a_transposed) launch(context, name, grid, tensor_warpgroup_kernel<T, true, false>, a, b, g);
  else if (g.b_transposed) launch(context, name, grid, tensor_warpgroup_kernel<T, false, true>, a, b, g);
  else launch(context, name, grid, tensor_warpgroup_kernel<T, false, false>, a, b, g);
}

}  // namespace

void gemm_warpgroup(const Context& context, const char* name, const Gemm& g, const GemmChoice& choice) {
  if (choice.tile_n == 256) run<WideTile>(context, name, g);
  else run<HalfTile>(context, name, g);
}

}  // namespace cuda
}  // namespace heddle
