// The asynchronous units of sm_90a, as called by the running thread: barriers in shared memory that count arrivals and
// bytes (mbarrier), copies of boxes of a matrix (TMA), and products of warpgroups (wgmma).
//
// A copy lands, and a product reads its tiles, as late as the program allows, or at once, or at random. The destination
// of a copy is NaN from its start until it lands. Accumulators are NaN until they are waited for. These errors are
// fatal, in addition to those of emulator.h:
// - barriers: use before the initialization is visible to the thread; use by a copy without fence.proxy.async; too many
//   arrivals;
// - copies: to a tile that a product may still read, unless the copying warp knows that the product is complete; copies
//   in flight when the block ends;
// - products: registers that change during the product; a tile whose barrier this warp has not seen complete; a missing
//   wgmma.fence; warps of a warpgroup that issue different products; no wait before the block ends; in race builds,
//   tiles that threads wrote without fence.proxy.async;
// - registers: setmaxnreg.inc to fewer, or setmaxnreg.dec to more than a warp has. Taking more registers than the block
//   has waits forever;
// - bulk writes to global memory: sources that a thread wrote without fence.proxy.async; sources not read when the
//   block ends; release_word before the writes are complete; waiting for a word that only a later block writes, because
//   a later block may not have started;
// - named barriers: numbers outside 1 to 15; different thread counts; diverged lanes; an arrival without a waiter.
//
// Barriers, named ones included, order copies and products. In race builds they also order memory accesses, per warp.
// Order is tracked by a vector clock per warp (Mattern 1988). A barrier joins the clocks of the warps that arrive.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

void init_barrier(void* barrier, uint32_t count, int line);
void fence_async();  // fence.proxy.async
void arrive(void* barrier, uint32_t expected_bytes, int line);
void wait_barrier(void* barrier, uint32_t parity, int line);  // waits until the phase of that parity is complete

// Runs bar.sync, or bar.arrive if `wait` is false, on the block's barrier `number` (1 to 15) for `threads` threads.
void named_barrier(int number, int threads, bool wait, int line);

// Copies contiguous bytes from global memory to a shared address that is a multiple of 128.
void copy_bytes(void* to, const void* from, uint32_t bytes, void* barrier, int line);
// Copies the box that starts at the coordinates `at`. These are `rank` numbers, innermost dimension first. `map` comes
// from cuTensorMapEncodeTiled.
void copy_box(void* to, const void* map, uint32_t rank, const int32_t* at, void* barrier, int line);

// cp.async.bulk and cp.reduce.async.bulk .add.f32 from shared to global memory, in groups of the running thread. The
// source is read and the result written no later than the wait.
void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line);
void commit_writes(int line);
void wait_writes(int pending, bool read_only, int line);  // read_only: waits only until the sources are read

// Checks the word with which earlier blocks signal their progress. Blocks run one after another, so another value is a
// deadlock.
void wait_for_word(const int32_t* word, int32_t value, int line);
void release_word(int32_t* word, int32_t value, int line);

// One lane's operands of c (64, n) (+)= a (64, 16) b (16, n). For e4m3, k has 32 elements instead of 16.
struct WarpgroupProduct {
  float* sums;    // the lane's n / 2 accumulators
  uint64_t a, b;  // descriptors
  int n;
  bool a_transposed, b_transposed;  // MN-major
  bool add;
  const uint32_t* left = nullptr;  // if set, a is in four registers per lane instead of shared memory
  bool e4m3 = false;               // whether the operands are e4m3 and K-major; otherwise they are bf16
};
void warpgroup_fence(int line);
void warpgroup_product(const WarpgroupProduct& lane, int line);
void warpgroup_commit(int line);
void warpgroup_wait(int pending, int line);

// Runs setmaxnreg.inc if `take` is set, and setmaxnreg.dec otherwise. inc waits until other warps of the block have
// released enough registers.
void set_registers(int registers, bool take, int line);

// Returns the offset in shared memory, as descriptors use it. Fatal for addresses outside shared memory.
uintptr_t shared_address(const void* data);

}  // namespace emulator
}  // namespace heddle
