// The CUDA devices of this machine. native/no_cuda defines the same functions for builds without nvcc.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace heddle {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  size_t memory_bytes = 0;
  int multiprocessors = 0;
};

bool cuda_built();                        // false: compiled without nvcc
std::vector<CudaDevice> cuda_devices();   // empty where there is no driver or no GPU

}  // namespace heddle
