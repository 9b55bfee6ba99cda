// The interface between the block executor and the asynchronous units (asynchronous.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace heddle {
namespace emulator {

// ---- the executor, block.cc and block_memory.cc
// ------------------------------------------------------------------------------
int running_thread();  // index within the block
int threads_of_block();
void block_until_woken(const char* what, int line);
void wake(int thread);
bool now_rather_than_later();  // whether an asynchronous unit acts now: always, never, or at random
size_t draw(size_t choices);   // returns 0 unless the order is random
bool draws();                  // whether the order is random
// offset in the block's shared memory, as descriptors use it; fatal outside
uintptr_t shared_address(const void* data);
char* shared_data(uintptr_t address);
size_t shared_capacity();  // per block on the current device

// ---- the asynchronous units, asynchronous.cc and warpgroup.cc
// -----------------------------------------------------------------
void begin_asynchronous(int warps);  // before a block
void synchronise_clocks();           // __syncthreads
bool land_something();               // called when no thread can continue; false if nothing is in flight
void maybe_land();                   // between two threads
std::string unfinished();            // called after a block: describes unfinished work, or returns ""
// time of the running thread's warp, as barriers of the asynchronous units count it
uint32_t warp_time();
// whether the running warp knows what the warp of `thread` did until `time`
bool warp_knows(int thread, uint32_t time);
// or was read, and the running warp does not know that this is done
bool is_read_asynchronously(uintptr_t shared_address);
bool is_written_asynchronously(uintptr_t shared_address);

}  // namespace emulator
}  // namespace heddle
