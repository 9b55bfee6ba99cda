#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "cuda/runtime/device.h"
#include "runtime/devices.h"
#include "cuda/runtime/launch.cuh"
#include "cuda/runtime/tensor_map.h"
#include "core/error.h"
#include "core/platform/limits.h"

namespace heddle {
namespace cuda {
namespace {

constexpr size_t stage_bytes = size_t{4} << 20;  // copies of this size reach the full bandwidth of PCIe

class CudaRecording final : public Recording {
 public:
  CudaRecording(cudaGraphExec_t work, DeviceHealth& health) : work_(work), health_(health) {}
  ~CudaRecording() override {
    // CUDA would otherwise open device 0 for a thread that has no device yet.
    if (health_.make_current() == cudaSuccess) cudaGraphExecDestroy(work_);
  }
  cudaGraphExec_t work() const { return work_; }

 private:
  cudaGraphExec_t work_;
  DeviceHealth& health_;
};

// Never launched. cudaFuncGetAttributes of this kernel fails if the binary has no code for the device.
__global__ void probe(int* word) { *word = 0; }

}  // namespace

namespace {
CudaAccelerator& accelerator_of(const Context& context) { return *static_cast<CudaAccelerator*>(context.accelerator); }
}  // namespace

cudaStream_t stream_of(const Context& context) { return accelerator_of(context).stream(); }
const DeviceProperties& properties_of(const Context& context) { return accelerator_of(context).properties(); }
void make_current(const Context& context) { accelerator_of(context).make_current(); }

void allow_shared(const Context& context, const void* kernel, size_t bytes, const char* name) {
  static std::mutex& mutex = *new std::mutex;  // never destroyed: threads may outlive static objects
  static auto& limits = *new std::map<std::pair<const void*, int>, size_t>;
  std::lock_guard<std::mutex> lock(mutex);
  size_t& limit = limits[{kernel, accelerator_of(context).index()}];
  if (bytes <= limit) return;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), name);
  limit = bytes;
}

#if !HEDDLE_EMULATED
void launch_kernel(
    const Context& context, const char* name, const Grid& g, const void* kernel, void** arguments, bool waits) {
  CudaAccelerator& device = accelerator_of(context);
  const auto [stream, follows_kernel] = device.stream_for_kernel();
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (g.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {g.cluster, 1, 1};
  }
  cudaLaunchAttribute& overlap = attributes[count];
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  // CUDA defines the overlap for two kernels only. After other work the value is 0, which is the default. The attribute
  // is there nevertheless, because the simulator checks the kernels that have it.
  overlap.val.programmaticStreamSerializationAllowed = follows_kernel ? 1 : 0;
  cudaLaunchConfig_t config{};
  config.gridDim = g.blocks, config.blockDim = g.threads;
  config.dynamicSmemBytes = g.shared;
  config.stream = stream;
  config.attrs = attributes, config.numAttrs = count + (waits && device.kernels_wait() ? 1 : 0);
  check_cuda(cudaLaunchKernelExC(&config, kernel, arguments), name);
}
#endif

Fault fault_of(const Context& context) { return {accelerator_of(context).fault_word(), context.node}; }

CudaAccelerator::CudaAccelerator(int index, bool tf32)
    : index_(index), name_("cuda:" + std::to_string(index)), health_(DeviceHealth::of(index)) {
  const std::vector<CudaDevice> devices = cuda_devices();
  const auto found =
      std::find_if(devices.begin(), devices.end(), [=](const CudaDevice& d) { return d.index == index; });
  if (found == devices.end()) {
    const std::string problem = cuda_problem();
    throw Error("UNSUPPORTED", "device: expected one of the " + std::to_string(devices.size()) +
                                   " CUDA devices here, got " + name_ + (problem.empty() ? "" : " (" + problem + ")"));
  }
  const CudaDevice& device = *found;
  make_current();
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, probe);
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    const std::string capability = std::to_string(device.major) + "." + std::to_string(device.minor),
                      suffix = device.major == 9 ? "a" : "",  // wgmma and TMA need code for sm_90a
        number = std::to_string(device.major) + std::to_string(device.minor) + suffix;
    throw Error("UNSUPPORTED",
        "device: expected a compute capability that this build has kernels for (" + built_capabilities() + "), got " +
            capability + " (" + name_ + ", " + device.name + "); " +
            (device.major < 8
                    ? std::string("heddle supports 8.0 and newer")
                    : "`node scripts/build-addon.mjs -D HEDDLE_CUDA_ARCHITECTURES=" + number + "-real` builds them") +
            "; the device \"cpu\" still works");
  }
  check_cuda(status, "cudaFuncGetAttributes");
  // A build compiles 9.0 only as sm_90a, so code for 9.0 is code for sm_90a. If the driver compiled PTX of an older
  // version, binaryVersion is that of the device, but the kernels for sm_90a are empty. So ptxVersion decides.
  properties_ = {10 * device.major + device.minor, device.multiprocessors, device.shared_bytes,
      attributes.ptxVersion == 90 && has_tensor_maps(), tf32, has_e4m3_code()};
  // Code that the driver compiled from PTX of an older version has no griddepcontrol.wait.
  kernels_wait_ = attributes.ptxVersion >= 90;
  try {
    open();
  } catch (...) {
    close();
    throw;
  }
}

CudaAccelerator::~CudaAccelerator() { close(); }

void CudaAccelerator::open() {
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  check_cuda(cudaStreamCreateWithFlags(&zeroing_, cudaStreamNonBlocking), "cudaStreamCreate");
  check_cuda(cudaEventCreateWithFlags(&begin_, cudaEventDefault), "cudaEventCreate");
  check_cuda(cudaEventCreateWithFlags(&end_, cudaEventDefault), "cudaEventCreate");
  fault_ = static_cast<int*>(allocate(sizeof(int)));
  health_.opened();
}

void CudaAccelerator::close() noexcept {
  // Frees nothing if the device is lost, or if the driver has shut down because the process is ending.
  if (health_.make_current() != cudaSuccess) return;
  free_released();
  for (Stage& stage : stages_) {
    if (stage.data) cudaFreeHost(stage.data);
    if (stage.copied) cudaEventDestroy(stage.copied);
  }
  if (fault_) cudaFree(fault_);
  if (begin_) cudaEventDestroy(begin_);
  if (end_) cudaEventDestroy(end_);
  if (zeroing_) cudaStreamDestroy(zeroing_);
  if (stream_) cudaStreamDestroy(stream_);
}

void CudaAccelerator::make_current() const {
  health_.check();
  check_cuda(health_.make_current(), "cudaSetDevice");
}

ProductVariants CudaAccelerator::product_variants(const ProductDescription& p) const {
  GemmShape shape{p.m, p.n, p.k, p.a, p.b, p.c, p.a_transposed, p.b_transposed};
  const auto whole_pieces = [](int64_t row, DType type) {
    return row * static_cast<int64_t>(dtype_bytes(type)) % 16 == 0;
  };
  shape.aligned = whole_pieces(p.a_transposed ? p.m : p.k, p.a) && whole_pieces(p.b_transposed ? p.k : p.n, p.b);
  shape.workspace_bytes = p.a_transposed ? gradient_workspace(p.m, p.n, p.k) : gemm_workspace(p.m, p.n, p.k);
  ProductVariants variants{gemm_key(shape), {}};
  for (const GemmChoice& c : gemm_candidates(shape, properties_)) variants.names.push_back(variant_name(c));
  return variants;
}

void CudaAccelerator::choose_variants(std::map<std::string, std::string> choices) {
  std::lock_guard<std::mutex> lock(measured_mutex_);
  measured_ = std::make_shared<GemmTable>(std::move(choices));
}

std::shared_ptr<const GemmTable> CudaAccelerator::measured_choices() const {
  std::lock_guard<std::mutex> lock(measured_mutex_);
  return measured_;
}

void* CudaAccelerator::allocate(size_t bytes) {
  make_current();
  void* data = nullptr;
  cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    free_released();
    status = cudaMalloc(&data, bytes);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error("OUT_OF_MEMORY", name_ + ": expected " + std::to_string(bytes) + " bytes, got " + std::to_string(free) +
                                     " free of " + std::to_string(total));
  }
  check_cuda(status, "cudaMalloc");
  std::lock_guard<std::mutex> lock(zeroing_mutex_);
  cudaError_t zeroed = cudaMemsetAsync(data, 0, bytes, zeroing_);
  if (zeroed == cudaSuccess) zeroed = cudaStreamSynchronize(zeroing_);
  if (zeroed != cudaSuccess) cudaFree(data);
  check_cuda(zeroed, "cudaMemset");
  return data;
}

void CudaAccelerator::release(Released memory) noexcept {
  {
    std::lock_guard<std::mutex> lock(released_mutex_);
    released_.push_back(memory);
    // free_later_ runs under the mutex. So a function that on_release replaces cannot run after on_release returns.
    if (free_later_) return free_later_();
  }
  free_released();
}

void CudaAccelerator::free_released() noexcept {
  // Held during cudaFree too. An allocation that has failed calls this function, and so also waits for memory that
  // another thread is freeing.
  std::lock_guard<std::mutex> freeing(freeing_mutex_);
  std::vector<Released> released;
  {
    std::lock_guard<std::mutex> lock(released_mutex_);
    released.swap(released_);
  }
  // The memory of a lost device is gone with its context.
  if (released.empty() || health_.make_current() != cudaSuccess) return;
  for (const Released& memory : released) memory.on_host ? cudaFreeHost(memory.data) : cudaFree(memory.data);
}

void CudaAccelerator::on_release(std::function<void()> free_later) {
  std::lock_guard<std::mutex> lock(released_mutex_);
  free_later_ = std::move(free_later);
}

void* CudaAccelerator::allocate_host(size_t bytes) {
  make_current();
  void* data = nullptr;
  cudaError_t status = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    free_released();
    status = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error("OUT_OF_MEMORY", name_ + ": expected " + std::to_string(bytes) + " bytes of pinned host memory, got " +
                                     std::to_string(available_memory()) + " free");
  }
  check_cuda(status, "cudaHostAlloc");
  return data;
}

CudaAccelerator::Stage& CudaAccelerator::next_stage() {
  Stage& stage = stages_[stage_];
  stage_ = 1 - stage_;
  if (!stage.data) stage.data = static_cast<unsigned char*>(allocate_host(stage_bytes));
  if (!stage.copied) check_cuda(cudaEventCreateWithFlags(&stage.copied, cudaEventDisableTiming), "cudaEventCreate");
  if (stage.used) check_cuda(cudaEventSynchronize(stage.copied), "cudaEventSynchronize");
  stage.used = false;
  return stage;
}

// Waits for the copies of a failed upload or download, which could otherwise write to memory that its caller frees or
// reuses.
void CudaAccelerator::end_copies() noexcept {
  try {
    wait();
  } catch (const Error&) {
    // The original error is already being thrown.
  }
  for (Stage& stage : stages_) stage.used = false;
}

void CudaAccelerator::upload_filled(void* to, size_t bytes, const Fill& fill) {
  make_current();
  try {
    upload_parts(to, bytes, fill);
  } catch (...) {
    end_copies();
    throw;
  }
}

void CudaAccelerator::upload_parts(void* to, size_t bytes, const Fill& fill) {
  for (size_t at = 0; at < bytes; at += stage_bytes) {
    const size_t count = bytes - at < stage_bytes ? bytes - at : stage_bytes;
    Stage& stage = next_stage();
    fill(at, count, stage.data);
    queue_upload(static_cast<unsigned char*>(to) + at, stage.data, count);
    check_cuda(cudaEventRecord(stage.copied, stream()), "cudaEventRecord");
    stage.used = true;
  }
  // Waits for the copies, because the caller may free `to` as soon as this function returns.
  for (Stage& stage : stages_) {
    if (stage.used) check_cuda(cudaEventSynchronize(stage.copied), "cudaEventSynchronize");
    stage.used = false;
  }
}

void CudaAccelerator::upload(void* to, const void* from, size_t bytes) {
  upload_filled(to, bytes, [&](size_t at, size_t count, void* into) {
    std::memcpy(into, static_cast<const unsigned char*>(from) + at, count);
  });
}

void CudaAccelerator::download(void* to, const void* from, size_t bytes) {
  make_current();
  try {
    download_parts(to, from, bytes);
  } catch (...) {
    end_copies();
    throw;
  }
}

void CudaAccelerator::download_parts(void* to, const void* from, size_t bytes) {
  Stage* before = nullptr;
  size_t before_at = 0, before_count = 0;
  // Waits for the copy to the previous staging buffer, and moves its bytes to their destination.
  const auto empty = [&] {
    if (!before) return;
    check_cuda(cudaEventSynchronize(before->copied), "cudaEventSynchronize");
    before->used = false;
    std::memcpy(static_cast<unsigned char*>(to) + before_at, before->data, before_count);
  };
  for (size_t at = 0; at < bytes; at += stage_bytes) {
    const size_t count = bytes - at < stage_bytes ? bytes - at : stage_bytes;
    Stage& stage = next_stage();
    queue_download(stage.data, static_cast<const unsigned char*>(from) + at, count);
    check_cuda(cudaEventRecord(stage.copied, stream()), "cudaEventRecord");
    stage.used = true;
    empty();  // while the device copies the current stage
    before = &stage, before_at = at, before_count = count;
  }
  empty();
}

// Enables peer access to another device's memory (over NVLink or PCIe) if possible. Without it, the driver copies
// through host memory. This device must be the current one.
void CudaAccelerator::open_way_to(int device) {
  if (device < 64 && (peers_ >> device & 1)) return;
  int direct = 0;
  check_cuda(cudaDeviceCanAccessPeer(&direct, index_, device), "cudaDeviceCanAccessPeer");
  if (direct) {
    const cudaError_t status = cudaDeviceEnablePeerAccess(device, 0);
    // Peer access belongs to the process. Another accelerator of this device has enabled it already.
    if (status == cudaErrorPeerAccessAlreadyEnabled) cudaGetLastError();
    else check_cuda(status, "cudaDeviceEnablePeerAccess");
  }
  if (device < 64) peers_ |= uint64_t{1} << device;
}

void CudaAccelerator::queue_copy(void* to, const void* from, size_t bytes, const Accelerator& source) {
  const CudaAccelerator& there = static_cast<const CudaAccelerator&>(source);
  there.health_.check();  // the error of a lost source would otherwise count as this device's
  make_current();
  const int device = there.index_;
  if (device == index_) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpy");
  } else {
    open_way_to(device);
    check_cuda(cudaMemcpyPeerAsync(to, index_, from, device, bytes, stream()), "cudaMemcpyPeer");
  }
}

void CudaAccelerator::queue_upload(void* to, const void* from_host, size_t bytes) {
  make_current();
  check_cuda(cudaMemcpyAsync(to, from_host, bytes, cudaMemcpyHostToDevice, stream()), "cudaMemcpy");
}

void CudaAccelerator::queue_download(void* to_host, const void* from, size_t bytes) {
  make_current();
  check_cuda(cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, stream()), "cudaMemcpy");
}

void CudaAccelerator::queue_clear_fault() {
  make_current();
  check_cuda(cudaMemsetAsync(fault_, 0, sizeof(int), stream()), "cudaMemset");
}

void CudaAccelerator::queue_fault(int* to_host) { queue_download(to_host, fault_, sizeof(int)); }

void CudaAccelerator::wait() {
  make_current();
  check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
}

int CudaAccelerator::fault() {
  int word = 0;
  download(&word, fault_, sizeof word);
  return word - 1;
}

// Restricts only this thread during the capture (ThreadLocal), so that other threads may allocate memory.
void CudaAccelerator::begin_recording() {
  make_current();
  check_cuda(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
}

std::shared_ptr<Recording> CudaAccelerator::end_recording() {
  make_current();
  cudaGraph_t graph = nullptr;
  check_cuda(cudaStreamEndCapture(stream(), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t work = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&work, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(status, "cudaGraphInstantiate");
  return std::make_shared<CudaRecording>(work, health_);
}

void CudaAccelerator::drop_recording() noexcept {
  if (health_.is_lost()) return;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream(), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone) {
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream(), &graph);
    if (graph) cudaGraphDestroy(graph);
  }
  cudaGetLastError();
}

void CudaAccelerator::replay(const Recording& recording) {
  make_current();
  check_cuda(cudaGraphLaunch(static_cast<const CudaRecording&>(recording).work(), stream()), "cudaGraphLaunch");
}

void CudaAccelerator::mark_begin() {
  make_current();
  check_cuda(cudaEventRecord(begin_, stream()), "cudaEventRecord");
}

void CudaAccelerator::mark_end() {
  make_current();
  check_cuda(cudaEventRecord(end_, stream()), "cudaEventRecord");
}

double CudaAccelerator::marked_seconds() {
  make_current();
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
  return milliseconds * 1e-3;
}

}  // namespace cuda
}  // namespace heddle
