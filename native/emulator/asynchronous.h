// The asynchronous units of sm_90a, as a running thread uses them: barriers in shared memory that count arrivals and
// bytes (mbarrier), copies of boxes of a matrix (TMA), and products of warpgroups (wgmma).
//
// A copy lands, and a product reads its tiles, as late as the program allows (or at once, or at random). A copy's
// destination is NaN from its start on. Sums are NaN until they are waited for. These mistakes are fatal, in addition
// to those of emulator.h:
// - barriers: use before an initialization is visible to the thread, or to a copy without fence.proxy.async; too many
//   arrivals;
// - copies: to a tile that a product reads, unless the copying warp knows that the product is done; copies in flight at
//   the end;
// - products: registers that change during the product; a tile whose barrier this warp has not seen complete; no
//   wgmma.fence; warps of a warpgroup that disagree; no wait at the end; in race builds, tiles that threads wrote
//   without fence.proxy.async;
// - registers: taking fewer, or giving back more, than a warp has. Taking more than the block has waits forever;
// - bulk writes to global memory: sources that a thread wrote without fence.proxy.async; sources not read when the
//   block ends; a release before the write is complete. Waiting for a word that only a later block writes: blocks must
//   be numbered as they begin;
// - named barriers: numbers other than 1 to 15; thread counts that disagree; diverged lanes; arrivals that nobody waits
//   for. They order copies and products, and in race builds a kernel's own reads and writes by warp.
// Order is tracked per warp by vector clocks (Mattern 1988) that pass through barriers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

void init_barrier(void* barrier, uint32_t count, int line);
void fence_async();  // fence.proxy.async
void arrive(void* barrier, uint32_t expected_bytes, int line);
void wait_barrier(void* barrier, uint32_t parity, int line);  // until the phase of that parity is complete

// bar.sync, or bar.arrive if `wait` is false, on barrier 1 to 15 of the block with this number of threads.
void named_barrier(int number, int threads, bool wait, int line);

// Copies contiguous bytes to an address that is a multiple of 128.
void copy_bytes(void* to, const void* from, uint32_t bytes, void* barrier, int line);
// Copies the box that starts at the coordinates `at` (`rank` of them, innermost first). `map` comes from
// cuTensorMapEncodeTiled.
void copy_box(void* to, const void* map, uint32_t rank, const int32_t* at, void* barrier, int line);

// cp.async.bulk and cp.reduce.async.bulk .add.f32 from shared to global memory, in groups of the running thread. The
// source is read and the result written no later than the wait.
void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line);
void commit_writes(int line);
void wait_writes(int pending, bool read_only, int line);  // read_only: until their sources have been read

// Waits for a word of global memory with which blocks report their progress.
void wait_for_word(const int32_t* word, int32_t value, int line);
void release_word(int32_t* word, int32_t value, int line);

// One lane's part of c (64, n) (+)= a (64, 16) b (16, n). For e4m3 the depth is 32.
struct WarpgroupProduct {
  float* sums;    // n / 2
  uint64_t a, b;  // descriptors
  int n;
  bool a_transposed, b_transposed;  // M, N innermost
  bool add;
  const uint32_t* left = nullptr;  // if set, a is in four registers per lane instead of shared memory
  bool e4m3 = false;               // instead of bf16; the depth is then innermost in both
};
void warpgroup_fence(int line);
void warpgroup_product(const WarpgroupProduct& lane, int line);
void warpgroup_commit(int line);
void warpgroup_wait(int pending, int line);

// setmaxnreg. Taking registers waits until other warps of the block have given them back.
void set_registers(int registers, bool take, int line);

uintptr_t shared_address(const void* data);  // the form that descriptors use; fatal outside shared memory

}  // namespace emulator
}  // namespace heddle
