// The accelerator of a CUDA lane: a device, a stream, and the fault word, in which kernels report invalid indices.
// Kernel files include context.h instead.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/runtime/context.h"
#include "cuda/runtime/errors.h"
#include "cuda/runtime/tuning.h"
#include "core/accelerator.h"

namespace heddle {
namespace cuda {

class CudaAccelerator final : public Accelerator {
 public:
  // Throws UNSUPPORTED if the device is missing or has no kernels in this build. Throws DEVICE_LOST if the device has
  // failed in this process, or another process holds it.
  CudaAccelerator(int index, bool tf32);
  ~CudaAccelerator() override;

  const std::string& name() const override { return name_; }
  bool allows_tf32() const override { return properties_.tf32; }
  ProductVariants product_variants(const ProductDescription& product) const override;
  void choose_variants(std::map<std::string, std::string> choices) override;
  std::shared_ptr<const GemmTable> measured_choices() const;
  bool is_lost() const noexcept override { return health_.is_lost(); }
  void* allocate(size_t bytes) override;
  void* allocate_host(size_t bytes) override;
  void release(void* data) noexcept override { release({data, false}); }
  void release_host(void* data) noexcept override { release({data, true}); }
  void free_released() noexcept override;
  void on_release(std::function<void()> free_later) override;
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void upload_filled(void* to, size_t bytes, const Fill& fill) override;
  void queue_copy(void* to, const void* from, size_t bytes, const Accelerator& source) override;
  void queue_upload(void* to, const void* from_host, size_t bytes) override;
  void queue_download(void* to_host, const void* from, size_t bytes) override;
  void queue_clear_fault() override;
  void queue_fault(int* to_host) override;
  void wait() override;
  int fault() override;
  void begin_recording() override;
  std::shared_ptr<Recording> end_recording() override;
  void drop_recording() noexcept override;
  void replay(const Recording& recording) override;
  void mark_begin() override;
  void mark_end() override;
  double marked_seconds() override;

  // Returns the stream, for work other than kernels.
  cudaStream_t stream() {
    last_is_kernel_ = false;
    return stream_;
  }
  // Returns the stream, for a kernel, and whether the stream's last work is a kernel.
  std::pair<cudaStream_t, bool> stream_for_kernel() { return {stream_, std::exchange(last_is_kernel_, true)}; }
  // Whether PreviousKernel::wait (launch.cuh) waits on this device.
  bool kernels_wait() const { return kernels_wait_; }
  int* fault_word() const { return fault_; }
  const DeviceProperties& properties() const { return properties_; }
  int index() const { return index_; }
  // Makes this device CUDA's current one for the thread. Call it before other functions of CUDA. Throws DEVICE_LOST at
  // once if the device is lost.
  void make_current() const;

 private:
  // A staging buffer in pinned host memory. There are two: the host fills or empties one while the device copies the
  // other.
  struct Stage {
    unsigned char* data = nullptr;
    cudaEvent_t copied = nullptr;  // recorded after the buffer's last copy
    bool used = false;             // whether that copy may be incomplete
  };
  struct Released {
    void* data;
    bool on_host;
  };
  Stage& next_stage();
  void upload_parts(void* to, size_t bytes, const Fill& fill);
  void download_parts(void* to, const void* from, size_t bytes);
  void end_copies() noexcept;
  void release(Released memory) noexcept;
  void open();
  void close() noexcept;
  void open_way_to(int device);

  int index_;
  std::string name_;
  DeviceProperties properties_;
  bool kernels_wait_ = false;
  cudaStream_t stream_ = nullptr;
  bool last_is_kernel_ = false;  // the last work that was queued on stream_ is a kernel
  int* fault_ = nullptr;         // device memory: 0, or 1 + the index of the first node that reported a fault
  Stage stages_[2];
  int stage_ = 0;       // the staging buffer to use next
  uint64_t peers_ = 0;  // bit i: whether open_way_to(i) has run
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  mutable std::mutex measured_mutex_;  // guards measured_
  std::shared_ptr<const GemmTable> measured_ = std::make_shared<GemmTable>();
  // free_released holds freeing_mutex_, then locks released_mutex_, which guards released_ and free_later_.
  std::mutex freeing_mutex_, released_mutex_;
  std::vector<Released> released_;
  std::function<void()> free_later_;
  // allocate clears memory on zeroing_, because any thread may call it and stream_ belongs to the lane's thread.
  std::mutex zeroing_mutex_;  // guards zeroing_
  cudaStream_t zeroing_ = nullptr;
  DeviceHealth& health_;
};

}  // namespace cuda
}  // namespace heddle
