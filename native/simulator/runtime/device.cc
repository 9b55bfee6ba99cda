// The runtime's API for the device: properties, memory, errors, tensor maps.
#include <cuda.h>

#include <cstdio>
#include <cstring>

#include "simulator/machine/memory.h"
#include "simulator/machine/settings.h"
#include "simulator/ops/tensor_map.h"
#include "simulator/runtime/state.h"

using namespace simulator;
using Hold = std::lock_guard<std::recursive_mutex>;

namespace simulator {
namespace {
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string failure_text;
constexpr int toolkit = CUDART_VERSION;

bool on_device(const void* data, size_t bytes) {
  uint64_t begin = 0, end = 0;
  return memory::find(reinterpret_cast<uint64_t>(data), bytes, begin, end);
}
}  // namespace

std::recursive_mutex& lock() {
  static auto& mutex = *new std::recursive_mutex;  // never destroyed: threads may outlive static objects
  return mutex;
}

const DeviceLimits& device() {
  // Four multiprocessors are few enough that even small products have more tiles than multiprocessors.
  static const DeviceLimits ampere{8, 0, 4, 166912, "simulated sm_80"}, hopper{9, 0, 4, 232448, "simulated sm_90"};
  return settings().hopper ? hopper : ampere;
}

cudaError_t report(cudaError_t status) { return last_error = status; }
cudaError_t report_failure(const std::string& what) {
  failure_text = what;
  std::fprintf(stderr, "heddle's CUDA simulator: %s\n", what.c_str());
  return report(cudaErrorLaunchFailure);
}

}  // namespace simulator

SIMULATOR_API cudaError_t cudaGetLastError() {
  const cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}
SIMULATOR_API const char* cudaGetErrorString(cudaError_t status) {
  if (status == cudaErrorLaunchFailure) return failure_text.c_str();
  thread_local std::string text;
  text = "CUDA error " + std::to_string(status) + " of the simulator";
  return text.c_str();
}

SIMULATOR_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaSetDevice(int index) {
  return index >= 0 && index < device_count ? cudaSuccess : report(cudaErrorInvalidDevice);
}
SIMULATOR_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int index) {
  if (index < 0 || index >= device_count) return report(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "%s", device().name);
  p->major = device().major, p->minor = device().minor;
  p->totalGlobalMem = memory::total;
  p->multiProcessorCount = device().multiprocessors;
  p->sharedMemPerBlock = size_t{48} << 10;
  p->sharedMemPerBlockOptin = device().shared_optin;
  p->warpSize = lanes;
  p->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = toolkit;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = toolkit;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
SIMULATOR_API cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return report(cudaErrorPeerAccessUnsupported); }

SIMULATOR_API cudaError_t cudaMalloc(void** data, size_t bytes) {
  Hold hold(lock());
  *data = bytes ? memory::allocate(bytes, memory::Kind::device) : nullptr;
  return *data || bytes == 0 ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
SIMULATOR_API cudaError_t cudaFree(void* data) {
  Hold hold(lock());
  const cudaError_t status = drain_all();
  if (data && !memory::release(data, memory::Kind::device)) return report(cudaErrorInvalidValue);
  return status;
}
SIMULATOR_API cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  Hold hold(lock());
  *data = memory::allocate(bytes, memory::Kind::pinned);
  return *data ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
SIMULATOR_API cudaError_t cudaFreeHost(void* data) {
  Hold hold(lock());
  const cudaError_t status = drain_all();
  if (data && !memory::release(data, memory::Kind::pinned)) return report(cudaErrorInvalidValue);
  return status;
}
SIMULATOR_API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Hold hold(lock());
  *total = memory::total;
  *free = memory::total - memory::in_use();
  return cudaSuccess;
}

SIMULATOR_API cudaError_t cudaMemcpyAsync(
    void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Hold hold(lock());
  if (bytes == 0) return cudaSuccess;
  const bool uploads = kind == cudaMemcpyHostToDevice, downloads = kind == cudaMemcpyDeviceToHost;
  if ((!downloads && !on_device(to, bytes)) || (!uploads && !on_device(from, bytes)))
    return report_failure(
        "a copy of " + std::to_string(bytes) + " bytes that are not inside one allocation of the device");
  if (uploads && !memory::is_pinned(from)) {  // pageable memory is staged before the call returns
    const auto* source = static_cast<const unsigned char*>(from);
    auto staged = std::make_shared<std::vector<unsigned char>>(source, source + bytes);
    return enqueue(stream, [=] { std::memcpy(to, staged->data(), bytes); });
  }
  const cudaError_t status = enqueue(stream, [=] { std::memmove(to, from, bytes); });
  // A copy to pageable memory returns only when it is complete.
  return status == cudaSuccess && downloads && !memory::is_pinned(to) ? drain(stream) : status;
}
SIMULATOR_API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}
SIMULATOR_API cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  Hold hold(lock());
  if (bytes && !on_device(to, bytes))
    return report_failure("a memset of " + std::to_string(bytes) + " bytes that are not inside one allocation");
  return enqueue(stream, [=] { std::memset(to, value, bytes); });
}

namespace {
// cuTensorMapEncodeTiled. "Tensor Map Object Management" of the driver API has its requirements.
CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
    const cuuint64_t* strides, const cuuint32_t* boxes, const cuuint32_t* steps, CUtensorMapInterleave interleave,
    CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  TensorMap m = {};
  m.mark = TensorMap::expected_mark;
  m.element_bytes = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? 2 : type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 1 : 0;
  const bool modeled = m.element_bytes && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
                       swizzle == CU_TENSOR_MAP_SWIZZLE_128B && fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
  if (!modeled) return CUDA_ERROR_NOT_SUPPORTED;
  if (rank < 1 || rank > 5 || reinterpret_cast<uintptr_t>(data) % 16 || reinterpret_cast<uintptr_t>(map) % 64)
    return CUDA_ERROR_INVALID_VALUE;
  m.data = reinterpret_cast<uint64_t>(data);
  m.rank = rank;
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (sizes[d] == 0 || sizes[d] > uint64_t{1} << 32 || boxes[d] == 0 || boxes[d] > 256 || steps[d] != 1)
      return CUDA_ERROR_INVALID_VALUE;
    m.sizes[d] = sizes[d];
    m.boxes[d] = static_cast<uint16_t>(boxes[d]);
    m.strides[d] = d == 0 ? m.element_bytes : strides[d - 1];
    if (d > 0 && (m.strides[d] % 16 || m.strides[d] >= uint64_t{1} << 40)) return CUDA_ERROR_INVALID_VALUE;
  }
  // The innermost dimension of a box may have at most 128 bytes, the size of the swizzle. Fewer bytes are not modeled.
  if (boxes[0] * m.element_bytes != 128) return CUDA_ERROR_NOT_SUPPORTED;
  *map = {};
  std::memcpy(map, &m, sizeof m);
  return CUDA_SUCCESS;
}
}  // namespace

SIMULATOR_API cudaError_t cudaGetDriverEntryPointByVersion(
    const char* name, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* found) {
  const bool known = std::strcmp(name, "cuTensorMapEncodeTiled") == 0 && settings().hopper;
  *function = known ? reinterpret_cast<void*>(&encode_tiled) : nullptr;
  if (found) *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
