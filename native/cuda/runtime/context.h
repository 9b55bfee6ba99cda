// The parts of the accelerator that kernels need. device.h also includes large standard headers, which every kernel
// file would compile once per architecture.
#pragma once
#include <cuda_runtime.h>

#include "cuda/runtime/choice.h"
#include "ops/op.h"

namespace heddle {
namespace cuda {

void check_cuda(cudaError_t status, const char* call);  // throws INTERNAL

// Whether this build's code for the current device has mma.sync of e4m3. Defined in gemm_fp8_tensor.cu, because only
// that file may be compiled for sm_89 (see CMakeLists.txt).
bool has_e4m3_code();

// The stream of the context's accelerator.
cudaStream_t stream_of(const Context&);
const DeviceProperties& properties_of(const Context&);
void make_current(const Context&);  // CUDA's current device is per thread
// Raises a kernel's limit of dynamic shared memory to `bytes` on the context's device, which must be current. The limit
// belongs to the process. It is never lowered, because another thread may be about to launch the kernel with more.
void allow_shared(const Context&, const void* kernel, size_t bytes, const char* name);

// Lets kernels report invalid indices. Passed to kernels by value.
struct Fault {
  int* word;
  int node;
#if defined(__CUDACC__) || defined(__global__)
  __device__ void report() const { atomicCAS(word, 0, node + 1); }
  // Whether a kernel of this run has reported a fault. Kernels then leave weights, moments and caches unchanged.
  __device__ bool reported() const { return *word != 0; }
#endif
};
Fault fault_of(const Context&);  // its reports carry the index of the current node

}  // namespace cuda
}  // namespace heddle
