// What kernels need of the accelerator that runs them. The accelerator itself, in device.h, takes headers of the standard library that would be
// most of what a small kernel file compiles, once for each architecture.
#pragma once
#include <cuda_runtime.h>

#include "cuda/runtime/choice.h"
#include "ops/op.h"

namespace heddle {
namespace cuda {

void check_cuda(cudaError_t status, const char* call);  // throws INTERNAL

// Whether this build's code for the current device has mma.sync of 8-bit floats. gemm_fp8_tensor.cu, which alone may be compiled for sm_89 where the rest is
// not: CMakeLists.txt.
bool has_e4m3_code();

// Of the accelerator that a context names.
cudaStream_t stream_of(const Context&);
const DeviceProperties& properties_of(const Context&);
void make_current(const Context&);  // CUDA's current device is per thread

// Handed to kernels by value.
struct Fault {
  int* word;
  int node;
#if defined(__CUDACC__) || defined(__global__)
  __device__ void report() const { atomicCAS(word, 0, node + 1); }
  // Whether any kernel of this run has reported one. What outlives a run (weights, moments, caches) is then left alone.
  __device__ bool reported() const { return *word != 0; }
#endif
};
Fault fault_of(const Context&);  // what a kernel reports bad indices to, by the node's number

}  // namespace cuda
}  // namespace heddle
