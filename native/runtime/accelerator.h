// What the runtime asks of a device with memory of its own. The CPU has none; native/cuda has the CUDA one.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

namespace heddle {

// One per lane: a device and a stream on it. Work is queued in the order of the calls and runs in that order.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual const std::string& name() const = 0;  // "cuda:0"

  // Any thread.
  virtual void* allocate(size_t bytes) = 0;       // zeroed, aligned to 256 bytes; throws OUT_OF_MEMORY
  virtual void release(void* data) noexcept = 0;

  // Lane thread only.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;    // `from` may change when it returns
  virtual void download(void* to, const void* from, size_t bytes) = 0;  // after all that was queued
  virtual void clear_fault() = 0;
  // Waits for all that was queued. The number that the first kernel to meet a bad index was launched with, or -1.
  virtual int fault() = 0;
};

}  // namespace heddle
