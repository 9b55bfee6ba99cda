// The CUDA devices of this machine. native/no_cuda defines the same functions for builds without nvcc.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/accelerator.h"

namespace heddle {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  size_t memory_bytes = 0;
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // maximum shared memory per block, with opt-in
  std::string driver;       // the CUDA version that the driver supports
  std::string pci_bus_id;   // "domain:bus:device.function" in hexadecimal, as nvidia-smi takes it
};

bool cuda_built();                       // whether the build has CUDA kernels
std::string cuda_toolkit();              // the CUDA version of the build; "" without CUDA kernels
std::vector<CudaDevice> cuda_devices();  // empty without a driver or GPU. Lists lost devices too. Does not throw
std::string cuda_problem();              // why devices are missing although there is a driver; "" otherwise

// Opens device `index` with a new stream. With tf32, products of f32 may use tensor cores, which round the operands to
// 10 mantissa bits. Throws UNSUPPORTED if the device does not exist or this build has no kernels for it. Throws
// DEVICE_LOST if the device has failed in this process, or another process holds it.
std::shared_ptr<Accelerator> open_cuda(int index, bool tf32 = false);

}  // namespace heddle
