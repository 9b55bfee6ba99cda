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

// Writes the box to its place in the tensor. Elements outside the tensor are dropped.
void land_box(const BulkWrite& w) {
  const uint32_t size = w.map.element_bytes, elements = w.map.box[0];
  each_line(w.map, w.at, [&](uint32_t line, const char* row) {
    for (uint32_t e = 0; row && e < elements; ++e) {
      const int64_t column = w.at[0] + int64_t{e};
      if (column < 0 || column >= int64_t{w.map.dims[0]}) continue;
      const uintptr_t from = w.from + (uintptr_t{line} * elements + e) * size;
      const char* element = w.data.data() + ((w.map.swizzled ? swizzle(from) : from) - w.from);
      std::memcpy(const_cast<char*>(row) + size * column, element, size);
    }
  });
}

void land(BulkWrite& w) {
  read_source(w);
  if (w.boxed) return land_box(w);
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

void check_end(const BulkWrite& w, int line) {
  if (w.from + w.bytes > shared_capacity()) fatal("a bulk write" + at(line) + " from beyond shared memory");
}
void start_write(BulkWrite w) {
  check_waited();
  check_async_read(shared_data(w.from), w.bytes);
  asynchronous_state().used = true;
  if (completes_immediately()) read_source(w);
  mine().open.push_back(std::move(w));
}

}  // namespace

void write_bytes(void* to, const void* from, uint32_t bytes, bool add, int line) {
  const uintptr_t source = shared_address(from), target = reinterpret_cast<uintptr_t>(to);
  if (bytes == 0 || bytes % 16 || source % 16 || target % 16)
    fatal("a misaligned bulk write" + at(line) + " of " + std::to_string(bytes) + " bytes");
  BulkWrite w{static_cast<char*>(to), source, bytes, add, false, {}};
  check_end(w, line);
  if (!in_device(target) || !in_device(target + bytes - 1))
    fatal("a bulk write" + at(line) + " to an address outside device memory");
  start_write(std::move(w));
}

void write_box(const void* map, uint32_t rank, const int32_t* coordinates, const void* from, int line) {
  BulkWrite w{nullptr, shared_address(from), 0, false, false, {}, true};
  w.map = tensor_map_of(map, rank, "a TMA write", line);
  w.bytes = static_cast<uint32_t>(box_bytes(w.map));
  std::copy(coordinates, coordinates + rank, w.at);
  check_end(w, line);
  if (w.from % granule_bytes) fatal("a TMA write" + at(line) + " from an address that is not a multiple of 128");
  const uintptr_t row_bytes = uintptr_t{w.map.dims[0]} * w.map.element_bytes;
  each_line(w.map, w.at, [&](uint32_t, const char* row) {
    const uintptr_t first = reinterpret_cast<uintptr_t>(row);
    if (row && (!in_device(first) || !in_device(first + row_bytes - 1)))
      fatal("a TMA write" + at(line) + " to an address outside device memory");
  });
  start_write(std::move(w));
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
