// The runtime's interface to a device with separate memory. native/cuda implements it. The CPU does not use it.
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

// Recorded work that can be queued again as a whole. On CUDA it is a graph, which one launch queues.
class Recording {
 public:
  virtual ~Recording() = default;
};

// Describes a matrix product c (m, n) = a b, for the choice of a kernel.
struct ProductDescription {
  int64_t m, n, k;
  DType a, b, c;
  bool a_transposed, b_transposed;  // if true, a is stored as (k, m), b as (n, k)
};
// The kernels that can compute a product, with the device's default first. `key` identifies the kind of product for
// choose_variants().
struct ProductVariants {
  std::string key;
  std::vector<std::string> names;
};

// A device and a stream on it, for one lane. Work is queued in the order of the calls and runs in that order. If the
// device fails for good, the call that notices it and all later calls throw DEVICE_LOST, with the first failure.
// Functions that free memory then do nothing.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual const std::string& name() const = 0;  // "cuda:0"
  // Whether f32 products may use TF32, which rounds operands to a mantissa of 10 bits.
  virtual bool allows_tf32() const { return false; }

  // ---- any thread
  virtual void* allocate(size_t bytes) = 0;       // zeroed, aligned to 256 bytes; throws OUT_OF_MEMORY
  virtual void* allocate_host(size_t bytes) = 0;  // pinned host memory for asynchronous copies; throws OUT_OF_MEMORY
  // Freeing memory waits for all work on the device. Once on_release has set `free_later`, release and release_host
  // therefore only list the memory and call `free_later`. The lane's thread then calls free_released, which frees the
  // listed memory. If memory is short, allocate frees it as well.
  virtual void release(void* data) noexcept = 0;
  virtual void release_host(void* data) noexcept = 0;
  virtual void free_released() noexcept = 0;
  virtual void on_release(std::function<void()> free_later) = 0;  // with an empty function, release frees at once

  virtual ProductVariants product_variants(const ProductDescription&) const { return {}; }
  // Sets the variant of products by their keys. Replaces earlier choices. Ignores names that are not variants.
  virtual void choose_variants(std::map<std::string, std::string> /* name by key */) {}

  // ---- lane thread only
  virtual void upload(void* to, const void* from, size_t bytes) = 0;    // blocks until the copy is done
  virtual void download(void* to, const void* from, size_t bytes) = 0;  // waits for all queued work first
  // Uploads `bytes` bytes in parts. fill(at, count, into) writes bytes [at, at + count) of the data to the staging
  // buffer `into`.
  using Fill = std::function<void(size_t at, size_t count, void* into)>;
  virtual void upload_filled(void* to, size_t bytes, const Fill& fill) = 0;

  // Queues a copy within the device, or from another device's memory. The other device must have completed all writes
  // to that memory.
  virtual void queue_copy(void* to, const void* from, size_t bytes, const Accelerator& source) = 0;

  // These functions queue copies. The host memory must come from allocate_host and must not change until wait().
  virtual void queue_upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual void queue_download(void* to_host, const void* from, size_t bytes) = 0;
  virtual void queue_clear_fault() = 0;
  virtual void queue_fault(int* to_host) = 0;  // copies 1 + the result of fault()
  virtual void wait() = 0;                     // waits for all queued work

  // Returns the node number of the first kernel that found a bad index, or -1. Waits for all queued work.
  virtual int fault() = 0;

  // Records queued work instead of running it, until end_recording or drop_recording. No other calls are allowed in
  // between. end_recording throws if something queued cannot be recorded.
  virtual void begin_recording() = 0;
  virtual std::shared_ptr<Recording> end_recording() = 0;
  virtual void drop_recording() noexcept = 0;
  virtual void replay(const Recording& recording) = 0;

  // Marks two points in the queue. After wait(), marked_seconds() returns the device time between them.
  virtual void mark_begin() = 0;
  virtual void mark_end() = 0;
  virtual double marked_seconds() = 0;

  // Whether all calls throw DEVICE_LOST. Any thread may call this function.
  virtual bool is_lost() const noexcept { return false; }
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
