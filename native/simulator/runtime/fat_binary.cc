// Launches, and the functions by which nvcc's host code registers fat binaries and kernels (crt/host_runtime.h).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "simulator/machine/decode.h"
#include "simulator/machine/settings.h"
#include "simulator/ptx/mutate.h"
#include "simulator/runtime/state.h"

namespace simulator {
namespace {

struct Wrapper {  // __fatBinC_Wrapper_t of fatbinary_section.h
  int magic, version;
  const unsigned char* data;
  void* unused;
};
struct Header {  // header of the fat binary
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes;
};
struct Part {  // the first fields of the header of a part; a part has the code for one architecture
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t bytes;
};
constexpr int wrapper_magic = 0x466243b1;
constexpr uint32_t header_magic = 0xba55ed50;
constexpr uint16_t ptx_kind = 1, cubin_kind = 2;

std::map<const void*, Entry>& entries() {
  static auto& all = *new std::map<const void*, Entry>;  // never destroyed, because the program unregisters at exit
  return all;
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "heddle's CUDA simulator: %s\n", what);
  std::abort();
}

// The launch configurations that <<<...>>> has pushed and the kernel's stub has not popped.
struct Call {
  dim3 grid, threads;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Call> calls;

}  // namespace

Entry* entry_of(const void* host_function) {
  const auto found = entries().find(host_function);
  return found == entries().end() ? nullptr : &found->second;
}

// Returns the registers per thread of a kernel, according to its machine code for the simulated device.
static int registers_of(const FatBinary& binary, const std::string& name) {
  for (const Cubin& cubin : binary.cubins)
    if (cubin.capability == (settings().hopper ? 90 : 80) && cubin.registers.count(name))
      return cubin.registers.at(name);
  throw Failure(name + ": the fat binary has no machine code for the device, from which to read its registers");
}

const Kernel* kernel_of(Entry& entry) {
  if (entry.kernel) return entry.kernel.get();
  FatBinary& binary = *entry.binary;
  if (!binary.module) {
    const std::string wanted = settings().hopper ? ".target sm_90a" : ".target sm_80";
    for (const std::string& text : binary.texts)
      if (text.find(wanted) != std::string::npos) binary.module = std::make_unique<Module>(text);
    if (!binary.module) return nullptr;
  }
  if (!binary.module->entries.count(entry.name)) return nullptr;
  const Module module(mutated(*binary.module, entry.name));
  const std::unique_ptr<Function> function = module.parse(entry.name);
  entry.kernel = Decoder(module, *function).decode();
  entry.kernel->registers = registers_of(binary, entry.name);
  return entry.kernel.get();
}

}  // namespace simulator

using namespace simulator;

SIMULATOR_API void** __cudaRegisterFatBinary(void* wrapper) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  const auto* w = static_cast<const Wrapper*>(wrapper);
  if (w->magic != wrapper_magic) give_up("a fat binary with an unknown magic number");
  const auto* header = reinterpret_cast<const Header*>(w->data);
  if (header->magic != header_magic) give_up("a compressed fat binary: compile with --compress-mode=none");
  auto* binary = new FatBinary;
  const unsigned char* at = w->data + header->header_bytes;
  const unsigned char* end = at + header->bytes;
  while (at < end) {
    const auto* part = reinterpret_cast<const Part*>(at);
    const char* text = reinterpret_cast<const char*>(at + part->header_bytes);
    if (part->kind == ptx_kind) {
      std::string ptx(text, part->bytes);
      ptx.resize(ptx.find_last_not_of('\0') + 1);
      if (ptx.find(".version") == std::string::npos) give_up("compressed PTX: compile with --compress-mode=none");
      binary->texts.push_back(std::move(ptx));
    }
    if (part->kind == cubin_kind) {
      try {
        binary->cubins.push_back(read_cubin(at + part->header_bytes, part->bytes));
      } catch (const Failure& failure) {
        give_up(failure.what());
      }
    }
    at += part->header_bytes + part->bytes;
  }
  return reinterpret_cast<void**>(binary);
}
SIMULATOR_API void __cudaRegisterFatBinaryEnd(void**) {}
SIMULATOR_API void __cudaUnregisterFatBinary(void**) {}

SIMULATOR_API void __cudaRegisterFunction(
    void** binary, const char* host_function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  Entry& entry = entries()[host_function];
  entry.binary = reinterpret_cast<FatBinary*>(binary);
  entry.name = name;
}
SIMULATOR_API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {
  give_up("device variables are not modeled");
}

SIMULATOR_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 threads, size_t shared, void* stream) {
  calls.push_back({grid, threads, shared, static_cast<cudaStream_t>(stream)});
  return 0;
}
SIMULATOR_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* threads, size_t* shared, void* stream) {
  if (calls.empty()) return report(cudaErrorMissingConfiguration);
  const Call call = calls.back();
  calls.pop_back();
  *grid = call.grid, *threads = call.threads, *shared = call.shared;
  *static_cast<cudaStream_t*>(stream) = call.stream;
  return cudaSuccess;
}

SIMULATOR_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  Entry* entry = entry_of(host_function);
  *kernel = reinterpret_cast<cudaKernel_t>(entry);
  return entry ? cudaSuccess : report(cudaErrorInvalidDeviceFunction);
}

// Queues a launch. `waits`, `overlaps`, `cluster`: see Launch.
static cudaError_t queue_launch(Entry* entry, dim3 grid, dim3 threads, void** arguments, size_t shared,
    cudaStream_t stream, bool waits = false, bool overlaps = false, Dim cluster = {}) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  try {
    const Kernel* kernel = entry ? kernel_of(*entry) : nullptr;
    if (!kernel) return report(cudaErrorInvalidDeviceFunction);
    const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
    // "Technical Specifications per Compute Capability" of the CUDA programming guide.
    if (count == 0 || count > 1024 || threads.z > 64 || grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 ||
        grid.y > 65535 || grid.z == 0 || grid.z > 65535)
      return report(cudaErrorInvalidConfiguration);
    if (shared + kernel->shared_bytes >
        (entry->opted_in ? entry->dynamic_limit + kernel->shared_bytes : size_t{48} << 10))
      return report(cudaErrorInvalidValue);
    auto launch = std::make_shared<Launch>();
    launch->kernel = kernel;
    launch->grid = {grid.x, grid.y, grid.z};
    launch->threads = {threads.x, threads.y, threads.z};
    launch->dynamic_shared = static_cast<uint32_t>(shared);
    launch->waits = waits, launch->overlaps = overlaps;
    launch->cluster = cluster;
    launch->parameters.resize(kernel->parameter_bytes);
    for (size_t n = 0; n < kernel->parameters.size(); ++n)
      std::memcpy(launch->parameters.data() + kernel->parameters[n].offset, arguments[n], kernel->parameters[n].bytes);
    const Work work = [launch] {
      Launch once = *launch;
      run_launch(once);
    };
    return enqueue(stream, work, true);
  } catch (const Failure& failure) {
    return report_failure(failure.what());
  }
}
SIMULATOR_API cudaError_t __cudaLaunchKernel(
    cudaKernel_t handle, dim3 grid, dim3 threads, void** arguments, size_t shared, cudaStream_t stream) {
  return queue_launch(reinterpret_cast<Entry*>(handle), grid, threads, arguments, shared, stream);
}
SIMULATOR_API cudaError_t cudaLaunchKernel(
    const void* host_function, dim3 grid, dim3 threads, void** arguments, size_t shared, cudaStream_t stream) {
  return queue_launch(entry_of(host_function), grid, threads, arguments, shared, stream);
}
// A kernel with cudaLaunchAttributeProgrammaticStreamSerialization is checked for its griddepcontrol.wait, even if the
// attribute's value is 0. If the value is not 0, the launch must follow a kernel. The documentation of CUDA graphs
// allows programmatic dependencies between two kernels only.
SIMULATOR_API cudaError_t cudaLaunchKernelExC(
    const cudaLaunchConfig_t* config, const void* host_function, void** arguments) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  bool waits = false, overlaps = false;
  Dim cluster;
  for (unsigned n = 0; n < config->numAttrs; ++n) {
    const cudaLaunchAttributeValue& value = config->attrs[n].val;
    if (config->attrs[n].id == cudaLaunchAttributeClusterDimension) {
      // "Thread Block Clusters" of the CUDA programming guide: at most 8 blocks on every device, and the grid's size
      // is a multiple of the cluster's.
      cluster = {value.clusterDim.x, value.clusterDim.y, value.clusterDim.z};
      const uint64_t size = cluster.volume();
      if (device().major < 9 || size == 0 || size > 8 || config->gridDim.x % cluster.x ||
          config->gridDim.y % cluster.y || config->gridDim.z % cluster.z)
        return report(cudaErrorInvalidClusterSize);
      continue;
    }
    if (config->attrs[n].id != cudaLaunchAttributeProgrammaticStreamSerialization) return report(cudaErrorNotSupported);
    waits = true;
    if (device().major < 9) return report_failure("a programmatic dependent launch needs compute capability 9.0");
    overlaps = value.programmaticStreamSerializationAllowed != 0;
    if (overlaps && !follows_kernel(config->stream))
      return report_failure("a programmatic dependent launch after work that is not a kernel");
  }
  return queue_launch(entry_of(host_function), config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
      config->stream, waits, overlaps, cluster);
}

SIMULATOR_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* host_function) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  Entry* entry = entry_of(host_function);
  try {
    const Kernel* kernel = entry ? kernel_of(*entry) : nullptr;
    if (!kernel) return report(entry ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidDeviceFunction);
    *attributes = {};
    attributes->sharedSizeBytes = kernel->shared_bytes;
    attributes->binaryVersion = attributes->ptxVersion = 10 * device().major + device().minor;
    const int fitting = block_registers / std::max(1, registers_of_block(kernel->registers, lanes)) * lanes;
    attributes->maxThreadsPerBlock = std::min(kernel->max_threads ? kernel->max_threads : 1024, fitting);
    attributes->numRegs = kernel->registers;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(entry->dynamic_limit);
    return cudaSuccess;
  } catch (const Failure& failure) {
    return report_failure(failure.what());
  }
}
SIMULATOR_API cudaError_t cudaFuncSetAttribute(const void* host_function, cudaFuncAttribute attribute, int value) {
  std::lock_guard<std::recursive_mutex> hold(lock());
  Entry* entry = entry_of(host_function);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return report(cudaErrorNotSupported);
  try {
    const Kernel* kernel = entry ? kernel_of(*entry) : nullptr;
    if (!kernel) return report(cudaErrorInvalidDeviceFunction);
    if (value < 0 || static_cast<size_t>(value) + kernel->shared_bytes > device().shared_optin)
      return report(cudaErrorInvalidValue);
    entry->dynamic_limit = static_cast<size_t>(value);
    entry->opted_in = true;
    return cudaSuccess;
  } catch (const Failure& failure) {
    return report_failure(failure.what());
  }
}
