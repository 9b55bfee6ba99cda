// What the block executor and the asynchronous units (asynchronous.h) ask of each other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace heddle {
namespace emulator {

// ---- the executor, block.cc and block_memory.cc ------------------------------------------------------------------------------
int running_thread();   // of the block, from 0 on
int threads_of_block();
void block_until_woken(const char* what, int line);
void wake(int thread);
bool now_rather_than_later();   // what an asynchronous unit does next: at once, later, or as the dice fall
size_t draw(size_t choices);    // 0 where the order is not random
bool draws();                   // whether it is
uintptr_t shared_address(const void* data);  // within the block's shared memory, as descriptors have it; fatal outside
char* shared_data(uintptr_t address);
size_t shared_capacity();       // of a block on the current device

// ---- the asynchronous units, asynchronous.cc and warpgroup.cc -----------------------------------------------------------------
void begin_asynchronous(int warps);  // before a block
void synchronise_clocks();           // __syncthreads
bool land_something();               // where no thread can go on; false: nothing is under way
void maybe_land();                   // between two threads
std::string unfinished();            // after a block: what is still under way, or ""
uint32_t warp_time();                        // of the running thread's warp, which barriers of the asynchronous units count
bool warp_knows(int thread, uint32_t time);  // whether they tell the running thread's warp of what `thread`'s did up to then
bool is_read_asynchronously(uintptr_t shared_address);  // or was, and nothing tells the running thread's warp that this is done
bool is_written_asynchronously(uintptr_t shared_address);

}  // namespace emulator
}  // namespace heddle
