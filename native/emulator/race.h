// The race detector of builds whose kernels are compiled with -fsanitize=thread: gcc then calls __tsan_read4(address) and its
// kin, which race.cc defines instead of libtsan. In other builds every function here does nothing.
//
// Happens-before by epochs (Flanagan & Freund 2009, "FastTrack"), with two counters in place of vector clocks: accesses of
// one block are ordered by the number of __syncthreads() between, those of one warp also by __syncwarp(). Nothing orders
// blocks. Reported: a read and a write, or two writes, of one byte that nothing orders; reads of shared memory that nobody
// wrote; any access to the destination of a cp.async that has not been waited for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

struct Epoch {
  int32_t thread = -1;  // of the grid: block * 1024 + index
  uint32_t barriers = 0, warp_syncs = 0, proxy_fences = 0;
  uint32_t time = 0;  // of the thread's warp (warp_time)
};

bool detecting_races();
void begin_grid();
void forget(const void* data, size_t bytes);  // fresh memory: nobody has written it
void copy_started(const void* to, size_t bytes);
void copy_landed(const void* to, size_t bytes);
void written_by_copy(const void* to, size_t bytes);        // by TMA: asynchronous.cc knows what orders it
void check_async_read(const void* data, size_t bytes);     // by wgmma or a bulk write, of what threads wrote: fence.proxy.async, then a barrier of any kind
void count_proxy_fence();                                  // of the running thread

// From the block executor.
uint32_t proxy_fences_of(int thread);
const Epoch* current_epoch();  // null outside kernels
bool in_shared(uintptr_t address);
bool in_device(uintptr_t address);

}  // namespace emulator
}  // namespace heddle
