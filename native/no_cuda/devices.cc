// A build without nvcc has no CUDA devices.
#include "cuda/devices.h"
#include "runtime/error.h"

namespace heddle {

bool cuda_built() { return false; }
std::vector<CudaDevice> cuda_devices() { return {}; }
std::string cuda_problem() { return ""; }
std::shared_ptr<Accelerator> open_cuda(int index) {
  throw Error("UNSUPPORTED", "device: expected a build with CUDA, got one without (cuda:" + std::to_string(index) + ")");
}

}  // namespace heddle
