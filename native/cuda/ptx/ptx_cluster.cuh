// Wrappers of the PTX instructions for clusters of blocks (sm_90a). As in ptx_sm90.cuh, each has an equivalent for the
// emulator, and section numbers are those of the PTX manual. Blocks of a cluster run at the same time. A block's rank
// in a cluster along x is blockIdx.x modulo the size of the cluster.
#pragma once
#include "cuda/ptx/ptx_sm90.cuh"

namespace heddle {
namespace cuda {
namespace ptx {

// In the emulator, each wrapper also takes the caller's line, for its error messages.
#if HEDDLE_EMULATED
#define HEDDLE_LINE , int line = __builtin_LINE()
#define HEDDLE_ONLY_LINE int line = __builtin_LINE()
#else
#define HEDDLE_LINE
#define HEDDLE_ONLY_LINE
#endif

// %cluster_nctarank (10.16): the number of blocks of the cluster. It is 1 in launches without clusters.
__device__ inline int blocks_of_cluster() {
#if HEDDLE_EMULATED
  return emulator::blocks_of_cluster();
#else
  int blocks = 1;
#if HEDDLE_SM90A
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
#endif
  return blocks;
#endif
}

// barrier.cluster (9.7.13.3): waits until all threads of the cluster have called it. All threads then see what the
// others did before, including mbarrier initialization.
__device__ inline void sync_cluster(HEDDLE_ONLY_LINE) {
#if HEDDLE_EMULATED
  emulator::sync_cluster(line);
#elif HEDDLE_SM90A
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

// mapa (9.7.9.23) and mbarrier.arrive (9.7.13.15.13): arrives at the barrier of the block with this rank that is at the
// same offset as `barrier`. Its release semantics have the scope of a block, so it makes no writes visible to another
// block. But products that wait_products has completed have read their tiles. Copies that follow the arrival thus
// cannot change what these products read.
__device__ inline void arrive_at(uint64_t* barrier, unsigned rank HEDDLE_LINE) {
#if HEDDLE_EMULATED
  emulator::arrive_at(barrier, rank, line);
#elif HEDDLE_SM90A
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}\n" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}

// cp.async.bulk.tensor.2d.multicast::cluster (9.7.9.25.5.2): like copy_box, to the same offset in each block whose bit
// is set in `blocks`. In each, the bytes count toward the barrier at the same offset as `barrier`.
__device__ inline void copy_box_to(
    void* to, const void* map, int column, int row, uint64_t* barrier, uint16_t blocks HEDDLE_LINE) {
#if HEDDLE_EMULATED
  const int32_t at[2] = {column, row};
  emulator::copy_box_to(to, map, 2, at, barrier, blocks, line);
#elif HEDDLE_SM90A
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, "
      "%4}], [%2], %5;" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row), "h"(blocks)
      : "memory");
#endif
}

#undef HEDDLE_LINE
#undef HEDDLE_ONLY_LINE

}  // namespace ptx
}  // namespace cuda
}  // namespace heddle
