// The accelerator of a CUDA lane: a device, a stream, and the word in which kernels report invalid indices. Kernels use
// context.h instead.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "cuda/runtime/context.h"
#include "cuda/runtime/tuning.h"
#include "runtime/accelerator.h"

namespace heddle {
namespace cuda {

class CudaAccelerator final : public Accelerator {
 public:
  CudaAccelerator(int index, bool tf32);  // throws UNSUPPORTED if the device is missing or has no kernels in this build
  ~CudaAccelerator() override;

  const std::string& name() const override { return name_; }
  bool allows_tf32() const override { return properties_.tf32; }
  ProductVariants product_variants(const ProductDescription& product) const override;
  void choose_variants(std::map<std::string, std::string> choices) override;
  std::shared_ptr<const GemmTable> measured_choices() const;
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

  cudaStream_t stream() const { return stream_; }
  int* fault_word() const { return fault_; }
  const DeviceProperties& properties() const { return properties_; }
  int index() const { return index_; }
  void make_current() const;  // CUDA's current device is per thread

 private:
  // Two staging buffers in pinned host memory. The host fills or empties one while the device copies the other.
  struct Stage {
    unsigned char* data = nullptr;
    cudaEvent_t copied = nullptr;
    bool used = false;
  };
  struct Released {
    void* data;
    bool on_host;
  };
  Stage& next_stage();
  void release(Released memory) noexcept;
  void open();
  void close() noexcept;
  void open_way_to(int device);

  int index_;
  std::string name_;
  DeviceProperties properties_;
  cudaStream_t stream_ = nullptr;
  int* fault_ = nullptr;  // 0, or the index of the first node that reported, plus 1
  Stage stages_[2];
  int stage_ = 0;
  uint64_t peers_ = 0;  // bit i: whether open_way_to(i) has run
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  mutable std::mutex measured_mutex_;
  std::shared_ptr<const GemmTable> measured_ = std::make_shared<GemmTable>();
  std::mutex freeing_mutex_, released_mutex_;
  std::vector<Released> released_;
  std::function<void()> free_later_;
  std::mutex zeroing_mutex_;
  cudaStream_t zeroing_ = nullptr;  // for allocate, which any thread may call; stream_ belongs to the lane's thread
};

}  // namespace cuda
}  // namespace heddle
