// The runtime library of emulated devices. Work on a stream runs only when the program waits for the stream. This
// exposes memory that is freed too early.
//
// HEDDLE_EMULATE_CUDA selects the devices:
// - 1 to 64: that many devices of compute capability 8.0;
// - sm_89 or sm_90: one device of compute capability 8.9 or 9.0;
// - old-driver: no device, and a driver that is too old for this build;
// - old-device: one device for which this build has no kernels;
// - no-card: no device, and a driver that is new enough.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "cuda_runtime.h"
#include "emulator/failures.h"
#include "emulator/runtime.h"
#include "core/error.h"

using Work = std::function<void()>;

struct CudaStream {
  int device;
  std::deque<Work> work;
  bool capturing = false, invalidated = false;
  std::vector<Work> captured;
};

struct CudaEvent {
  CudaStream* stream = nullptr;                                  // stream of the last cudaEventRecord
  std::shared_ptr<bool> reached = std::make_shared<bool>(true);  // whether that record has been reached
  std::chrono::steady_clock::time_point time;
};

struct CudaGraph {
  std::vector<Work> work;
};

namespace heddle {
namespace emulator {
namespace {

thread_local int current = 0;
thread_local CudaStream* capturing = nullptr;  // the stream that this thread captures

std::string setting() {
  const char* value = std::getenv("HEDDLE_EMULATE_CUDA");
  return value ? value : "";
}

int device_count() {
  const std::string value = setting();
  if (value == "old-device" || value == "sm_89" || value == "sm_90") return 1;
  const int count = std::atoi(value.c_str());
  return value == std::to_string(count) && count >= 1 && count <= 64 ? count : 0;
}

// Returns whether the running thread captures a stream. In that case it must not wait or allocate, and the capture is
// invalidated, as in CUDA.
bool forbidden() {
  if (capturing) capturing->invalidated = true;
  return capturing != nullptr;
}

cudaError_t run(CudaStream* stream) {
  // If a launch fails, the work after it is dropped, as on a device whose context has failed.
  std::deque<Work> work;
  work.swap(stream->work);
  for (auto& w : work) {
    if (const cudaError_t failure = failure_of("work", stream->device)) return failure;
    w();
  }
  return cudaSuccess;
}

// Runs the work of a stream up to a record of an event. Leaves the work that was queued after it.
cudaError_t run_until(CudaStream* stream, const bool& reached) {
  while (!reached && !stream->work.empty()) {
    if (const cudaError_t failure = failure_of("work", stream->device)) return failure;
    const Work work = std::move(stream->work.front());
    stream->work.pop_front();
    work();
  }
  return cudaSuccess;
}

std::mutex host_mutex;
std::set<void*>& host_memory() {
  static std::set<void*>& found = *new std::set<void*>;
  return found;
}

}  // namespace

int current_device() { return current; }
size_t device_shared_bytes() { return size_t{setting() == "sm_90" ? 227u : setting() == "sm_89" ? 99u : 163u} << 10; }

void enqueue(cudaStream_t stream, Work work) {
  if (stream->device != current)
    throw internal_error("emulator: work for a stream of device " + std::to_string(stream->device) + " while device " +
                         std::to_string(current) + " is current");
  if (stream->capturing) stream->captured.push_back(std::move(work));
  else stream->work.push_back(std::move(work));
}

namespace {
constexpr size_t shared_without_attribute = 48 << 10;
std::mutex limits_mutex;
std::map<std::pair<const void*, int>, size_t> limits;  // by kernel and device
}  // namespace

void check_shared(const void* kernel, size_t bytes, const char* name) {
  std::lock_guard<std::mutex> lock(limits_mutex);
  const auto found = limits.find({kernel, current});
  const size_t limit = found == limits.end() ? shared_without_attribute : found->second;
  if (bytes > limit)
    throw internal_error(std::string(name) + ": expected at most " + std::to_string(limit) +
                         " bytes of dynamic shared memory, got " + std::to_string(bytes));
}

cudaError_t function_attributes(cudaFuncAttributes* a) {
  if (const cudaError_t failure = failure_of("cudaFuncGetAttributes")) return failure;
  if (setting() == "old-device") return cudaErrorNoKernelImageForDevice;
  a->binaryVersion = a->ptxVersion = setting() == "sm_90" ? 90 : setting() == "sm_89" ? 89 : 80;
  return cudaSuccess;
}

}  // namespace emulator
}  // namespace heddle

using namespace heddle::emulator;

// ---- devices

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *count = device_count();
  if (setting() == "old-driver") return cudaErrorInsufficientDriver;
  return *count ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = setting() == "old-driver" ? 12040 : device_count() || setting() == "no-card" ? 13000 : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (device < 0 || device >= device_count()) return cudaErrorInvalidDevice;
  *p = cudaDeviceProp{};
  std::strcpy(p->name, "emulated (no hardware)");
  p->totalGlobalMem = device_bytes;
  p->major = setting() == "old-device" ? 6
             : setting() == "sm_90"    ? 9
                                       : 8,
  p->minor = setting() == "sm_89" ? 9 : 0, p->multiProcessorCount = 4;
  p->sharedMemPerBlockOptin = device_shared_bytes();
  p->pciBusID = device + 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return cudaErrorInvalidDevice;
  if (const cudaError_t failure = failure_of(__func__, device)) return failure;
  current = device;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  std::lock_guard<std::mutex> lock(limits_mutex);
  size_t& limit = limits[{kernel, current}];
  if (static_cast<size_t>(bytes) < limit) return cudaErrorInvalidValue;
  limit = static_cast<size_t>(bytes);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorDevicesUnavailable: return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice: return "no kernel image is available for execution on the device";
    case cudaErrorECCUncorrectable: return "uncorrectable ECC error encountered";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorInvalidValue: return "invalid argument";
    default: return "another error";
  }
}

// ---- memory

cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *data = allocate_device(bytes);
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* data) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  wait_for_grid();  // as in CUDA, where cudaFree waits for the device
  return !data || release_device(data) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *data = std::malloc(bytes);
  if (!*data) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xff, bytes);
  std::lock_guard<std::mutex> lock(host_mutex);
  host_memory().insert(*data);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  wait_for_grid();
  std::lock_guard<std::mutex> lock(host_mutex);
  if (!host_memory().erase(data)) return cudaErrorInvalidValue;
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *total = device_bytes, *free = free_bytes();
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(
    void* to, int to_device, const void* from, int from_device, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (device_of(reinterpret_cast<uintptr_t>(to)) != to_device ||
      device_of(reinterpret_cast<uintptr_t>(from)) != from_device)
    return cudaErrorInvalidValue;
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
// Only devices 0 and 1 can access each other directly.
cudaError_t cudaDeviceCanAccessPeer(int* direct, int device, int peer) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (device == peer || std::max(device, peer) >= device_count()) return cudaErrorInvalidDevice;
  *direct = device < 2 && peer < 2;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  static std::atomic<bool> open[2];
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (peer == current || peer > 1 || current > 1) return cudaErrorInvalidDevice;
  return open[current].exchange(true) ? cudaErrorPeerAccessAlreadyEnabled : cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  enqueue(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

// ---- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *stream = new CudaStream{current, {}, false, false, {}};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  return run(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  return stream->work.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *event = new CudaEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  event->stream = stream, event->reached = std::make_shared<bool>(false);
  enqueue(
      stream, [event, reached = event->reached] { *reached = true, event->time = std::chrono::steady_clock::now(); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  return run_until(event->stream, *event->reached);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  enqueue(stream, [from = event->stream, reached = event->reached] { run_until(from, *reached); });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (!*begin->reached || !*end->reached) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (stream->capturing || capturing) return cudaErrorInvalidValue;
  stream->capturing = true, stream->invalidated = false;
  stream->captured.clear();
  capturing = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capturing || capturing != stream) return cudaErrorInvalidValue;
  stream->capturing = false;  // even if the call fails
  capturing = nullptr;
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  if (stream->invalidated) return cudaErrorStreamCaptureInvalidated;
  *graph = new CudaGraph{std::move(stream->captured)};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *status = !stream->capturing    ? cudaStreamCaptureStatusNone
            : stream->invalidated ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* work, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  *work = new CudaGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  enqueue(stream, [graph] {  // a pointer instead of a copy, to expose graphs that are destroyed before they have run
    for (const Work& work : graph->work) work();
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (const cudaError_t failure = failure_of(__func__)) return failure;
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t work) { return cudaGraphDestroy(work); }
