#include "runtime/devices.h"

#include <cstdio>
#include <cstring>
#include <mutex>

#include "cuda/runtime/device.h"
#include "cuda/runtime/errors.h"

namespace heddle {
namespace {

std::string version_text(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

std::string capability_of(const CudaDevice& d) { return std::to_string(d.major) + "." + std::to_string(d.minor); }

std::string pci_bus_id(const cudaDeviceProp& p) {
  char text[40];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.0", static_cast<unsigned>(p.pciDomainID),
      static_cast<unsigned>(p.pciBusID), static_cast<unsigned>(p.pciDeviceID));
  return text;
}

// Returns advice for a status of cudaGetDeviceCount, or "".
std::string advice(cudaError_t status) {
  switch (status) {
    case cudaErrorSystemDriverMismatch:
      return ": restart the machine, because the driver's kernel module and its library have different versions";
    case cudaErrorSystemNotReady: return ": start nvidia-fabricmanager";
    default: return "";
  }
}

int driver_version() {
  int version = 0;
  cudaDriverGetVersion(&version);  // 0 without a driver
  cudaGetLastError();
  return version;
}

// Explains a failed cudaGetDeviceCount. "" without a driver.
std::string problem_of(cudaError_t status) {
  const int driver = driver_version();
  if (status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice) {
    if (!driver) return "";
    if (status == cudaErrorNoDevice)
      return "the driver finds no GPU; the container or CUDA_VISIBLE_DEVICES may hide it";
    return "the driver supports CUDA " + version_text(driver) + ", but this build needs CUDA " + cuda_toolkit() +
           " or newer";
  }
  return cuda::text_of(status) + advice(status);
}

CudaDevice device_of(int index, const cudaDeviceProp& properties) {
  CudaDevice device;
  device.index = index;
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  device.memory_bytes = properties.totalGlobalMem;
  device.multiprocessors = properties.multiProcessorCount;
  device.driver = version_text(driver_version());
  device.shared_bytes = properties.sharedMemPerBlockOptin;
  device.pci_bus_id = pci_bus_id(properties);
  return device;
}

struct Survey {
  std::vector<CudaDevice> devices;
  std::string problem;
};

// Finds the devices. Does not throw, because the CPU can be used whatever the state of the devices is.
Survey survey() {
  // CUDA may refuse even these calls once a device of the process is lost. The devices of a process do not change, so
  // the last survey still holds.
  static std::mutex& mutex = *new std::mutex;  // never destroyed: threads may outlive static objects
  static Survey& last = *new Survey;
  std::lock_guard<std::mutex> lock(mutex);
  Survey found;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) found.problem = problem_of(status), count = 0;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    const cudaError_t read = cudaGetDeviceProperties(&properties, i);
    if (read == cudaSuccess) {
      found.devices.push_back(device_of(i, properties));
      continue;
    }
    status = read;
    found.problem = "cuda:" + std::to_string(i) + ": cudaGetDeviceProperties: " + cuda::text_of(read);
  }
  cudaGetLastError();  // clears the error, which the next check would otherwise report
  const bool is_lost = status != cudaSuccess && std::strcmp(cuda::code_of(status), "DEVICE_LOST") == 0;
  if (is_lost && !last.devices.empty()) return last;
  return last = found;
}

}  // namespace

namespace cuda {
std::string cuda_requirements(int index) {
  std::string text;
  for (const CudaDevice& device : survey().devices)
    if (device.index == index) text = device.name + " has compute capability " + capability_of(device) + "; ";
  const int driver = driver_version();
  return text + "this build has kernels for " + built_capabilities() + " and needs a driver for CUDA " +
         cuda_toolkit() + ", " +
         (driver ? "this driver supports CUDA " + version_text(driver) : "and there is no driver");
}
}  // namespace cuda

bool cuda_built() { return true; }

std::string cuda_toolkit() {
  int version = 0;
  cudaRuntimeGetVersion(&version);  // works without a driver
  return version_text(version);
}

std::string cuda_problem() { return survey().problem; }

std::vector<CudaDevice> cuda_devices() { return survey().devices; }

std::shared_ptr<Accelerator> open_cuda(int index, bool tf32) {
  return std::make_shared<cuda::CudaAccelerator>(index, tf32);
}

}  // namespace heddle
