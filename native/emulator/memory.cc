// The memory of emulated devices: the host's, filled with NaN, with a tail behind each allocation that must stay as it is.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "cuda_runtime.h"
#include "emulator/race.h"
#include "emulator/runtime.h"

namespace heddle {
namespace emulator {
namespace {

constexpr size_t tail = 256, alignment = 256;

struct Allocation {
  size_t bytes;
  int device;
};
struct Allocations {
  std::mutex mutex;
  std::map<uintptr_t, Allocation> found;  // by address
  std::map<int, size_t> total;            // by device
};
Allocations& allocations() {
  static Allocations& a = *new Allocations;
  return a;
}

}  // namespace

void* allocate_device(size_t bytes) {
  Allocations& a = allocations();
  const int device = current_device();
  std::lock_guard<std::mutex> lock(a.mutex);
  if (a.total[device] + bytes > device_bytes) return nullptr;
  const size_t reserve = (bytes + tail + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, reserve);
  if (!data) return nullptr;
  std::memset(data, 0xff, reserve);
  a.found[reinterpret_cast<uintptr_t>(data)] = {bytes, device};
  a.total[device] += bytes;
  return data;
}

bool past_end(const void* data) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  const auto found = a.found.find(reinterpret_cast<uintptr_t>(data));
  if (found == a.found.end()) return false;
  const unsigned char* end = static_cast<const unsigned char*>(data) + found->second.bytes;
  return std::any_of(end, end + tail, [](unsigned char c) { return c != 0xff; });
}

bool release_device(void* data) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  const auto found = a.found.find(reinterpret_cast<uintptr_t>(data));
  if (found == a.found.end()) return false;
  a.total[found->second.device] -= found->second.bytes;
  a.found.erase(found);
  std::free(data);
  return true;
}

int device_of(uintptr_t address) {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  auto after = a.found.upper_bound(address);
  if (after == a.found.begin()) return -1;
  --after;
  return address < after->first + after->second.bytes + tail ? after->second.device : -1;
}

bool in_device(uintptr_t address) { return device_of(address) >= 0; }

size_t free_bytes() {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  return device_bytes - a.total[current_device()];
}

}  // namespace emulator
}  // namespace heddle
