// Failures that tests plant in the emulated runtime library. HEDDLE_EMULATE_FAILURE lists them, separated by commas:
//
//   DEVICE:CALL:COUNT:STATUS[:always|:lost]
//
// The call number COUNT of the function CALL on the device returns STATUS and has no effect. Calls are counted from the
// moment that the list is set. `always`: so do all later calls of that function. `lost`: so do all later calls of all
// functions on the device until the process ends, as after CUDA's sticky errors.
//
// CALL may also be `cudaLaunchKernel`: the launch of a kernel then fails. It may also be `work`: the device then fails
// at its kernel or copy number COUNT, and the call that waits for the stream returns STATUS.
#pragma once
#include "cuda_runtime.h"

namespace heddle {
namespace emulator {

// The status that a call on a device must return without any effect, or cudaSuccess.
cudaError_t failure_of(const char* call, int device);
cudaError_t failure_of(const char* call);  // on the current device

}  // namespace emulator
}  // namespace heddle
