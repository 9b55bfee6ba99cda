// Tests of clusters of two blocks: barrier.cluster, multicast copies, and arrivals at the other block's barriers
// (ptx_cluster.cuh). Section numbers are those of the PTX manual.
#pragma once
#include "cuda/ptx/ptx_cluster.cuh"
#include "cuda/runtime/tensor_map.h"
#include "device.cuh"

namespace heddle {
namespace cuda {

constexpr int pair_lines = 64, pair_phases = 3, pair_tile = pair_lines * 64;  // a tile has 64 columns

// The blocks of a cluster copy three tiles together. Each block copies half of the rows to both blocks.
// to: (4, 3, 64, 64), sizes: (4)
__global__ void __launch_bounds__(32)
    copy_pairs_once(const __grid_constant__ CUtensorMap map, uint16_t* to, int32_t* sizes) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, full, [1]);
  HEDDLE_SHARED(uint64_t, seen, [1]);
  unsigned char* tiles = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(blockIdx.x % 2) * pair_lines / 2;
  if (lane == 0) {
    ptx::init_barrier(full, 1);
    ptx::init_barrier(seen, 2);
    ptx::fence_async();
  }
  ptx::sync_cluster();
  for (int phase = 0; phase < pair_phases; ++phase) {
    if (lane == 0) {
      ptx::arrive_expecting(full, pair_lines * 128);
      ptx::copy_box_to(tiles + (phase * pair_lines + row) * 128, &map, 64 * phase, row, full, 3);
    }
    ptx::wait_barrier(full, static_cast<unsigned>(phase) % 2);
    __syncwarp();
    if (lane < 2) ptx::arrive_at(seen, static_cast<unsigned>(lane));
    ptx::wait_barrier(seen, static_cast<unsigned>(phase) % 2);
    __syncwarp();
  }
  for (int i = lane; i < pair_phases * pair_tile; i += 32)
    to[static_cast<int>(blockIdx.x) * pair_phases * pair_tile + i] = reinterpret_cast<const uint16_t*>(tiles)[i];
  if (lane == 0) sizes[blockIdx.x] = ptx::blocks_of_cluster();
  ptx::sync_cluster();
#endif
}

// Section 9.7.9.25.5.2: .multicast::cluster copies to the same offset in each block of the mask, and signals the
// mbarrier at the same offset.
void test_clusters(Device& device) {
  constexpr int columns = 64 * pair_phases, blocks = 4;
  Shared<uint16_t> matrix(device, pair_lines * columns), got(device, blocks * pair_phases * pair_tile);
  Shared<int32_t> sizes(device, blocks);
  for (size_t i = 0; i < matrix.host.size(); ++i) matrix.host[i] = static_cast<uint16_t>(i + 1);
  const CUtensorMap map = map_of_matrix(matrix.to_device(), pair_lines, columns, columns, pair_lines / 2);
  const Grid grid{dim3(blocks), dim3(32), 1024 + pair_phases * pair_tile * 2, 2};
  launch(device.context, "multicast by TMA", grid, copy_pairs_once, map, got.to_device(), sizes.to_device());
  got.back();
  sizes.back();
  bool ok = true, pairs = true;
  for (int block = 0; block < blocks; ++block) {
    pairs &= sizes.host[static_cast<size_t>(block)] == 2;
    for (int phase = 0; phase < pair_phases; ++phase)
      for (int r = 0; r < pair_lines; ++r)
        for (int c = 0; c < 64; ++c) {
          const int chunk = c / 8 ^ r % 8;  // the swizzle, as in swizzled_byte of wgmma.cuh
          const int at = (block * pair_phases + phase) * pair_tile + r * 64 + chunk * 8 + c % 8;
          ok &= got.host[static_cast<size_t>(at)] == r * columns + 64 * phase + c + 1;
        }
  }
  expect(ok, "a multicast of TMA boxes to both blocks of a cluster");
  expect(pairs, "%cluster_nctarank: the number of blocks of a cluster");
}

}  // namespace cuda
}  // namespace heddle
