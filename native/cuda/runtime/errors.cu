#include "cuda/runtime/errors.h"

#include <map>
#include <mutex>

#include "cuda/runtime/context.h"
#include "runtime/devices.h"

namespace heddle {
namespace cuda {
namespace {

constexpr const char* to_go_on = "; the device \"cpu\" still works";

thread_local DeviceHealth* current = nullptr;  // the device that this thread made current

// Returns "8.0" for 800, which is how nvcc's list of architectures gives this capability.
std::string capability_text(int number) {
  return std::to_string(number / 100) + "." + std::to_string(number % 100 / 10);
}

}  // namespace

const char* code_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation: return "OUT_OF_MEMORY";

    // Errors of the driver, its version, or code for this device
    case cudaErrorInitializationError:
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorIncompatibleDriverContext:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDeviceNotLicensed:
    case cudaErrorSoftwareValidityNotEstablished:
    case cudaErrorInvalidKernelImage:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilationDisabled:
    case cudaErrorSharedObjectSymbolNotFound:
    case cudaErrorSharedObjectInitFailed:
    case cudaErrorNotPermitted:
    case cudaErrorNotSupported:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice: return "UNSUPPORTED";

    // The device or its context is gone, or CUDA reports that the state of the process is inconsistent
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsServerNotReady:
    case cudaErrorMpsMaxClientsReached:
    case cudaErrorMpsMaxConnectionsReached:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
#if CUDART_VERSION >= 12080  // releases before CUDA 12.8 lack these
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
#endif
    case cudaErrorUnknown: return "DEVICE_LOST";

    case cudaErrorOperatingSystem: return "IO";

    default: return "INTERNAL";
  }
}

std::string text_of(cudaError_t status) {
  return std::string(cudaGetErrorString(status)) + " (CUDA error " + std::to_string(static_cast<int>(status)) + ")";
}

std::string built_capabilities() {
  std::string text;
  for (const int number : {__CUDA_ARCH_LIST__}) text += (text.empty() ? "" : ", ") + capability_text(number);
  return text;
}

DeviceHealth::DeviceHealth(int index) : index_(index), name_("cuda:" + std::to_string(index)) {}

DeviceHealth& DeviceHealth::of(int index) {
  static std::mutex& mutex = *new std::mutex;  // never destroyed: threads may outlive static objects
  static auto& all = *new std::map<int, DeviceHealth*>;
  std::lock_guard<std::mutex> lock(mutex);
  DeviceHealth*& found = all[index];
  if (!found) found = new DeviceHealth(index);
  return *found;
}

cudaError_t DeviceHealth::make_current() noexcept {
  if (is_lost()) return cudaErrorLaunchFailure;
  current = this;
  return cudaSetDevice(index_);
}

void DeviceHealth::check() const {
  if (const std::string* loss = loss_.load(std::memory_order_acquire)) throw Error("DEVICE_LOST", *loss);
}

Error DeviceHealth::failure(cudaError_t status, const char* call) {
  if (const std::string* loss = loss_.load(std::memory_order_acquire)) return Error("DEVICE_LOST", *loss);
  const std::string code = code_of(status), failed = std::string(call) + ": " + text_of(status),
                    what = name_ + ": " + failed;
  if (code == "OUT_OF_MEMORY") {
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    cudaGetLastError();
    return Error("OUT_OF_MEMORY", what + ", " + std::to_string(free) + " bytes free of " + std::to_string(total));
  }
  if (code == "UNSUPPORTED") return Error("UNSUPPORTED", what + "; " + cuda_requirements(index_) + to_go_on);
  if (code == "IO") return Error("IO", what);
  if (code == "INTERNAL") return internal_error(what);
  if (!is_open_.load(std::memory_order_relaxed)) return Error("DEVICE_LOST", what + to_go_on);
  const std::string* none = nullptr;
  auto* loss =
      new std::string(name_ + ": device lost: " + failed + "; restart the process to use the device again" + to_go_on);
  if (!loss_.compare_exchange_strong(none, loss, std::memory_order_acq_rel)) delete loss;
  return Error("DEVICE_LOST", *loss_.load(std::memory_order_acquire));
}

void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears the error, which the next check would otherwise report again
  throw(current ? *current : DeviceHealth::of(0)).failure(status, call);
}

}  // namespace cuda
}  // namespace heddle
