// The asynchronous units of sm_90a, as the running thread calls them: barriers that count arrivals and bytes
// (mbarrier), copies of boxes (TMA), products of warpgroups (wgmma), bulk writes to global memory, and named barriers.
//
// HEDDLE_EMULATOR selects when a copy lands and when a product reads its tiles (emulator.h). The destination
// of a copy is NaN until the copy lands. The accumulators of a product are NaN until its warp has waited for it. These
// errors are fatal, in addition to those of emulator.h:
// - barriers: use before the initialization is visible to the warp; use by a copy without fence.proxy.async after the
//   initialization; too many arrivals;
// - copies: to a tile that a product may still read, unless the copying warp is ordered after the product; a copy in
//   flight when the block ends;
// - clusters: arrivals at a block that has ended or may end first, and copies to such a block; ranks that the cluster
//   does not have;
// - products: registers that change during the product; a tile whose barrier the warp has not waited for; a missing
//   wgmma.fence; warps of a warpgroup that issue different products; no wait before the block ends; in race builds,
//   tiles that threads wrote without fence.proxy.async;
// - registers: setmaxnreg.inc to fewer registers, or setmaxnreg.dec to more, than the warp has. setmaxnreg.inc to more
//   registers than the block has waits forever, which is reported as a deadlock;
// - bulk writes: in race builds, sources that a thread wrote without fence.proxy.async or without a barrier before the
//   write; sources not read when the block ends; release_word before the writes are complete; waiting for a word that
//   only a later block writes, because a later block may not have started;
// - named barriers: numbers outside 1 to 15; different thread counts; diverged lanes; a phase that no thread waits for.
//
// Barriers, including named ones and those of clusters, order copies and products. In race builds they also order
// memory accesses, per warp. Each warp has a vector clock (Mattern 1988). A barrier joins the clocks of the warps that
// arrive.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

void init_barrier(void* barrier, uint32_t count, int line);
void fence_async();  // fence.proxy.async
// Arrives at a barrier. The current phase then also waits for `expected_bytes` bytes of copies.
void arrive(void* barrier, uint32_t expected_bytes, int line);
void wait_barrier(void* barrier, uint32_t parity, int line);  // waits until the phase of that parity is complete

// Clusters. arrive_at arrives at the barrier that corresponds to `barrier` in the block with this rank.
void arrive_at(void* barrier, uint32_t rank, int line);
// Starts a copy like copy_box to the same offset in each block of the mask. Each block's own barrier counts its bytes.
void copy_box_to(void* to, const void* map, uint32_t rank, const int32_t* at, void* barrier, uint32_t mask, int line);

// Runs bar.sync, or bar.arrive if `wait` is false, on the block's barrier `number` (1 to 15) for `threads` threads.
void named_barrier(int number, int threads, bool wait, int line);

// Starts a copy of contiguous bytes from global memory to a shared address that is a multiple of 128.
void copy_bytes(void* to, const void* from, uint32_t bytes, void* barrier, int line);
// Starts a copy of the box that begins at the `rank` coordinates `at`, innermost dimension first. `map` points to a
// CUtensorMap of cuTensorMapEncodeTiled.
void copy_box(void* to, const void* map, uint32_t rank, const int32_t* at, void* barrier, int line);

// cp.async.bulk, cp.async.bulk.tensor and cp.reduce.async.bulk .add.f32 from shared to global memory, in groups of the
// running thread. write_box takes a tensor map and coordinates, as copy_box does. wait_writes reads the sources that
// have not been read yet. Without read_only, it also writes the results. Results that no thread has waited for are
// written when the block ends.
void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line);
void write_box(const void* map, uint32_t rank, const int32_t* at, const void* from, int line);
void commit_writes(int line);
void wait_writes(int pending, bool read_only, int line);  // read_only: waits only until the sources are read

// Waits until `word`, which earlier blocks set to signal their progress, has the value. Fatal if it has another value:
// blocks run one after another, so the word would never change.
void wait_for_word(const int32_t* word, int32_t value, int line);
// Sets the word, for blocks that start later. Fatal if a bulk write of the thread is in flight.
void release_word(int32_t* word, int32_t value, int line);

// The operands of one lane for c (64, n) = a (64, k) b (k, n), or += with `add`. k is 16 for bf16, and 32 for e4m3.
struct WarpgroupProduct {
  float* sums;    // the lane's n / 2 accumulators
  uint64_t a, b;  // descriptors
  int n;
  bool a_transposed, b_transposed;  // MN-major
  bool add;
  const uint32_t* left = nullptr;  // if set, a is in these four registers per lane instead of shared memory
  bool e4m3 = false;               // whether the operands are e4m3 and K-major; otherwise they are bf16
};
void warpgroup_fence(int line);
void warpgroup_product(const WarpgroupProduct& lane, int line);
void warpgroup_commit(int line);
void warpgroup_wait(int pending, int line);

// Runs setmaxnreg.inc if `take` is set, and setmaxnreg.dec otherwise. inc waits until other warps of the block have
// released enough registers.
void set_registers(int registers, bool take, int line);

// Returns the offset of an address in shared memory, which descriptors use. Fatal for addresses outside shared memory.
uintptr_t shared_address(const void* data);

}  // namespace emulator
}  // namespace heddle
