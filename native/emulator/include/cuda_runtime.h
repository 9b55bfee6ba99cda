// Replaces the header of CUDA's runtime API in builds of native/cuda for the emulator. Defines, under CUDA's names, the
// parts of the language and of the runtime library that native/cuda uses. Also declares the functions that
// replace the PTX instructions of sm_90a.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator/asynchronous.h"
#include "emulator/emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx ::heddle::emulator::thread_index
#define blockIdx ::heddle::emulator::block_index
#define blockDim ::heddle::emulator::block_size
#define gridDim ::heddle::emulator::grid_size

using dim3 = heddle::emulator::Dim3;
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

// ---- device functions

inline void __syncthreads(int line = __builtin_LINE()) { heddle::emulator::barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  heddle::emulator::collective(mask, "__syncwarp", line, nullptr, nullptr);
}

namespace heddle {
namespace emulator {

template <class T> struct Shuffle {
  T value, result;
  int source;
};

// Returns the value of lane `source`, which must be in the mask. Outside 0 to 31, returns the lane's own value.
template <class T> T shuffle(uint32_t mask, T value, int source, const char* name, int line) {
  Shuffle<T> mine{value, value, source};
  collective(mask, name, line, &mine, [](void** lanes, uint32_t taking_part) {
    for (int i = 0; i < 32; ++i) {
      if (!(taking_part >> i & 1)) continue;
      Shuffle<T>& to = *static_cast<Shuffle<T>*>(lanes[i]);
      if (to.source < 0 || to.source > 31) continue;
      if (!(taking_part >> to.source & 1))
        fatal("a shuffle from lane " + std::to_string(to.source) + ", which does not participate");
      to.result = static_cast<Shuffle<T>*>(lanes[to.source])->value;
    }
  });
  return mine.result;
}

}  // namespace emulator
}  // namespace heddle

template <class T> T __shfl_sync(unsigned mask, T v, int lane, int line = __builtin_LINE()) {
  return heddle::emulator::shuffle(mask, v, lane & 31, "__shfl_sync", line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int lanes, int line = __builtin_LINE()) {
  return heddle::emulator::shuffle(mask, v, heddle::emulator::lane_index() ^ lanes, "__shfl_xor_sync", line);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, int lanes, int line = __builtin_LINE()) {
  return heddle::emulator::shuffle(mask, v, heddle::emulator::lane_index() - lanes, "__shfl_up_sync", line);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, int lanes, int line = __builtin_LINE()) {
  return heddle::emulator::shuffle(mask, v, heddle::emulator::lane_index() + lanes, "__shfl_down_sync", line);
}

namespace heddle {
namespace emulator {

struct Vote {
  bool value;
  unsigned result;
};

}  // namespace emulator
}  // namespace heddle

inline unsigned __ballot_sync(unsigned mask, bool value, int line = __builtin_LINE()) {
  heddle::emulator::Vote mine{value, 0};
  heddle::emulator::collective(mask, "__ballot_sync", line, &mine, [](void** lanes, uint32_t taking_part) {
    unsigned votes = 0;
    for (int i = 0; i < 32; ++i)
      if (taking_part >> i & 1)
        votes |= static_cast<unsigned>(static_cast<heddle::emulator::Vote*>(lanes[i])->value) << i;
    for (int i = 0; i < 32; ++i)
      if (taking_part >> i & 1) static_cast<heddle::emulator::Vote*>(lanes[i])->result = votes;
  });
  return mine.result;
}

inline int atomicCAS(int* at, int expected, int value) {
  return static_cast<int>(heddle::emulator::atomic_cas(
      reinterpret_cast<uint32_t*>(at), static_cast<uint32_t>(expected), static_cast<uint32_t>(value)));
}
inline unsigned atomicAdd(unsigned* at, unsigned value) { return heddle::emulator::atomic_add(at, value); }
inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
  static_assert(sizeof(unsigned long long) == sizeof(uint64_t), "the same integer under another name");
  return heddle::emulator::atomic_add(reinterpret_cast<uint64_t*>(at), value);
}
inline float __uint_as_float(unsigned u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline unsigned __float_as_uint(float f) {
  unsigned u;
  std::memcpy(&u, &f, 4);
  return u;
}
// Byte i of the result is a byte of the 64 bits b:a. The low three bits of the selector's nibble i are its index.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}
// Shifts the 64 bits high:low right by the low five bits of `shift`, and returns the low word.
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31));
}
// Returns c plus the products of four pairs of signed bytes.
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  return c;
}
inline int __popc(unsigned u) { return __builtin_popcount(u); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// ---- runtime library

#define CUDART_VERSION 13000              // the release that cudaRuntimeGetVersion reports
#define __CUDA_ARCH_LIST__ 800, 890, 900  // the architectures that an emulated build reports

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInitializationError = 3,
  cudaErrorStubLibrary = 34,
  cudaErrorInsufficientDriver = 35,
  cudaErrorCallRequiresNewerDriver = 36,
  cudaErrorDevicesUnavailable = 46,
  cudaErrorIncompatibleDriverContext = 49,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorDeviceNotLicensed = 102,
  cudaErrorSoftwareValidityNotEstablished = 103,
  cudaErrorInvalidKernelImage = 200,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorECCUncorrectable = 214,
  cudaErrorInvalidPtx = 218,
  cudaErrorNvlinkUncorrectable = 220,
  cudaErrorJitCompilerNotFound = 221,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorJitCompilationDisabled = 223,
  cudaErrorContained = 226,
  cudaErrorSharedObjectSymbolNotFound = 302,
  cudaErrorSharedObjectInitFailed = 303,
  cudaErrorOperatingSystem = 304,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorPeerAccessAlreadyEnabled = 704,
  cudaErrorContextIsDestroyed = 709,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorTensorMemoryLeak = 721,
  cudaErrorNotPermitted = 800,
  cudaErrorNotSupported = 801,
  cudaErrorSystemNotReady = 802,
  cudaErrorSystemDriverMismatch = 803,
  cudaErrorCompatNotSupportedOnDevice = 804,
  cudaErrorMpsConnectionFailed = 805,
  cudaErrorMpsRpcFailure = 806,
  cudaErrorMpsServerNotReady = 807,
  cudaErrorMpsMaxClientsReached = 808,
  cudaErrorMpsMaxConnectionsReached = 809,
  cudaErrorMpsClientTerminated = 810,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorExternalDevice = 911,
  cudaErrorUnknown = 999
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone = 0,
  cudaStreamCaptureStatusActive = 1,
  cudaStreamCaptureStatusInvalidated = 2
};
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2;
constexpr unsigned cudaHostAllocPortable = 1;
using cudaStream_t = struct CudaStream*;
using cudaEvent_t = struct CudaEvent*;
using cudaGraph_t = struct CudaGraph*;
using cudaGraphExec_t = struct CudaGraph*;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
  size_t sharedMemPerBlockOptin;
  int pciDomainID, pciBusID, pciDeviceID;
};
struct cudaFuncAttributes {
  int binaryVersion, ptxVersion;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError();
// Returns an error for a limit below the kernel's current one, although CUDA permits it. Another thread may rely on the
// current limit.
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int bytes);
const char* cudaGetErrorString(cudaError_t status);
cudaError_t cudaMalloc(void** data, size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaDeviceCanAccessPeer(int* direct, int device, int peer);
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags);
cudaError_t cudaMemcpyPeerAsync(
    void* to, int to_device, const void* from, int from_device, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* work, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t work, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t work);
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0, cudaDriverEntryPointSymbolNotFound = 1 };
constexpr unsigned long long cudaEnableDefault = 0;
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
    unsigned long long flags, cudaDriverEntryPointQueryResult* found);

namespace heddle {
namespace emulator {

// Defers work until the program waits for the stream. This exposes arguments that do not live that long.
void enqueue(cudaStream_t stream, std::function<void()> work);
cudaError_t function_attributes(cudaFuncAttributes* attributes);
cudaError_t failure_of(const char* call);  // a planted failure (emulator/failures.h)
// Throws if `bytes` of dynamic shared memory exceed the limit that cudaFuncSetAttribute set for the kernel, or 48 KB.
void check_shared(const void* kernel, size_t bytes, const char* name);

}  // namespace emulator
}  // namespace heddle

template <class F> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, F*) {
  return heddle::emulator::function_attributes(a);
}
