// Tests of bulk writes from shared to global memory: when they complete, and which errors are fatal.
#pragma once
#include "checks.h"
#include "cuda/ptx/ptx_bulk.cuh"
#include "cuda/runtime/tensor_map.h"
#include "emulator/race.h"

namespace heddle {

// Options of a thread that writes 32 floats from shared to global memory. Each member of the first group is a step,
// which false omits. `overwrite` writes to the source before it is read. `read_early` reads the result before the last
// wait. `skipped` and `bytes` are the offset and the size of the source in bytes. With a map, the thread writes a box.
struct BulkSteps {
  bool fence = true, commit = true, wait_read = true, wait = true, release = true;
  bool overwrite = false, read_early = false;
  size_t skipped = 0, bytes = 128;
  const CUtensorMap* map = nullptr;
};
struct BulkFound {
  float early = 0;
};
inline void one_write(const BulkSteps& step, float* to, int32_t* word, BulkFound* found) {
  HEDDLE_SHARED(Lines, memory, [1]);
  float* own = reinterpret_cast<float*>(memory);
  for (int i = 0; i < 64; ++i) own[i] = 7;
  if (step.fence) cuda::ptx::fence_async();
  const char* source = reinterpret_cast<char*>(own) + step.skipped;
  if (step.map) cuda::ptx::store_box(step.map, 0, 0, source);
  else cuda::ptx::store_bytes(to, source, static_cast<unsigned>(step.bytes));
  if (step.commit) cuda::ptx::commit_writes();
  if (step.overwrite)
    for (int i = 0; i < 32; ++i) own[i] = 8;
  if (step.wait_read) cuda::ptx::wait_writes_read();
  if (step.read_early) found->early = to[0];
  if (step.wait) cuda::ptx::wait_writes();
  if (step.release) cuda::ptx::release_word(word, 1);
}

// If `boxed`, the thread writes a box with one row of 64 bf16 elements.
inline void test_bulk_writes(bool boxed) {
  float* to = static_cast<float*>(emulator::allocate_device(256));
  const CUtensorMap map = cuda::map_of_matrix(to, 1, 64, 64, 1);
  int32_t* word = static_cast<int32_t*>(emulator::allocate_device(16));
  BulkFound found;
  const auto run = [&](const char* order, BulkSteps steps) {
    setenv("HEDDLE_EMULATOR", order, 1);
    if (boxed) steps.map = &map;
    for (int i = 0; i < 64; ++i) to[i] = 1;
    *word = 0;
    emulator::run_grid("bulk write", {1}, {1}, 0, [&] { one_write(steps, to, word, &found); });
  };
  for (const char* order : {"lazy", "eager", "random:1", "random:5"}) {
    run(order, {});
    expect(to[0] == 7 && to[31] == 7 && to[32] == 1 && *word == 1, "a bulk write: complete after wait_group");
    // wait_group.read waits only until the source is read, not for the write.
    BulkSteps early;
    early.read_early = true;
    run(order, early);
    expect(found.early == 1 && to[0] == 7, "a bulk write: not complete before wait_group, even after wait_group.read");
    // At the end of a block, the device completes writes whose sources have been read.
    BulkSteps unwaited;
    unwaited.wait = unwaited.release = false;
    run(order, unwaited);
    expect(to[0] == 7, "a bulk write: complete at the kernel's end");
  }
  BulkSteps overwrite;
  overwrite.overwrite = true;
  run("lazy", overwrite);
  expect(to[0] == 8, "a bulk write: if lazy, it reads the source as late as allowed");
  run("eager", overwrite);
  expect(to[0] == 7, "a bulk write: if eager, it reads the source at once");

  setenv("HEDDLE_EMULATOR", "lazy", 1);
  const auto broken = [&](const char* what, const BulkSteps& steps, size_t past = 0) {
    expect_fatal(what, 1,
        [&, past] { one_write(steps, reinterpret_cast<float*>(reinterpret_cast<char*>(to) + past), word, &found); });
  };
  const auto without = [&](const char* what, bool BulkSteps::* part, bool BulkSteps::* other = nullptr,
                           bool BulkSteps::* third = nullptr) {
    BulkSteps steps;
    for (bool BulkSteps::* left_out : {part, other, third})
      if (left_out) steps.*left_out = false;
    if (boxed) steps.map = &map;
    broken(what, steps);
  };
  without("that thread 0 has not committed", &BulkSteps::commit, &BulkSteps::release);
  without("whose source is not read yet", &BulkSteps::wait_read, &BulkSteps::wait, &BulkSteps::release);
  without("a release", &BulkSteps::wait);  // the source is read, but the write is in flight
  without("a release", &BulkSteps::commit);
  if (emulator::detecting_races()) without("without a fence.proxy.async after it", &BulkSteps::fence);
  if (boxed) {
    BulkSteps from_odd_place;
    from_odd_place.map = &map, from_odd_place.skipped = 64;
    broken("not a multiple of 128", from_odd_place);
    const CUtensorMap empty = {}, heads = cuda::map_of_heads(to, 1, 1, 1, 64, 1),
                      on_host = cuda::map_of_matrix(ones, 64, 64, 64, 1);
    const auto mapped = [&](const char* what, const CUtensorMap& other) {
      BulkSteps steps;
      steps.map = &other;
      broken(what, steps);
    };
    mapped("an invalid tensor map", empty);
    mapped("of 2 dimensions with a map of 4", heads);
    mapped("outside device memory", on_host);
  } else {
    for (const size_t bytes : {size_t{0}, size_t{8}, size_t{120}}) {
      BulkSteps steps;
      steps.bytes = bytes;
      broken("misaligned", steps);
    }
    BulkSteps from_odd_place;
    from_odd_place.skipped = 4;
    broken("misaligned", from_odd_place);
    broken("misaligned", {}, 8);
    broken("outside device memory", {}, size_t{1} << 40);
    BulkSteps beyond;
    beyond.bytes = size_t{1} << 20;
    broken("beyond shared memory", beyond);
    expect_fatal("expected an address in shared memory", 1, [&] { cuda::ptx::store_bytes(to, to, 16); });
  }
  // Only a block that has not started could write this word.
  *word = 0;
  expect_fatal("for a word to become 1, which is 0", 1, [&] { cuda::ptx::wait_for_word(word, 1); });
  emulator::release_device(to);
  emulator::release_device(word);
}

}  // namespace heddle
