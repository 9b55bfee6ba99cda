#include "simulator/machine/memory.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>

#include "simulator/machine/machine.h"

namespace simulator {
namespace memory {
namespace {

struct Allocation {
  uint64_t bytes;
  Kind kind;
  bool lent;  // parameters of a launch: see lend
};
std::recursive_mutex& mutex() {
  static auto& m = *new std::recursive_mutex;  // never destroyed: threads may outlive static objects
  return m;
}
std::map<uint64_t, Allocation>& allocations() {
  static auto& a = *new std::map<uint64_t, Allocation>;
  return a;
}
size_t used = 0;
uint64_t version = 1;  // increases when the set of allocations changes
// The alignment of cudaMalloc. Each allocation also has a gap of this size before and after it.
constexpr size_t alignment = 256;

// Whether these bytes are within [begin, end). Does not compute address + bytes, which overflows near 2^64.
bool within(uint64_t address, uint64_t bytes, uint64_t begin, uint64_t end) {
  return address >= begin && address <= end && bytes <= end - address;
}

}  // namespace

void* allocate(size_t bytes, Kind kind) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  if (kind == Kind::device && used + bytes > total) return nullptr;
  const size_t whole = (bytes + alignment - 1) / alignment * alignment + 2 * alignment;
  auto* raw = static_cast<unsigned char*>(std::aligned_alloc(alignment, whole));
  if (!raw) return nullptr;
  unsigned char* data = raw + alignment;
  if (kind == Kind::device) {
    std::memset(data, 0xff, bytes);  // NaN
    used += bytes;
  }
  allocations()[reinterpret_cast<uint64_t>(data)] = {bytes, kind, false};
  ++version;
  return data;
}

bool release(void* data, Kind kind) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  const auto found = allocations().find(reinterpret_cast<uint64_t>(data));
  if (found == allocations().end() || found->second.kind != kind || found->second.lent) return false;
  if (kind == Kind::device) used -= found->second.bytes;
  allocations().erase(found);
  ++version;
  std::free(static_cast<unsigned char*>(data) - alignment);
  return true;
}

size_t in_use() { return used; }

bool find(uint64_t address, uint64_t bytes, uint64_t& begin, uint64_t& end) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  auto found = allocations().upper_bound(address);
  if (found == allocations().begin()) return false;
  --found;
  begin = found->first, end = begin + found->second.bytes;
  return within(address, bytes, begin, end);
}

namespace {
bool is_lent(uint64_t address) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  uint64_t begin = 0, end = 0;
  return find(address, 1, begin, end) && allocations()[begin].lent;
}
}  // namespace

bool is_pinned(const void* data) {
  uint64_t begin = 0, end = 0;
  std::lock_guard<std::recursive_mutex> lock(mutex());
  return find(reinterpret_cast<uint64_t>(data), 1, begin, end) && allocations()[begin].kind == Kind::pinned;
}

void lend(const void* data, size_t bytes) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  allocations()[reinterpret_cast<uint64_t>(data)] = {bytes, Kind::pinned, true};
  ++version;
}

void take_back(const void* data) {
  std::lock_guard<std::recursive_mutex> lock(mutex());
  allocations().erase(reinterpret_cast<uint64_t>(data));
  ++version;
}

void check(const Warp& w, const Instruction& i, uint64_t address, uint64_t bytes) {
  if ((w.must_wait & w.mask) && !is_lent(address)) w.need_wait(i);
  if (i.seen_version == version && within(address, bytes, i.seen_begin, i.seen_end)) return;
  uint64_t begin = 0, end = 0;
  if (!find(address, bytes, begin, end)) {
    std::ostringstream text;
    text << "global memory: " << bytes << " bytes at 0x" << std::hex << address << std::dec;
    if (begin) text << ", " << (address - begin) << " bytes after the start of an allocation of " << (end - begin);
    w.fail(i, text.str());
  }
  i.seen_begin = begin, i.seen_end = end, i.seen_version = version;
}

}  // namespace memory
}  // namespace simulator
