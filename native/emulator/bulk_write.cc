// Bulk writes from shared to global memory, and the words by which blocks signal their progress.
#include <cmath>
#include <cstring>

#include "emulator/asynchronous_state.h"

namespace heddle {
namespace emulator {
namespace {

void read_source(BulkWrite& w) {
  if (w.read) return;
  w.data.assign(shared_data(w.from), shared_data(w.from) + w.bytes);
  w.read = true;
}

// cp.reduce.async.bulk.add.f32 "flushes subnormal inputs and results to sign-preserving zero" (section 9.7.9.25.4.2 of
// the PTX manual).
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

void land(BulkWrite& w) {
  read_source(w);
  if (!w.add) {
    std::memcpy(w.to, w.data.data(), w.bytes);
    return;
  }
  for (uint32_t at = 0; at < w.bytes; at += sizeof(float)) {
    float sum, value;
    std::memcpy(&sum, w.to + at, sizeof sum), std::memcpy(&value, w.data.data() + at, sizeof value);
    sum = flushed(flushed(sum) + flushed(value));
    std::memcpy(w.to + at, &sum, sizeof sum);
  }
}

BulkWrites& mine() { return asynchronous_state().writes[running_thread()]; }

}  // namespace

void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line) {
  const uintptr_t source = shared_address(from), target = reinterpret_cast<uintptr_t>(to);
  if (bytes == 0 || bytes % 16 || source % 16 || target % 16)
    fatal("a misaligned bulk write" + at(line) + " of " + std::to_string(bytes) + " bytes");
  if (source + bytes > shared_capacity()) fatal("a bulk write" + at(line) + " from beyond shared memory");
  if (!in_device(target) || !in_device(target + bytes - 1))
    fatal("a bulk write" + at(line) + " to an address outside device memory");
  check_waited();
  check_async_read(from, bytes);
  asynchronous_state().used = true;
  BulkWrite w{static_cast<char*>(to), source, bytes, add, false, {}};
  if (completes_immediately()) read_source(w);
  mine().open.push_back(std::move(w));
}

void commit_writes(int) {
  BulkWrites& w = mine();
  w.committed.push_back(std::move(w.open));
  w.open.clear();
}

void wait_writes(int pending, bool read_only, int line) {
  BulkWrites& w = mine();
  const size_t groups = w.committed.size(),
               done = groups > static_cast<size_t>(pending) ? groups - static_cast<size_t>(pending) : 0;
  const auto unread = [](const std::vector<BulkWrite>& group) {
    return std::any_of(group.begin(), group.end(), [](const BulkWrite& write) { return !write.read; });
  };
  // Other threads run before the sources are read, as they would while a device copies. This exposes threads that
  // overwrite a source too early.
  if (std::any_of(w.committed.begin(), w.committed.begin() + static_cast<std::ptrdiff_t>(done), unread)) {
    asynchronous_state().waiting_for_writes.push_back(running_thread());
    block_until_woken("cp.async.bulk.wait_group", line);
  }
  for (size_t i = 0; i < done; ++i)
    for (BulkWrite& write : w.committed[i]) {
      if (read_only) read_source(write);
      else land(write);
    }
  if (!read_only) w.committed.erase(w.committed.begin(), w.committed.begin() + static_cast<std::ptrdiff_t>(done));
}

void wait_for_word(const int32_t* word, int32_t value, int line) {
  check_waited();
  if (*word != value)
    fatal("deadlock" + at(line) + ": waits for a word to become " + std::to_string(value) + ", which is " +
          std::to_string(*word) + " after all earlier blocks have ended");
}

void release_word(int32_t* word, int32_t value, int line) {
  check_waited();
  const BulkWrites& w = mine();
  if (!w.open.empty() || !w.committed.empty())
    fatal("a release" + at(line) + " while a bulk write of the thread is in flight");
  *word = value;
}

std::string drain_writes() {
  std::string text;
  for (auto& [thread, writes] : asynchronous_state().writes) {
    if (!writes.open.empty())
      text = "a block ends with a bulk write that thread " + std::to_string(thread) + " has not committed";
    for (auto& group : writes.committed)
      for (BulkWrite& w : group) {
        if (!w.read) text = "a block ends with a bulk write whose source is not read yet";
        land(w);
      }
  }
  return text;
}

}  // namespace emulator
}  // namespace heddle
