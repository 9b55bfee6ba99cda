// Matrix products of 8-bit floats (e4m3) on the tensor cores of sm_90a. The ring and the roles of warpgroups are those
// of gemm_sm90.cu. A stage has 128 elements along k, which share a scale. Tensor cores accumulate the products of a
// stage with fewer bits than f32. These sums are then scaled, and added to f32 sums in other registers. After
// "DeepSeek-V3 Technical Report" (2024), 3.3.2, and DeepGEMM (DeepSeek 2025).
//
// Both operands are K-major, as wgmma requires for e4m3. An output tile is 128 columns wide, so that at each stage, its
// columns share one scale of the weight.
#include "cuda/quant/fp8.cuh"
#include "cuda/gemm/gemm_sm90.cuh"

namespace heddle {
namespace cuda {
namespace {

using namespace sm90;

constexpr int depth = fp8_block;
using Tile = RingTile<128, 6, 128 * depth, 128 * depth>;

__global__ void __launch_bounds__(threads, 1) tensor_warpgroup_fp8_kernel(PreviousKernel previous,
    const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map, Fp8Gemm g) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [Tile::stages]);
  HEDDLE_SHARED(uint64_t, empty, [Tile::stages]);
  unsigned char* ring = ring_in(memory);
  const int64_t tiles = tiles_of<Tile>(g.m, g.n), deep = blocks_of(g.k);
  Position<Tile::stages> at;

  if (threadIdx.x == 0) {
    ptx::prefetch_map(&a_map);
    ptx::prefetch_map(&b_map);
  }
  begin_ring(full, empty);
  previous.wait();

  if (threadIdx.x < warpgroup) {
    ptx::give_registers<producer_registers>();
    if (threadIdx.x != 0) return;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place place = place_of<Tile>(tile, g.m, g.n);
      for (int64_t d = 0; d < deep; ++d, at.advance()) {
        unsigned char* a_tile = ring + at.stage * Tile::stage_bytes;
        // In the first round, the wait returns at once: for a new barrier, the phase of parity 1 counts as complete.
        ptx::wait_barrier(&empty[at.stage], at.parity ^ 1);
        ptx::arrive_expecting(&full[at.stage], Tile::stage_bytes);
        ptx::copy_box(a_tile, &a_map, static_cast<int>(d * depth), static_cast<int>(place.row), &full[at.stage]);
        ptx::copy_box(a_tile + Tile::a_bytes, &b_map, static_cast<int>(d * depth), static_cast<int>(place.column),
            &full[at.stage]);
      }
    }
    return;
  }

  ptx::take_registers<consumer_registers>();
  constexpr int sums = Tile::n / 2;
  const int consumer = threadIdx.x / warpgroup - 1, lane = threadIdx.x % warp_size,
            warp = threadIdx.x % warpgroup / warp_size;
  float* staging =
      reinterpret_cast<float*>(ring + Tile::stages * Tile::stage_bytes) + (consumer * 4 + warp) * staged_floats;
  float sum[sums], total[sums];  // the sums of a stage, and the scaled sums of all stages
  HEDDLE_UNROLL
  for (int r = 0; r < sums; ++r) sum[r] = 0;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const Place place = place_of<Tile>(tile, g.m, g.n);
    const int64_t row = place.row + consumer * 64 + warp * 16 + lane / 4;  // the lane also has row + 8
    HEDDLE_UNROLL
    for (int r = 0; r < sums; ++r) total[r] = 0;
    for (int64_t d = 0; d < deep; ++d, at.advance()) {
      const unsigned char *a_tile = ring + at.stage * Tile::stage_bytes + consumer * 64 * depth,
                          *b_tile = ring + at.stage * Tile::stage_bytes + Tile::a_bytes;
      ptx::wait_barrier(&full[at.stage], at.parity);
      ptx::fence_products();
      HEDDLE_UNROLL
      for (int k = 0; k < depth / 32; ++k)
        ptx::multiply_e4m3_tiles(sum, ptx::describe_tile(a_tile + 32 * k, ptx::k_major, group_bytes),
            ptx::describe_tile(b_tile + 32 * k, ptx::k_major, group_bytes), k > 0);
      ptx::commit_products();
      // Loads the scales of the lane's two rows and of the weight's block while the products run.
      float scale[2];
      HEDDLE_UNROLL
      for (int half = 0; half < 2; ++half)
        scale[half] = row + 8 * half < g.m ? g.rounded.scale_at(row + 8 * half, d * depth) : 0.0f;
      const float of_weight = g.w.scale_at(place.column, d * depth);
      ptx::wait_products<0>();
      HEDDLE_UNROLL
      for (int r = 0; r < sums; ++r) ptx::pin(sum[r]);
      if (lane == 0) ptx::arrive(&empty[at.stage]);
      HEDDLE_UNROLL
      for (int r = 0; r < sums; ++r) total[r] += scale[r / 2 % 2] * of_weight * sum[r];
    }
    epilogue_sums<false>(g.epilogue(), staging, row - lane / 4, place.column, total);
  }
#endif
}

}  // namespace

void gemm_fp8_warpgroup(const Context& context, const char* name, const Fp8Gemm& g) {
  launch(context, name, grid_of<Tile>(context, g.m, g.n), tensor_warpgroup_fp8_kernel,
      map_of_bytes(g.rounded.q, g.m, g.k, g.rounded.ld, Tile::m), map_of_bytes(g.w.q, g.n, g.k, g.w.ld, Tile::n), g);
}

}  // namespace cuda
}  // namespace heddle
