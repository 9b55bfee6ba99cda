// Tests of the emulator itself: when asynchronous operations complete, and which errors are fatal. fragments.cu tests
// the layouts of fragments.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/rows/math.cuh"
#include "cuda/ptx/ptx_bulk.cuh"
#include "cuda/runtime/tensor_map.h"
#include "emulator/emulator.h"
#include "emulator/race.h"
#include "reports/bulk_writes.h"
#include "reports/clusters.h"

using namespace heddle;

namespace {

void test_cp_async() {
  alignas(16) uint32_t source[4] = {1, 2, 3, 4};
  uint32_t before = 0xffffffff, after[4] = {};
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  emulator::run_grid("cp.async", {1}, {1}, 0, [&] {
    HEDDLE_SHARED(uint32_t, to, [4]);
    cuda::ptx::copy_async_16(to, source, 8);
    cuda::ptx::commit_copies();
    if (!emulator::detecting_races()) before = to[0];  // in race builds this is an error (test_reports)
    cuda::ptx::wait_copies<0>();
    std::memcpy(after, to, 16);
  });
  expect(before == 0xffffffffu, "cp.async: no byte lands before the wait");
  expect(after[0] == 1 && after[1] == 2 && after[2] == 0 && after[3] == 0,
      "cp.async: bytes that are not read become zeros");
}

void test_reports() {
  expect_fatal("threads 32-63 have ended", 64, [] {
    if (threadIdx.x < 32) __syncthreads();
  });
  expect_fatal("while other threads wait in the one at line", 64, [] {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads(), static_cast<void>(0);
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
  });
  expect_fatal("wait in __shfl_xor_sync", 32, [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  });
  expect_fatal("does not contain the calling lane", 32, [] { __shfl_xor_sync(0x0000ffffu, 1.0f, 1); });
  expect_fatal("a write past 16 bytes of shared memory", 1, [] {
    HEDDLE_SHARED(float, four, [4]);
    volatile int beyond = 4;
    four[beyond] = 1;
  });
  if (emulator::detecting_races())
    expect_fatal("while a cp.async to it is in flight", 1, [] {
      alignas(16) static uint32_t source[4] = {};
      HEDDLE_SHARED(uint32_t, to, [4]);
      cuda::ptx::copy_async_16(to, source, 16);
      volatile uint32_t early = to[0];
      static_cast<void>(early);
      cuda::ptx::commit_copies();
      cuda::ptx::wait_copies<0>();
    });
  expect_fatal("cp.async that it has not waited for", 1, [] {
    alignas(16) static uint32_t source[4] = {};
    HEDDLE_SHARED(uint32_t, to, [4]);
    cuda::ptx::copy_async_16(to, source, 16);
  });
}

// Kernels with a PreviousKernel.
void test_waits() {
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  auto* const words = static_cast<uint32_t*>(emulator::allocate_device(64 * sizeof(uint32_t)));
  const cuda::PreviousKernel previous{};
  const auto is_early = [](auto body) {
    expect_fatal("an access of global memory before PreviousKernel::wait", 1, body, true);
  };
  const auto half = [&] {
    if (threadIdx.x < 32) previous.wait();
  };
  expect_fatal("a thread ends without PreviousKernel::wait", 64, half, true);
  is_early([&] {
    atomicAdd(words, 1u);
    previous.wait();
  });
  is_early([&] {
    HEDDLE_SHARED(uint32_t, to, [4]);
    cuda::ptx::copy_async_16(to, words, 16);
    cuda::ptx::commit_copies();
    cuda::ptx::wait_copies<0>();
    previous.wait();
  });
  volatile uint32_t* const word = words;
  if (emulator::detecting_races()) {
    is_early([&] {
      static_cast<void>(*word);
      previous.wait();
    });
    is_early([&] {
      *word = 1;
      previous.wait();
    });
  }
  const auto body = [&] {
    HEDDLE_SHARED(uint32_t, own, [32]);
    own[threadIdx.x] = threadIdx.x;
    previous.wait();
    words[32 * blockIdx.x + threadIdx.x] = own[threadIdx.x];
  };
  emulator::run_grid("waits", {2}, {32}, 0, body, true);
  expect(words[0] == 0 && words[63] == 31,
      "PreviousKernel: a kernel may access shared memory before wait() and global memory after it");
  emulator::release_device(words);
}

// Returns the order in which the threads of a block run.
std::vector<unsigned> order_of_threads(const char* setting) {
  setenv("HEDDLE_EMULATOR", setting, 1);
  std::vector<unsigned> order;
  emulator::run_grid("order", {1}, {64}, 0, [&] { order.push_back(threadIdx.x); });
  return order;
}

void test_seeds() {
  const std::vector<unsigned> first = order_of_threads("random:1"), second = order_of_threads("random:2");
  expect(first != second, "random: seeds give different orders");
  expect(order_of_threads("random:1") == first, "random: a seed gives the same order again after another seed");
  expect(order_of_threads("random:1") != first, "random: successive launches with one seed have different orders");
  order_of_threads("lazy");
  expect(order_of_threads("random:2") == second, "random: a seed gives the same order again after a fixed order");
}

// Each thread writes a word. The lanes of `mask` wait for each other, and read the word of the last thread, which
// writes first. Returns false if the race detector reports a race.
bool is_ordered(unsigned threads, unsigned mask) {
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  try {
    emulator::run_grid("part of a warp", {1}, {threads}, 0, [&] {
      HEDDLE_SHARED(unsigned, words, [32]);
      volatile unsigned* const word = words;
      __syncwarp();  // the last thread continues first
      word[threadIdx.x] = 1;
      if (!(mask >> threadIdx.x & 1)) return;
      __syncwarp(mask);
      static_cast<void>(word[threads - 1]);
    });
    return true;
  } catch (const Error& e) {
    if (!std::strstr(e.what(), "race in shared memory"))
      std::printf("FAILED expected a race, got \"%s\"\n", e.what()), ++failures;
    return false;
  }
}

void test_parts_of_warps() {
  if (!emulator::detecting_races()) return;
  for (const unsigned threads : {16u, 32u}) {
    expect(is_ordered(threads, 0xffffffffu), "__syncwarp of all lanes orders their accesses");
    expect(!is_ordered(threads, 0x3), "__syncwarp of two lanes orders no accesses of the others");
  }
  expect(is_ordered(16, 0xffff), "__syncwarp of all lanes of a small block orders their accesses");
}

void test_named_barriers() {
  // Two warps take turns, beginning with warp 1. Each waits until the other has arrived.
  for (const char* order : {"lazy", "eager", "random:1", "random:5"}) {
    setenv("HEDDLE_EMULATOR", order, 1);
    std::vector<int> turns;
    emulator::run_grid("turns", {1}, {64}, 0, [&] {
      const int warp = threadIdx.x / 32;
      if (warp == 0) cuda::ptx::arrive_named(2, 64);
      for (int turn = 0; turn < 3; ++turn) {
        cuda::ptx::sync_named(1 + warp, 64);
        if (threadIdx.x % 32 == 0) turns.push_back(warp);
        if (warp == 1 || turn < 2) cuda::ptx::arrive_named(2 - warp, 64);
      }
    });
    expect(turns == std::vector<int>{1, 0, 1, 0, 1, 0}, "named barriers: warps take turns");
  }
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  expect_fatal("threads 0-31 wait in bar.sync", 64, [] {
    if (threadIdx.x < 32) cuda::ptx::sync_named(1, 64);
  });
  expect_fatal("that 32 of 64 threads have reached", 64, [] {
    if (threadIdx.x < 32) cuda::ptx::arrive_named(1, 64);
  });
  expect_fatal("no thread waits for it", 64, [] { cuda::ptx::arrive_named(1, 64); });
  expect_fatal("expects 64", 64, [] { cuda::ptx::sync_named(1, threadIdx.x < 32 ? 64 : 32); });
  expect_fatal("expected 1 to 15", 32, [] { cuda::ptx::sync_named(16, 32); });
  expect_fatal("got 48 threads", 64, [] { cuda::ptx::sync_named(1, 48); });
  expect_fatal("while other lanes of the warp are in", 32, [] {
    if (threadIdx.x < 16) cuda::ptx::sync_named(1, 32);
    else cuda::ptx::arrive_named(1, 32);
  });
}

void test_registers() {
  // A thread in a block of 384 has at most 168 registers. The three warpgroups share 3 * 168 = 504.
  bool taken = false;
  emulator::run_grid("registers", {2}, {384}, 0, [&] {
    if (threadIdx.x < 128) return cuda::ptx::give_registers<24>();
    cuda::ptx::take_registers<240>();
    taken = true;
  });
  expect(taken, "setmaxnreg: two warpgroups take the registers that the third has released");
  expect_fatal("wait in setmaxnreg.inc", 384, [] {
    if (threadIdx.x < 128) return cuda::ptx::give_registers<32>();
    cuda::ptx::take_registers<240>();
  });
  expect_fatal("to 24 registers, of a warp that has 168", 384, [] { cuda::ptx::take_registers<24>(); });
  expect_fatal("to 176 registers, of a warp that has 168", 384, [] { cuda::ptx::give_registers<176>(); });
}

// ---- sm_90a

// Options of a kernel that multiplies a tile by itself. Each member of the first group is a step, which false omits.
// Each member of the second group is an error, which true adds.
struct Steps {
  bool fence_barrier = true, barrier_before_use = true, expect = true, wait = true, fence_products = true,
       commit = true, wait_products = true;
  bool other_descriptor = false, other_swizzle = false, overwrite = false, arrive_twice = false, read_early = false;
};
void one_tile(const Steps& step, const CUtensorMap& map, float* first_sum) {
  HEDDLE_SHARED(Lines, tile, [1]);
  HEDDLE_SHARED(uint64_t, barrier, [1]);
  if (threadIdx.x == 0) {
    cuda::ptx::init_barrier(barrier, 1);
    if (step.fence_barrier) cuda::ptx::fence_async();
  }
  if (step.barrier_before_use) __syncthreads();
  if (threadIdx.x == 0) {
    cuda::ptx::copy_box(tile, &map, 0, 0, barrier);
    cuda::ptx::arrive_expecting(barrier, step.expect ? sizeof(Lines) : sizeof(Lines) / 2);
    if (step.arrive_twice) cuda::ptx::arrive(barrier);
  }
  if (step.wait) cuda::ptx::wait_barrier(barrier, 0);
  float sum[64] = {};
  if (step.fence_products) cuda::ptx::fence_products();
  uint64_t describes = cuda::ptx::describe_tile(tile, 0, 1024);
  if (step.other_descriptor && threadIdx.x >= 64) describes += 2;
  if (step.other_swizzle) describes ^= uint64_t{3} << 62;  // the 64-byte swizzle
  // The second operand has 128 columns, but the tile has only 64 lines. With a stride of 0, all groups of eight columns
  // read the first eight lines.
  const uint64_t again = cuda::ptx::describe_tile(tile, 0, 0);
  cuda::ptx::multiply_tiles<false, false>(sum, describes, again, true);
  if (step.commit) cuda::ptx::commit_products();
  if (step.overwrite && threadIdx.x == 0) cuda::ptx::copy_box(tile, &map, 0, 0, barrier);
  if (step.read_early && threadIdx.x == 0) *first_sum = sum[0];
  if (step.wait_products) cuda::ptx::wait_products<0>();
  if (threadIdx.x == 0 && !step.read_early) *first_sum = sum[0];
}

void test_sm90() {
  for (uint16_t& v : ones) v = to_bf16(1.0f).bits;
  const CUtensorMap map = cuda::map_of_matrix(ones, 64, 64, 64, 64);
  for (const char* order : {"lazy", "eager", "random:1", "random:5"}) {
    setenv("HEDDLE_EMULATOR", order, 1);
    float sum = 0;
    emulator::run_grid("one tile", {1}, {128}, 0, [&] { one_tile({}, map, &sum); });
    expect(sum == 16, "wgmma: the product of a copied tile");
    emulator::run_grid("one tile", {1}, {128}, 0, [&] {
      Steps early;
      early.read_early = true;
      one_tile(early, map, &sum);
    });
    expect(sum != sum, "wgmma: accumulators are NaN before the wait");
    const auto changed = [&](const char* what, bool Steps::* part, bool value) {
      expect_fatal(what, 128, [&, part, value] {
        Steps steps;
        steps.*part = value;
        one_tile(steps, map, &sum);
      });
    };
    changed("is not followed by fence.proxy.async", &Steps::fence_barrier, false);
    changed("barrier", &Steps::barrier_before_use, false);
    changed("wait in mbarrier.try_wait", &Steps::expect, false);
    changed(
        std::strcmp(order, "lazy") == 0 ? "reads a tile that a copy is still writing" : "a tile", &Steps::wait, false);
    changed("without a wgmma.fence", &Steps::fence_products, false);
    changed("has not waited for", &Steps::commit, false);
    changed("has not waited for", &Steps::wait_products, false);
    changed("the warps of a warpgroup issue different products", &Steps::other_descriptor, true);
    changed("expected a descriptor of the 128-byte swizzle", &Steps::other_swizzle, true);
    changed("over a tile that a wgmma reads", &Steps::overwrite, true);
    changed("barrier", &Steps::arrive_twice, true);
  }
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  if (emulator::detecting_races())
    expect_fatal("without a fence.proxy.async after it", 128, [] {
      HEDDLE_SHARED(Lines, tile, [1]);
      for (int i = threadIdx.x; i < 64 * 64; i += 128) tile[0].element[i / 64][i % 64] = 0;
      __syncthreads();
      float sum[64] = {};
      cuda::ptx::fence_products();
      cuda::ptx::multiply_tiles<false, false>(
          sum, cuda::ptx::describe_tile(tile, 0, 1024), cuda::ptx::describe_tile(tile, 0, 0), true);
      cuda::ptx::commit_products();
      cuda::ptx::wait_products<0>();
    });
}

}  // namespace

int main() {
  test_cp_async();
  test_reports();
  test_waits();
  test_seeds();
  test_parts_of_warps();
  test_named_barriers();
  test_registers();
  test_sm90();
  test_bulk_writes(false);
  test_bulk_writes(true);
  test_clusters();
  if (!failures) std::printf("asynchronous operations complete as late as allowed, and every error is reported\n");
  return failures ? 1 : 0;
}
