// The asynchronous units of sm_90a as a running thread sees them: barriers in shared memory that count arrivals and bytes
// (mbarrier), copies of boxes of a matrix by the tensor memory accelerator (TMA), products of warpgroups (wgmma).
//
// A copy lands, and a product reads its tiles, as late as the program allows (or at once, or at random). Its destination is NaN from
// the copy's start on, sums are NaN until they are waited for. Fatal, beside what emulator.h lists:
// - barriers: used without an initialisation that is visible to the thread, or to a copy without a fence.proxy.async; arrivals beyond the count;
// - copies: over a tile that a product reads or has read, where nothing tells the copying warp that it is done; in flight at the end;
// - products: of registers that change meanwhile; of a tile whose barrier this warp has not seen completed; without a wgmma.fence; that the warps of a warpgroup do not
//   make alike; not waited for at the end; in race builds, of what threads wrote without a fence.proxy.async.
// - registers: fewer taken, or more given back, than a warp has; more than the block was launched with are waited for forever.
// - bulk writes to global memory: of shared memory that a thread wrote without a fence.proxy.async; not read when the block ends; begun before the one that a release
//   is to tell of is complete. A wait for a word that only a block begun later would write: blocks must be numbered as they begin.
// - named barriers: 0 or more than 15; another number of threads than those before it said; lanes of a warp apart; arrivals that nobody waits for. They order
//   copies and products; a race build knows that too of a kernel's own reads and writes, by warp.
// Order is known by warp: vector clocks (Mattern 1988) that pass through barriers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

void init_barrier(void* barrier, uint32_t count, int line);
void fence_async();  // fence.proxy.async
void arrive(void* barrier, uint32_t expected_bytes, int line);
void wait_barrier(void* barrier, uint32_t parity, int line);  // until the phase of that parity is complete

// bar.sync, or bar.arrive where it does not wait: barrier 1 to 15 of the block, for so many threads.
void named_barrier(int number, int threads, bool wait, int line);

// Bytes that lie together, to where 128 divides.
void copy_bytes(void* to, const void* from, uint32_t bytes, void* barrier, int line);
// The box from `at` on, as many coordinates as the tensor has dimensions, the innermost first. map: what cuTensorMapEncodeTiled made.
void copy_box(void* to, const void* map, uint32_t rank, const int32_t* at, void* barrier, int line);

// cp.async.bulk and cp.reduce.async.bulk .add.f32 from shared to global memory, in groups of the running thread: the source is read, and the result
// there, when they are waited for, or before.
void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line);
void commit_writes(int line);
void wait_writes(int pending, bool read_only, int line);  // read_only: until their sources have been read

// A word of global memory by which blocks tell one another how far they are.
void wait_for_word(const int32_t* word, int32_t value, int line);
void release_word(int32_t* word, int32_t value, int line);

// One lane's part of c (64, n) (+)= a (64, 16) b (16, n); of e4m3, 32 deep.
struct WarpgroupProduct {
  float* sums;  // n / 2
  uint64_t a, b;  // descriptors
  int n;
  bool a_transposed, b_transposed;  // M, N innermost
  bool add;
  const uint32_t* left = nullptr;  // a in four registers a lane, not in shared memory
  bool e4m3 = false;               // not bf16; the depth is innermost in both
};
void warpgroup_fence(int line);
void warpgroup_product(const WarpgroupProduct& lane, int line);
void warpgroup_commit(int line);
void warpgroup_wait(int pending, int line);

// setmaxnreg: taking waits until the block's others have given as many back.
void set_registers(int registers, bool take, int line);

uintptr_t shared_address(const void* data);  // as descriptors have it; fatal outside shared memory

}  // namespace emulator
}  // namespace heddle
