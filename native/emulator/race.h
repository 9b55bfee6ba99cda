// The race detector of race builds, which compile the kernels with -fsanitize=thread. gcc then inserts calls of
// __tsan_read4(address) and similar functions. race.cc defines them instead of libtsan. In other builds the functions
// below do nothing.
//
// Happens-before is tracked by epochs, as in FastTrack (Flanagan and Freund, 2009). Two counters replace FastTrack's
// vector clocks: __syncthreads() orders the accesses of a block, and __syncwarp() those of a warp. Blocks are
// unordered. The detector reports unordered accesses to one byte if one of them is a write. It also reports reads of
// unwritten shared memory, and accesses to the destination of a cp.async that the thread has not waited for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle {
namespace emulator {

// When and by which thread an access was made.
struct Epoch {
  int32_t thread = -1;  // the thread's index in the grid: block * 1024 + index in the block
  uint32_t barriers = 0, warp_syncs = 0, proxy_fences = 0;  // how many the thread had executed
  uint32_t time = 0;                                        // time of the thread's warp (warp_time)
};

bool detecting_races();
void begin_grid();                            // forgets all accesses of earlier grids
void forget(const void* data, size_t bytes);  // marks new memory as unwritten
// Record the start and the end of a cp.async.
void copy_started(const void* to, size_t bytes);
void copy_landed(const void* to, size_t bytes);
void written_by_copy(const void* to, size_t bytes);  // records a TMA write, whose order asynchronous.cc checks
// Checks that wgmma or a bulk write may read the bytes. Between a thread's write and the read there must be a
// fence.proxy.async of that thread and then a barrier.
void check_async_read(const void* data, size_t bytes);
void count_proxy_fence();  // counts fence.proxy.async of the running thread

// Provided by the block executor.
uint32_t proxy_fences_of(int thread);
const Epoch* current_epoch();  // null outside kernels
bool in_shared(uintptr_t address);
bool in_device(uintptr_t address);

}  // namespace emulator
}  // namespace heddle
