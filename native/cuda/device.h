// The accelerator of a CUDA lane: a device, a stream on it, and the word in which kernels report bad indices.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "runtime/accelerator.h"

namespace heddle {
namespace cuda {

void check_cuda(cudaError_t status, const char* call);  // throws INTERNAL, or OUT_OF_MEMORY

class CudaAccelerator final : public Accelerator {
 public:
  explicit CudaAccelerator(int index);  // throws UNSUPPORTED where there is none
  ~CudaAccelerator() override;

  const std::string& name() const override { return name_; }
  void* allocate(size_t bytes) override;
  void release(void* data) noexcept override;
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void clear_fault() override;
  int fault() override;

  cudaStream_t stream() const { return stream_; }
  int* fault_word() const { return fault_; }
  int multiprocessors() const { return multiprocessors_; }
  void make_current() const;  // CUDA's current device is per thread

 private:
  int index_;
  std::string name_;
  int multiprocessors_ = 0;
  cudaStream_t stream_ = nullptr;
  int* fault_ = nullptr;  // 0, or the first reporting node + 1
};

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

}  // namespace cuda
}  // namespace heddle
