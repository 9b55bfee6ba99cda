// The race detector, for builds whose kernels are compiled with -fsanitize=thread. gcc then inserts calls of
// __tsan_read4(address) and similar functions, which race.cc defines instead of libtsan. In other builds every function
// here does nothing.
//
// Happens-before is tracked by epochs (Flanagan & Freund 2009, "FastTrack"), with two counters instead of vector
// clocks. Accesses of one block are ordered by the __syncthreads() between them, and those of one warp also by
// __syncwarp(). Blocks are unordered. The detector reports unordered accesses to one byte if one of them is a write. It
// also reports reads of unwritten shared memory, and accesses to the destination of a cp.async that is not waited for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

struct Epoch {
  int32_t thread = -1;  // the thread's index in the grid: block * 1024 + index in the block
  uint32_t barriers = 0, warp_syncs = 0, proxy_fences = 0;
  uint32_t time = 0;  // time of the thread's warp (warp_time)
};

bool detecting_races();
void begin_grid();
void forget(const void* data, size_t bytes);  // marks new memory as unwritten
void copy_started(const void* to, size_t bytes);
void copy_landed(const void* to, size_t bytes);
void written_by_copy(const void* to, size_t bytes);  // a TMA write, whose order asynchronous.cc checks
// Checks a read by wgmma or a bulk write. Bytes that threads wrote need a fence.proxy.async, then a barrier.
void check_async_read(const void* data, size_t bytes);
void count_proxy_fence();  // counts fence.proxy.async of the running thread

// Provided by the block executor.
uint32_t proxy_fences_of(int thread);
const Epoch* current_epoch();  // null outside kernels
bool in_shared(uintptr_t address);
bool in_device(uintptr_t address);

}  // namespace emulator
}  // namespace heddle
