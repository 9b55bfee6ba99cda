// Maps the status of CUDA calls to error codes, and records which devices of this process have failed for good.
#pragma once
#include <cuda_runtime.h>

#include <atomic>
#include <string>

#include "core/error.h"

namespace heddle {
namespace cuda {

// The error code (core/error.h) of a status other than cudaSuccess.
const char* code_of(cudaError_t status);

// Returns CUDA's text of a status: "an illegal memory access was encountered (CUDA error 700)".
std::string text_of(cudaError_t status);

// The compute capabilities that this build has code for: "8.0, 9.0".
std::string built_capabilities();

// Describes what the device needs and what there is: compute capabilities, and the CUDA versions of build and driver.
std::string cuda_requirements(int index);

// A device, as this process sees it. After some errors (DEVICE_LOST), CUDA rejects all further calls of the process for
// the device. heddle then makes no more calls either, because a call may wait forever for a device that is gone.
class DeviceHealth {
 public:
  static DeviceHealth& of(int index);  // never destroyed. All accelerators of a device share it.

  // Makes the device CUDA's current one for this thread. check_cuda attributes errors to it. If the device is lost,
  // makes no call and returns cudaErrorLaunchFailure. Otherwise returns the status of cudaSetDevice.
  cudaError_t make_current() noexcept;

  bool is_lost() const noexcept { return loss_.load(std::memory_order_acquire) != nullptr; }
  // Throws DEVICE_LOST with the first failure if the device is lost.
  void check() const;
  // Returns the error of a failed call. If the device is lost, it is the error of the first failure.
  Error failure(cudaError_t status, const char* call);
  // From this call on, DEVICE_LOST marks the device as lost for good. Before the device is open, DEVICE_LOST may be
  // temporary: another process may hold the device.
  void opened() noexcept { is_open_.store(true, std::memory_order_relaxed); }

 private:
  explicit DeviceHealth(int index);

  const int index_;
  const std::string name_;
  std::atomic<bool> is_open_{false};
  std::atomic<const std::string*> loss_{nullptr};  // the message of the first failure; never freed
};

}  // namespace cuda
}  // namespace heddle
