// A build without nvcc has no CUDA devices.
#include "cuda/devices.h"

namespace heddle {

bool cuda_built() { return false; }
std::vector<CudaDevice> cuda_devices() { return {}; }

}  // namespace heddle
