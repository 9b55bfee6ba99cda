// The interface between the block executor and the asynchronous units (asynchronous.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace heddle {
namespace emulator {

// ---- the executor (block.cc, block_memory.cc)
const char* running_kernel();  // name of the launch
int running_thread();          // index within the block
int running_rank();            // rank of the block in its cluster
bool has_ended();              // whether all threads of the block have ended
int threads_of_block();
void block_until_woken(const char* what, int line);
void wake(int thread);
bool completes_immediately();         // whether an asynchronous operation completes at once; may be random
size_t random_below(size_t choices);  // a random number below `choices`, or 0 unless the order is random
bool is_random();                     // whether the order is random
void check_waited();                  // fatal if the running thread must call wait_for_previous first
// Returns the offset of an address in the block's shared memory. Fatal for addresses outside shared memory.
uintptr_t shared_address(const void* data);
char* shared_data(uintptr_t address);  // the inverse of shared_address
size_t shared_capacity();              // per block on the current device
// While it exists, the functions of this file and of block_memory.cc act on the block of that rank. The running thread
// stays the same.
class InBlock {
 public:
  explicit InBlock(int rank);
  ~InBlock();
  InBlock(const InBlock&) = delete;
  InBlock& operator=(const InBlock&) = delete;

 private:
  int before_;
};

// ---- the asynchronous units (asynchronous.cc, warpgroup.cc)
void begin_asynchronous(int warps);  // called before a block
void synchronise_clocks();           // called by __syncthreads
void synchronise_cluster();          // called by sync_cluster, when all threads of the cluster have arrived
void thread_ended();                 // called when a thread has ended
bool complete_one_async();           // called if no thread can run; false if nothing is in flight
void maybe_complete_async();         // called at thread switches; random order only
std::string unfinished();            // called after a block: describes unfinished work, or returns ""
// Returns the time of the running thread's warp. It advances when the warp arrives at a barrier of asynchronous.h, and
// at __syncthreads.
uint32_t warp_time();
// Whether barriers order the running warp after everything that the warp of `thread` did until `time`.
bool warp_knows(int thread, uint32_t time);
// Whether a product may still read the address: it is in flight, or no barrier orders the running warp after it.
bool is_read_asynchronously(uintptr_t shared_address);
// Whether a copy to the address is in flight.
bool is_written_asynchronously(uintptr_t shared_address);

}  // namespace emulator
}  // namespace heddle
