#include "runtime/devices.h"

#include <cstdio>

#include "cuda/runtime/device.h"
#include "core/error.h"

namespace heddle {
namespace {

std::string version_text(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

std::string pci_bus_id(const cudaDeviceProp& p) {
  char text[40];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.0", static_cast<unsigned>(p.pciDomainID),
      static_cast<unsigned>(p.pciBusID), static_cast<unsigned>(p.pciDeviceID));
  return text;
}

// Returns the number of devices. If it is 0, `problem` says why.
int count_devices(std::string& problem) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();  // clears the error, which the next check would otherwise report
  int driver = 0, needed = 0;
  cudaDriverGetVersion(&driver);  // 0 without a driver
  cudaRuntimeGetVersion(&needed);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver && driver > 0)
    problem = "the driver supports CUDA " + version_text(driver) + ", but this build needs CUDA " +
              version_text(needed) + " or newer";
  else if (status != cudaErrorInsufficientDriver && status != cudaErrorNoDevice)
    problem = cudaGetErrorString(status);  // not thrown, because the CPU can still be used
  return 0;
}

}  // namespace

bool cuda_built() { return true; }

std::string cuda_toolkit() {
  int version = 0;
  cudaRuntimeGetVersion(&version);  // works without a driver
  return version_text(version);
}

std::string cuda_problem() {
  std::string problem;
  count_devices(problem);
  return problem;
}

std::vector<CudaDevice> cuda_devices() {
  std::string problem;
  std::vector<CudaDevice> devices;
  for (int i = 0, count = count_devices(problem); i < count; ++i) {
    cudaDeviceProp properties;
    cuda::check_cuda(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    CudaDevice device;
    device.index = i;
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.memory_bytes = properties.totalGlobalMem;
    device.multiprocessors = properties.multiProcessorCount;
    int driver = 0;
    cuda::check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    device.driver = version_text(driver);
    device.shared_bytes = properties.sharedMemPerBlockOptin;
    device.pci_bus_id = pci_bus_id(properties);
    devices.push_back(device);
  }
  return devices;
}

std::shared_ptr<Accelerator> open_cuda(int index, bool tf32) {
  return std::make_shared<cuda::CudaAccelerator>(index, tf32);
}

}  // namespace heddle
