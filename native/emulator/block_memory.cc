// The memory of the running block: shared memory with red zones, cp.async, atomic operations. A red zone is memory
// after an object. It is filled with 0xff, so that a write past the object can be detected.
#include <cstring>

#include "emulator/block_state.h"
#include "emulator/executor.h"
#include "core/error.h"
#include "core/round.h"

namespace heddle {
namespace emulator {
namespace {

void land(Copy& c) {
  if (c.done) return;
  std::memcpy(c.to, c.from, static_cast<size_t>(c.source_bytes));
  std::memset(static_cast<char*>(c.to) + c.source_bytes, 0, static_cast<size_t>(c.bytes - c.source_bytes));
  c.done = true;
}

}  // namespace

void check_red_zones() {
  Block& b = block();
  for (const Slot& s : b.slots)
    for (size_t i = 0; i < red_zone; ++i)
      if (static_cast<unsigned char>(s.data[s.bytes + i]) != 0xff) {
        cluster().failure = "a write past " + std::to_string(s.bytes) + " bytes of shared memory";
        return;
      }
}

void* shared(const void* key, size_t bytes, size_t alignment) {
  Block& b = block();
  for (const Slot& s : b.slots)
    if (s.key == key) return s.data;
  const size_t begin = round_up(b.shared_used, alignment);
  size_t total = bytes;
  for (const Slot& s : b.slots) total += s.bytes;
  if (total > shared_capacity()) {
    const std::string message = "expected at most " + std::to_string(shared_capacity()) +
                                " bytes of shared memory, got " + std::to_string(total);
    if (!cluster().current) throw internal_error(std::string(cluster().kernel) + ": " + message);
    fatal(message);
  }
  Slot s{key, b.shared_begin + begin, bytes};
  std::memset(s.data, 0xff, bytes + red_zone);  // NaN
  forget(s.data, bytes + red_zone);
  b.shared_used = begin + bytes + red_zone;
  b.slots.push_back(s);
  return s.data;
}

void* dynamic_shared() {
  if (!cluster().dynamic_bytes) fatal("dynamic shared memory in a launch without any");
  return block().slots[0].data;
}

uintptr_t shared_address(const void* data) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  if (!in_shared(address)) fatal("expected an address in shared memory");
  return address - reinterpret_cast<uintptr_t>(block().shared_begin);
}
size_t shared_capacity() { return cluster().capacity; }
char* shared_data(uintptr_t address) { return block().shared_begin + address; }

bool in_shared(uintptr_t address) {
  if (!cluster().block) return false;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block().shared_begin);
  return begin && address - begin < 2 * largest_shared;
}

void copy_async(void* to, const void* from, int bytes, int source_bytes) {
  if (bytes != 4 && bytes != 8 && bytes != 16)
    fatal("cp.async: expected 4, 8 or 16 bytes, got " + std::to_string(bytes));
  if (reinterpret_cast<uintptr_t>(to) % static_cast<uintptr_t>(bytes) ||
      reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes))
    fatal("cp.async of " + std::to_string(bytes) + " bytes, misaligned");
  if (!in_shared(reinterpret_cast<uintptr_t>(to))) fatal("cp.async: expected a destination in shared memory");
  if (source_bytes > 0) check_waited();
  Thread& t = *cluster().current;
  Copy c{to, from, bytes, source_bytes, false};
  copy_started(to, static_cast<size_t>(bytes));
  if (completes_immediately()) land(c);
  t.copies.push_back(c);
}

void commit_copies() {
  Thread& t = *cluster().current;
  t.groups.push_back(t.copies.size());
}

void wait_copies(int pending) {
  Thread& t = *cluster().current;
  if (static_cast<int>(t.groups.size()) <= pending) return;
  const std::ptrdiff_t groups = static_cast<std::ptrdiff_t>(t.groups.size()) - pending;
  const size_t copies = t.groups[static_cast<size_t>(groups - 1)];
  for (size_t i = 0; i < copies; ++i) {
    land(t.copies[i]);
    copy_landed(t.copies[i].to, static_cast<size_t>(t.copies[i].bytes));
  }
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(copies));
  t.groups.erase(t.groups.begin(), t.groups.begin() + groups);
  for (size_t& end : t.groups) end -= copies;
}

namespace {
void check_atomic(const void* at) {
  if (!in_shared(reinterpret_cast<uintptr_t>(at))) check_waited();
}
}  // namespace

uint32_t atomic_cas(uint32_t* at, uint32_t expected, uint32_t value) {
  check_atomic(at);
  const uint32_t old = *at;
  if (old == expected) *at = value;
  return old;
}
float atomic_add(float* at, float value) {
  check_atomic(at);
  const float old = *at;
  *at = old + value;
  return old;
}
uint32_t atomic_add(uint32_t* at, uint32_t value) {
  check_atomic(at);
  const uint32_t old = *at;
  *at = old + value;
  return old;
}
uint64_t atomic_add(uint64_t* at, uint64_t value) {
  check_atomic(at);
  const uint64_t before = *at;
  *at += value;
  return before;
}

}  // namespace emulator
}  // namespace heddle
