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
  size_t shared_bytes = 0;  // maximum of shared memory per block
  std::string driver;       // the CUDA version that the driver supports
};

bool cuda_built();                       // whether the build has CUDA kernels
std::string cuda_toolkit();              // the CUDA version of the kernels; "" if the build has none
std::vector<CudaDevice> cuda_devices();  // empty without a driver or GPU
std::string cuda_problem();  // the reason why cuda_devices() is empty although there is a driver; otherwise ""

// Opens a new stream on device `index`. With tf32, f32 products may use tensor cores, which round their operands to 10
// mantissa bits. Throws UNSUPPORTED if the device does not exist.
std::shared_ptr<Accelerator> open_cuda(int index, bool tf32 = false);

}  // namespace heddle
