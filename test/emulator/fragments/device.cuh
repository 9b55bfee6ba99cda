// Helpers of the tests of fragments.cu. Each test launches a __global__ function in the same way as heddle launches its
// kernels.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "cuda/runtime/device.h"
#include "runtime/devices.h"
#include "cuda/runtime/launch.cuh"
#include "runtime/pool.h"

namespace heddle {
namespace cuda {

int failures = 0;
void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

struct Device {
  std::shared_ptr<Accelerator> accelerator = open_cuda(0);
  Pool pool{1};
  Context context{pool, nullptr, accelerator.get()};
};

// Device memory with a copy on the host. to_device() uploads the copy, and back() downloads it.
template <class T> class Shared {
 public:
  Shared(Device& device, size_t count)
      : host(count), device_(device.accelerator), data_(static_cast<T*>(device_->allocate(count * sizeof(T)))) {}
  ~Shared() { device_->release(data_); }
  T* to_device() {
    device_->upload(data_, host.data(), host.size() * sizeof(T));
    return data_;
  }
  void back() { device_->download(host.data(), data_, host.size() * sizeof(T)); }
  std::vector<T> host;

 private:
  std::shared_ptr<Accelerator> device_;
  T* data_;
};

// The position of a fragment's element in its matrix.
struct Place {
  int row, column;
};

}  // namespace cuda
}  // namespace heddle
