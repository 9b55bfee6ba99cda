#include "cuda/devices.h"

#include <cuda_runtime.h>

#include "runtime/error.h"

namespace heddle {

static void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw internal_error(std::string(call) + ": " + cudaGetErrorString(status));
}

bool cuda_built() { return true; }

std::vector<CudaDevice> cuda_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice) {  // 35: no driver at all; 100: no GPU
    cudaGetLastError();  // the runtime keeps the last error: the next check must not see this one
    return {};
  }
  check(status, "cudaGetDeviceCount");
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    CudaDevice device;
    device.index = i;
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.memory_bytes = properties.totalGlobalMem;
    device.multiprocessors = properties.multiProcessorCount;
    devices.push_back(device);
  }
  return devices;
}

}  // namespace heddle
