// State that the files of the simulated runtime share. Every function of the runtime's API that accesses it holds
// `lock()`.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "simulator/machine/cubin.h"
#include "simulator/machine/machine.h"

#define SIMULATOR_API extern "C" __attribute__((visibility("default")))

namespace simulator {

// The PTX of one fat binary, and what its machine code says about registers.
struct FatBinary {
  std::vector<std::string> texts;  // PTX of every architecture, in the order of the binary
  std::vector<Cubin> cubins;       // of every architecture
  std::unique_ptr<Module> module;  // the PTX for the simulated device, parsed at the first use
};

// A __global__ function of the program.
struct Entry {
  FatBinary* binary = nullptr;
  std::string name;
  std::unique_ptr<Kernel> kernel;  // decoded at the first use
  // cudaFuncAttributeMaxDynamicSharedMemorySize. Unless it was set, static and dynamic shared memory have 48 KB
  // together.
  size_t dynamic_limit = size_t{48} << 10;
  bool opted_in = false;  // the attribute was set
};

constexpr int device_count = 1;
struct DeviceLimits {
  int major, minor, multiprocessors;
  size_t shared_optin;
  const char* name;
};
const DeviceLimits& device();

std::recursive_mutex& lock();
Entry* entry_of(const void* host_function);  // null: not registered
// Returns the kernel, or null if the binary has no code for the device.
const Kernel* kernel_of(Entry& entry);

// Records an error for cudaGetLastError, and returns it.
cudaError_t report(cudaError_t status);
// Prints a failed launch or copy, and records its message for cudaGetErrorString. Returns cudaErrorLaunchFailure.
cudaError_t report_failure(const std::string& what);

using Work = std::function<void()>;
// Queues work on a stream, or adds it to the graph that the stream captures.
cudaError_t enqueue(cudaStream_t stream, Work work, bool is_kernel = false);
// Whether the last work of the stream, or of the graph that it captures, is a kernel.
bool follows_kernel(cudaStream_t stream);
// Run the queued work of all streams that do not capture, or of one stream.
cudaError_t drain_all();
cudaError_t drain(cudaStream_t stream);
void run_launch(Launch& launch);

}  // namespace simulator
