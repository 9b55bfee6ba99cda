// A CUDA device that runs kernels as C++ on one CPU thread, to develop and test them without a GPU. Every CUDA thread
// is a fiber. Clusters of blocks run one after another. Where CUDA leaves a result undefined, the emulator chooses one
// that exposes errors. For example, shared memory starts as NaN. HEDDLE_EMULATOR selects when asynchronous copies land:
// `lazy`, the default, as late as the program allows; `eager` at once; `random:SEED` at random times. `random` also
// runs threads and blocks in random order.
//
// These errors are fatal. Reports name the kernel and the block, and for barriers and collectives the source lines.
//   - a barrier or warp collective that some threads do not reach
//   - lanes of a warp in different collectives
//   - a write past shared memory
//   - misaligned operands of ldmatrix and cp.async, and in race builds any misaligned access
//   - a cp.async in flight when a thread ends
//   - clusters: a block that may end before a thread of another block accesses its shared memory, or a bulk copy to it
//     lands
//   - a kernel with a PreviousKernel (cuda/runtime/launch.cuh): a thread that ends without wait(), and atomics and
//     asynchronous copies before it; in race builds, any access of global memory before it
//
// Not modeled: timing, ordering between clusters, and rounding of approximate instructions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace heddle {
namespace emulator {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
  size_t size() const { return size_t{x} * y * z; }
};

// The built-in variables of the running CUDA thread. A switch to another thread sets thread_index.
extern Dim3 thread_index, block_index, block_size, grid_size;

// Runs a whole launch. Throws heddle::Error INTERNAL on any fatal error. `waits`: every thread must call
// wait_for_previous before it accesses global memory. A cluster has `cluster` blocks along x.
void run_grid(const char* kernel, Dim3 grid, Dim3 block, size_t dynamic_shared, const std::function<void()>& body,
    bool waits = false, unsigned cluster = 1);

// Waits until no thread runs a launch.
void wait_for_grid();

// ---- called by running CUDA threads

// Ends the launch with an error. Only the first one of a block is reported.
[[noreturn]] void fatal(const std::string& message);

// Returns __shared__ memory of this block. All threads that pass the same key get the same memory. dynamic_shared
// returns the dynamic shared memory of the launch.
void* shared(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared();

void barrier(int line);       // __syncthreads
int blocks_of_cluster();      // %cluster_nctarank
void sync_cluster(int line);  // barrier.cluster.arrive and barrier.cluster.wait
void wait_for_previous();     // griddepcontrol.wait. Returns at once, because launches run one after another

// Waits until all lanes of `mask` have called it. The last lane then calls `compute`, if it is not null, for all of
// them. operands[i] is what lane i passed, and null for lanes outside the mask.
using Compute = void (*)(void** operands, uint32_t mask);
void collective(uint32_t mask, const char* name, int line, void* operands, Compute compute);
int lane_index();  // of the running thread in its warp

// cp.async of 4, 8 or 16 bytes. The first source_bytes are read, and the rest become zeros.
void copy_async(void* to, const void* from, int bytes, int source_bytes);
void commit_copies();
void wait_copies(int pending);  // waits until at most `pending` of this thread's groups are in flight

// Atomic operations, which the race detector ignores.
uint32_t atomic_cas(uint32_t* at, uint32_t expected, uint32_t value);
float atomic_add(float* at, float value);
uint32_t atomic_add(uint32_t* at, uint32_t value);
uint64_t atomic_add(uint64_t* at, uint64_t value);

// ---- memory

void* allocate_device(size_t bytes);  // filled with NaN
bool release_device(void* data);      // false if `data` is not an allocation
bool past_end(const void* data);      // whether the red zone after an allocation was written

}  // namespace emulator
}  // namespace heddle
