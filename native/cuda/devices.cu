#include "cuda/devices.h"

#include "cuda/device.h"
#include "runtime/error.h"

namespace heddle {
namespace cuda {

void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the runtime keeps the last error: the next check must not see this one
  throw internal_error(std::string(call) + ": " + cudaGetErrorString(status));
}

CudaAccelerator::CudaAccelerator(int index) : index_(index), name_("cuda:" + std::to_string(index)) {
  const std::vector<CudaDevice> devices = cuda_devices();
  if (index < 0 || index >= static_cast<int>(devices.size()))
    throw Error("UNSUPPORTED", "device: expected one of the " + std::to_string(devices.size()) + " CUDA devices here, got " + name_);
  multiprocessors_ = devices[static_cast<size_t>(index)].multiprocessors;
  make_current();
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  try {
    fault_ = static_cast<int*>(allocate(sizeof(int)));
  } catch (...) {
    cudaStreamDestroy(stream_);
    throw;
  }
}

CudaAccelerator::~CudaAccelerator() {
  release(fault_);
  cudaStreamDestroy(stream_);
}

void CudaAccelerator::make_current() const { check_cuda(cudaSetDevice(index_), "cudaSetDevice"); }

void* CudaAccelerator::allocate(size_t bytes) {
  make_current();
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error("OUT_OF_MEMORY", name_ + ": expected " + std::to_string(bytes) + " bytes, got " + std::to_string(free) + " free of " +
                                     std::to_string(total));
  }
  check_cuda(status, "cudaMalloc");
  // On a stream of its own: allocation may happen on any thread, and the lane's stream belongs to the lane's.
  cudaStream_t zeroing = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&zeroing, cudaStreamNonBlocking), "cudaStreamCreate");
  cudaError_t zeroed = cudaMemsetAsync(data, 0, bytes, zeroing);
  if (zeroed == cudaSuccess) zeroed = cudaStreamSynchronize(zeroing);
  cudaStreamDestroy(zeroing);
  if (zeroed != cudaSuccess) cudaFree(data);
  check_cuda(zeroed, "cudaMemset");
  return data;
}

// cudaFree waits for the device, so that no kernel that is under way loses its memory.
void CudaAccelerator::release(void* data) noexcept {
  if (cudaSetDevice(index_) == cudaSuccess) cudaFree(data);
}

void CudaAccelerator::upload(void* to, const void* from, size_t bytes) {
  make_current();
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpy");
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void CudaAccelerator::download(void* to, const void* from, size_t bytes) {
  make_current();
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpy");
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void CudaAccelerator::clear_fault() {
  make_current();
  check_cuda(cudaMemsetAsync(fault_, 0, sizeof(int), stream_), "cudaMemset");
}

int CudaAccelerator::fault() {
  int word = 0;
  download(&word, fault_, sizeof word);
  return word - 1;
}

}  // namespace cuda

bool cuda_built() { return true; }

std::vector<CudaDevice> cuda_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice) {  // 35: no driver at all; 100: no GPU
    cudaGetLastError();  // the runtime keeps the last error: the next check must not see this one
    return {};
  }
  cuda::check_cuda(status, "cudaGetDeviceCount");
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    cuda::check_cuda(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    CudaDevice device;
    device.index = i;
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.memory_bytes = properties.totalGlobalMem;
    device.multiprocessors = properties.multiProcessorCount;
    devices.push_back(device);
  }
  return devices;
}

std::shared_ptr<Accelerator> open_cuda(int index) { return std::make_shared<cuda::CudaAccelerator>(index); }

}  // namespace heddle
