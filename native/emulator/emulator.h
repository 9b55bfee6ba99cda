// A CUDA device that runs kernels as C++ on one CPU thread, to develop and test them without a GPU. Every CUDA thread
// is a fiber. Blocks run one after another. Undefined behaviour is resolved in the way that exposes errors: shared
// memory starts as NaN, and asynchronous copies land as late as the program allows, or at once, or at random. Threads
// and blocks run in order or in random order. HEDDLE_EMULATOR=lazy|eager|random:SEED selects the order; the default is
// lazy.
//
// These errors are fatal, and reported with the kernel's name and lines: a barrier or warp collective that some threads
// do not reach; lanes of a warp in different collectives; a write past shared memory; misaligned vector operands; a
// copy in flight when a thread ends.
//
// Not modelled: timing, ordering between blocks, clusters, and rounding of approximate instructions.
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

// The running CUDA thread's built-in variables, set at every switch.
extern Dim3 thread_index, block_index, block_size, grid_size;

// Runs a whole launch. Throws heddle::Error INTERNAL on any fatal error.
void run_grid(const char* kernel, Dim3 grid, Dim3 block, size_t dynamic_shared, const std::function<void()>& body);

// Waits for the launch that another thread runs.
void wait_for_grid();

// ---- called by running threads

[[noreturn]] void fatal(const std::string& message);

// The __shared__ memory of this block. All threads that pass the same key get the same memory. dynamic_shared returns
// the dynamic part of the launch.
void* shared(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared();

void barrier(int line);  // __syncthreads

// Waits until all lanes of `mask` have arrived. The last one calls `compute` for all of them. operands[i] belongs to
// lane i, and is null outside the mask.
using Compute = void (*)(void** operands, uint32_t mask);
void collective(uint32_t mask, const char* name, int line, void* operands, Compute compute);
int lane_index();

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
