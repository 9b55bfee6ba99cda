// The runtime's interface to a device with separate memory. native/cuda implements it. The CPU has none.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace heddle {

// Recorded work that can be queued again as a whole. On CUDA it is a graph, queued with one launch.
class Recording {
 public:
  virtual ~Recording() = default;
};

// Describes a matrix product c (m, n) = a b, for the choice of a kernel.
struct ProductDescription {
  int64_t m, n, k;
  DType a, b, c;
  bool a_transposed, b_transposed;  // stored (k, m), (n, k)
};
// The ways to compute a product, with the device's choice first. `key` identifies the kind of product.
struct ProductVariants {
  std::string key;
  std::vector<std::string> names;
};

// One per lane: a device and a stream on it. Work is queued in the order of the calls and runs in that order.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual const std::string& name() const = 0;  // "cuda:0"
  // products of f32 may round their operands to 10 bits after the point
  virtual bool allows_tf32() const { return false; }

  // ---- any thread
  // -----------------------------------------------------------------------------------------------------------
  virtual void* allocate(size_t bytes) = 0;  // zeroed, aligned to 256 bytes; throws OUT_OF_MEMORY
  virtual void release(void* data) noexcept = 0;
  virtual void* allocate_host(size_t bytes) = 0;  // pinned host memory for asynchronous copies; throws OUT_OF_MEMORY
  virtual void release_host(void* data) noexcept = 0;

  virtual ProductVariants product_variants(const ProductDescription&) const { return {}; }
  // By key, the name of the variant that is to make a product from now on; names that a product has no variant of are
  // passed over.
  virtual void choose_variants(std::map<std::string, std::string>) {}

  // ---- lane thread only
  // -----------------------------------------------------------------------------------------------------
  virtual void upload(void* to, const void* from, size_t bytes) = 0;    // is done when it returns
  virtual void download(void* to, const void* from, size_t bytes) = 0;  // after all that was queued
  // As upload, from whatever fill(at, count, into) writes: straight into memory that the device copies from.
  using Fill = std::function<void(size_t at, size_t count, void* into)>;
  virtual void upload_filled(void* to, size_t bytes, const Fill& fill) = 0;

  // Queued. Within the device, or from another one's memory, whose own queue must have come past what wrote it.
  virtual void queue_copy(void* to, const void* from, size_t bytes, const Accelerator& source) = 0;

  // Queued; the host's side must come from allocate_host and stay as it is until wait().
  virtual void queue_upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual void queue_download(void* to_host, const void* from, size_t bytes) = 0;
  virtual void queue_clear_fault() = 0;
  virtual void queue_fault(int* to_host) = 0;  // as of fault()
  virtual void wait() = 0;                     // for all that was queued

  // The number that the first kernel to meet a bad index was launched with, or -1. Waits.
  virtual int fault() = 0;

  // Records queued work instead of running it, until end_recording or drop_recording. No other calls are allowed in
  // between. end_recording throws if something queued cannot be recorded.
  virtual void begin_recording() = 0;
  virtual std::shared_ptr<Recording> end_recording() = 0;
  virtual void drop_recording() noexcept = 0;
  virtual void replay(const Recording& recording) = 0;

  // Marks in the queue, and the seconds that the device took from one to the other; after wait().
  virtual void mark_begin() = 0;
  virtual void mark_end() = 0;
  virtual double marked_seconds() = 0;
};

// Memory of Accelerator::allocate_host.
class HostMemory {
 public:
  HostMemory(std::shared_ptr<Accelerator> accelerator, size_t bytes)
      : accelerator_(std::move(accelerator)), data_(static_cast<unsigned char*>(accelerator_->allocate_host(bytes))) {}
  ~HostMemory() { accelerator_->release_host(data_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  unsigned char* data() const { return data_; }

 private:
  std::shared_ptr<Accelerator> accelerator_;
  unsigned char* data_;
};

}  // namespace heddle
