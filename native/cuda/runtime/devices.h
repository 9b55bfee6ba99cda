// The CUDA devices of this machine. native/no_cuda defines the same functions for builds without nvcc.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "runtime/accelerator.h"

namespace heddle {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  size_t memory_bytes = 0;
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // that a block may ask for
  std::string driver;       // the version of CUDA that its driver speaks
};

bool cuda_built();                       // false: compiled without nvcc
std::vector<CudaDevice> cuda_devices();  // empty without a driver or GPU
std::string cuda_problem();              // why it is empty, where a driver is there all the same; else empty

// Opens a new stream on device `index`. With tf32, f32 products may use tensor cores, which round their operands to 10
// mantissa bits. Throws UNSUPPORTED if the device does not exist.
std::shared_ptr<Accelerator> open_cuda(int index, bool tf32 = false);

}  // namespace heddle
