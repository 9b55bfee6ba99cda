// A build without nvcc has no CUDA devices.
#include "runtime/devices.h"
#include "runtime/collective.h"
#include "core/error.h"

namespace heddle {

bool cuda_built() { return false; }
std::string cuda_toolkit() { return ""; }
std::vector<CudaDevice> cuda_devices() { return {}; }
std::string cuda_problem() { return ""; }
std::shared_ptr<Accelerator> open_cuda(int index, bool) {
  throw Error(
      "UNSUPPORTED", "device: expected a build with CUDA, got one without (cuda:" + std::to_string(index) + ")");
}

std::string collective_id() { throw Error("UNSUPPORTED", "nccl: expected a build with CUDA, got one without"); }
std::shared_ptr<Collective> join_collective(std::shared_ptr<Accelerator>, const std::string&, int, int) {
  throw Error("UNSUPPORTED", "nccl: expected a build with CUDA, got one without");
}

}  // namespace heddle
