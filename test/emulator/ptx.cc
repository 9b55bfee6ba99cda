// What the emulator alone can show: how late a copy may land, and what must be fatal. fragments.cu holds the layouts.
#include <cstdio>
#include <cstring>

#include "cuda/math.cuh"
#include "emulator/race.h"

using namespace heddle;

namespace {

int failures = 0;
void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

void test_cp_async() {
  alignas(16) uint32_t source[4] = {1, 2, 3, 4};
  uint32_t before = 0xffffffff, after[4] = {};
  setenv("HEDDLE_EMULATOR", "lazy", 1);
  emulator::run_grid("cp.async", {1}, {1}, 0, [&] {
    HEDDLE_SHARED(uint32_t, to, [4]);
    cuda::ptx::copy_async_16(to, source, 8);
    cuda::ptx::commit_copies();
    if (!emulator::detecting_races()) before = to[0];  // the detector reports it: test_reports
    cuda::ptx::wait_copies<0>();
    std::memcpy(after, to, 16);
  });
  expect(before == 0xffffffffu, "cp.async: nothing has landed before the wait");
  expect(after[0] == 1 && after[1] == 2 && after[2] == 0 && after[3] == 0, "cp.async: what is not read becomes zero");
}

// What must be fatal, and how it is reported.
template <class F> void expect_fatal(const char* what, unsigned threads, F body) {
  try {
    emulator::run_grid("broken", {1}, {threads}, 0, body);
    expect(false, what);
  } catch (const Error& e) {
    if (!std::strstr(e.what(), what)) std::printf("FAILED expected \"%s\", got \"%s\"\n", what, e.what()), ++failures;
  }
}

void test_reports() {
  expect_fatal("threads 32-63 have ended", 64, [] {
    if (threadIdx.x < 32) __syncthreads();
  });
  expect_fatal("while other threads wait in the one at line", 64, [] {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads(), static_cast<void>(0);
    if (threadIdx.x < 32)
      __syncthreads();
    else
      __syncthreads();
  });
  expect_fatal("wait in __shfl_xor_sync", 32, [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  });
  expect_fatal("leaves its own lane out", 32, [] { __shfl_xor_sync(0x0000ffffu, 1.0f, 1); });
  expect_fatal("a write past 16 bytes of shared memory", 1, [] {
    HEDDLE_SHARED(float, four, [4]);
    volatile int beyond = 4;
    four[beyond] = 1;
  });
  if (emulator::detecting_races())
    expect_fatal("while a cp.async to it is under way", 1, [] {
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

}  // namespace

int main() {
  test_cp_async();
  test_reports();
  if (!failures) std::printf("copies land as late as allowed, and every planted misuse is reported\n");
  return failures ? 1 : 0;
}
