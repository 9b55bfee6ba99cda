// A CUDA device that runs kernels as C++ on one thread of the CPU, to develop and test them where there is no GPU. Every CUDA
// thread is a fiber; blocks run one after another. What a real device leaves open is done in the way that shows mistakes:
// shared memory starts as NaN, asynchronous copies land as late as the program allows (or at once, or at random), threads
// and blocks run in turn or at random. HEDDLE_EMULATOR=lazy|eager|random:SEED chooses; lazy where not set.
//
// Fatal, with the kernel's name and the lines: a barrier or warp collective that some threads do not reach, lanes of a warp
// in different collectives, a write past shared memory, misaligned vector operands, a copy in flight at a thread's end.
//
// Not modelled: timing, ordering between blocks, clusters, rounding of approximate instructions.
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

// Runs a whole launch. Throws heddle::Error INTERNAL on anything fatal.
void run_grid(const char* kernel, Dim3 grid, Dim3 block, size_t dynamic_shared, const std::function<void()>& body);

// ---- called by running threads ------------------------------------------------------------------------------------------

[[noreturn]] void fatal(const std::string& message);

// __shared__ memory of this block: the same for every thread that names the same key. `dynamic`: what the launch asked for.
void* shared(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared();

void barrier(int line);  // __syncthreads

// All lanes of `mask` meet; the last to arrive computes for all of them. operands[i] is lane i's, null outside the mask.
using Compute = void (*)(void** operands, uint32_t mask);
void collective(uint32_t mask, const char* name, int line, void* operands, Compute compute);
int lane_index();

// cp.async of 4, 8 or 16 bytes, of which the first source_bytes are read and the rest are zeros.
void copy_async(void* to, const void* from, int bytes, int source_bytes);
void commit_copies();
void wait_copies(int pending);  // until at most that many of this thread's groups are under way

// Atomic operations, which the race detector leaves out.
uint32_t atomic_cas(uint32_t* at, uint32_t expected, uint32_t value);
float atomic_add(float* at, float value);
uint32_t atomic_add(uint32_t* at, uint32_t value);

// ---- memory ---------------------------------------------------------------------------------------------------------------

void* allocate_device(size_t bytes);  // filled with NaN
bool release_device(void* data);      // false: not one
bool past_end(const void* data);      // something was written behind an allocation

}  // namespace emulator
}  // namespace heddle
