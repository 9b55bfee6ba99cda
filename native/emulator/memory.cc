// Memory of emulated devices: host memory filled with NaN, with a red zone after each allocation.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>

#include "cuda_runtime.h"
#include "emulator/race.h"
#include "emulator/runtime.h"
#include "core/round.h"

namespace heddle {
namespace emulator {
namespace {

constexpr size_t tail = 256, alignment = 256;  // tail: bytes of a red zone

struct Allocation {
  size_t bytes;
  int device;
};
struct Allocations {
  std::mutex mutex;
  std::map<uintptr_t, Allocation> found;  // by address
  std::map<int, size_t> total;            // bytes per device
  std::atomic<uint64_t> changes{1};       // increases with every change, which makes the caches of in_device stale
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
  const size_t reserve = round_up(bytes + tail, alignment);
  void* data = std::aligned_alloc(alignment, reserve);
  if (!data) return nullptr;
  std::memset(data, 0xff, reserve);
  a.found[reinterpret_cast<uintptr_t>(data)] = {bytes, device};
  a.total[device] += bytes;
  ++a.changes;
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
  ++a.changes;
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

// Whether the address is in device memory. Race builds call it for every access. It caches the last eight ranges that
// it found, which are allocations or gaps between them. Most calls therefore need no lock.
bool in_device(uintptr_t address) {
  struct Range {
    uintptr_t begin = 0, bytes = 0;
    bool inside = false;
  };
  thread_local Range recent[8];
  thread_local size_t next = 0;
  thread_local uint64_t changes = 0;
  Allocations& a = allocations();
  if (a.changes.load(std::memory_order_acquire) == changes) {
    for (const Range& r : recent)
      if (address - r.begin < r.bytes) return r.inside;
  }
  std::lock_guard<std::mutex> lock(a.mutex);
  if (a.changes != changes) {
    changes = a.changes;
    for (Range& r : recent) r = {};
  }
  const auto after = a.found.upper_bound(address);
  const uintptr_t limit = after == a.found.end() ? UINTPTR_MAX : after->first;
  uintptr_t begin = 0, end = 0;  // range of the previous allocation
  if (after != a.found.begin()) {
    const auto before = std::prev(after);
    begin = before->first, end = begin + before->second.bytes + tail;
  }
  const bool inside = address < end;
  recent[next] = inside ? Range{begin, end - begin, true} : Range{end, limit - end, false};
  next = (next + 1) % 8;
  return inside;
}

size_t free_bytes() {
  Allocations& a = allocations();
  std::lock_guard<std::mutex> lock(a.mutex);
  return device_bytes - a.total[current_device()];
}

}  // namespace emulator
}  // namespace heddle
