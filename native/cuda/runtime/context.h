// The part of the accelerator's interface that kernel files need. They do not include device.h, because nvcc would
// compile its large standard headers once per architecture.
#pragma once
#include <cuda_runtime.h>

#include "cuda/runtime/choice.h"
#include "ops/op.h"

namespace heddle {
namespace cuda {

// Throws the error of a failed call (errors.h) on the device that this thread made current.
void check_cuda(cudaError_t status, const char* call);

// Whether this build's code for the current device has mma.sync of e4m3. Defined in gemm_fp8_tensor.cu, because some
// builds have code for sm_89 in that file alone (see CMakeLists.txt).
bool has_e4m3_code();

// The stream, properties and device of the context's accelerator. CUDA's current device is per thread.
cudaStream_t stream_of(const Context&);
const DeviceProperties& properties_of(const Context&);
void make_current(const Context&);
// Raises a kernel's limit of dynamic shared memory to at least `bytes` on the context's device, which must be current.
// All threads share the limit. It is never lowered, because another thread may be about to launch the kernel with more.
void allow_shared(const Context&, const void* kernel, size_t bytes, const char* name);

// Reports operands that a kernel cannot use, such as an index out of range. Kernels take it by value. `word` is the
// accelerator's fault word, and `node` the index of the node that the kernel computes.
struct Fault {
  int* word;
  int node;
#if defined(__CUDACC__) || defined(__global__)
  // Stores the node in the fault word, unless a fault has been reported before.
  __device__ void report() const { atomicCAS(word, 0, node + 1); }
  // Whether a kernel of this run has reported a fault. If so, kernels leave weights, moments and caches unchanged.
  __device__ bool reported() const { return *word != 0; }
#endif
};
Fault fault_of(const Context&);  // the Fault of the context's current node

}  // namespace cuda
}  // namespace heddle
