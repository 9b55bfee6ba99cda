// The runtime library of the emulated device: its memory is the host's, its streams run when they are synchronised.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>

#include "cuda_runtime.h"
#include "emulator/race.h"

struct CudaStream {
  std::deque<std::function<void()>> work;
};

namespace heddle {
namespace emulator {
namespace {

constexpr size_t tail = 256, alignment = 256;
constexpr size_t capacity = size_t{2} << 30;

struct Allocations {
  std::mutex mutex;
  std::map<uintptr_t, size_t> bytes;  // by address
  size_t total = 0;
};
Allocations& allocations() {
  static Allocations& a = *new Allocations;
  return a;
}

}  // namespace

void* allocate_device(size_t bytes) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  if (a.total + bytes > capacity) return nullptr;
  const size_t reserve = (bytes + tail + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, reserve);
  if (!data) return nullptr;
  std::memset(data, 0xff, reserve);
  a.bytes[reinterpret_cast<uintptr_t>(data)] = bytes;
  a.total += bytes;
  return data;
}

bool past_end(const void* data) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  const auto found = a.bytes.find(reinterpret_cast<uintptr_t>(data));
  if (found == a.bytes.end()) return false;
  const unsigned char* end = static_cast<const unsigned char*>(data) + found->second;
  return std::any_of(end, end + tail, [](unsigned char c) { return c != 0xff; });
}

bool release_device(void* data) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  const auto found = a.bytes.find(reinterpret_cast<uintptr_t>(data));
  if (found == a.bytes.end()) return false;
  a.total -= found->second;
  a.bytes.erase(found);
  std::free(data);
  return true;
}

bool in_device(uintptr_t address) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  auto after = a.bytes.upper_bound(address);
  if (after == a.bytes.begin()) return false;
  --after;
  return address < after->first + after->second + tail;
}

void enqueue(cudaStream_t stream, std::function<void()> work) { stream->work.push_back(std::move(work)); }

}  // namespace emulator
}  // namespace heddle

using namespace heddle::emulator;

namespace {

bool enabled() {
  const char* value = std::getenv("HEDDLE_EMULATE_CUDA");
  return value && std::strcmp(value, "1") == 0;
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = enabled() ? 1 : 0;
  return enabled() ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (!enabled() || device != 0) return cudaErrorInvalidDevice;
  *p = cudaDeviceProp{};
  std::strcpy(p->name, "emulated (no hardware)");
  p->totalGlobalMem = capacity;
  p->major = 8, p->minor = 0, p->multiProcessorCount = 4;
  p->sharedMemPerBlockOptin = 99 << 10;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return enabled() && device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    default: return "invalid argument";
  }
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = allocate_device(bytes);
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* data) { return !data || release_device(data) ? cudaSuccess : cudaErrorInvalidValue; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  *total = capacity, *free = capacity - a.total;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CudaStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  // What follows a failed launch does not run, as on a device whose context has failed.
  std::deque<std::function<void()>> work;
  work.swap(stream->work);
  for (auto& w : work) w();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}
