// The fragment layouts of cuda/ptx.cuh against the tables of "Parallel Thread Execution ISA", section 9.7.14.5, written here a
// second time as the manual gives them: row and column of the i-th element that a lane holds. Matrices go in and come out
// through those tables, so that a wrapper with another layout gives another product.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>

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

// Figures 80 to 82: .bf16 fragments of mma.m16n8k16. groupID = %laneid >> 2, threadID_in_group = %laneid % 4.
struct Place {
  int row, column;
};
Place place_a(int lane, int i) {  // i in 0..7
  const int group = lane >> 2, thread = lane % 4;
  return {(i < 2 || (i >= 4 && i < 6)) ? group : group + 8, i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8};
}
Place place_b(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8, group};
}
Place place_c(int lane, int i) {  // i in 0..3
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? group : group + 8, thread * 2 + (i & 1)};
}

void test_mma() {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> draw(-1, 1);
  float a[16][16], b[16][8], c[16][8], got[16][8];
  for (auto& row : a) for (float& v : row) v = to_float(to_bf16(draw(random)));
  for (auto& row : b) for (float& v : row) v = to_float(to_bf16(draw(random)));
  for (auto& row : c) for (float& v : row) v = draw(random);
  emulator::run_grid("mma", {1}, {32}, 0, [&] {
    const int lane = static_cast<int>(threadIdx.x);
    uint32_t left[4] = {}, right[2] = {};
    float sum[4];
    for (int i = 0; i < 8; ++i) left[i / 2] |= static_cast<uint32_t>(to_bf16(a[place_a(lane, i).row][place_a(lane, i).column]).bits) << (16 * (i % 2));
    for (int i = 0; i < 4; ++i) right[i / 2] |= static_cast<uint32_t>(to_bf16(b[place_b(lane, i).row][place_b(lane, i).column]).bits) << (16 * (i % 2));
    for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row][place_c(lane, i).column];
    cuda::ptx::mma_bf16(sum, left, right);
    for (int i = 0; i < 4; ++i) got[place_c(lane, i).row][place_c(lane, i).column] = sum[i];
  });
  double worst = 0;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double want = c[i][j];
      for (int k = 0; k < 16; ++k) want += static_cast<double>(a[i][k]) * b[k][j];
      worst = std::fmax(worst, std::fabs(want - got[i][j]));
    }
  expect(worst < 16 * 16 * 6e-8, "mma.m16n8k16: the product");
}

// Figures 89 to 91: .s8 fragments of mma.m16n8k16; c's are those of the other types.
Place place_a_int8(int lane, int i) {  // i in 0..7
  return {i < 4 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 4 + (i & 3)};
}
Place place_b_int8(int lane, int i) {  // i in 0..3
  return {lane % 4 * 4 + i, lane >> 2};
}

void test_mma_int8() {
  std::mt19937 random(4);
  int a[16][16], b[16][8], c[16][8], got[16][8];
  const auto fill = [&](auto& m) { for (auto& row : m) for (int& v : row) v = static_cast<int>(random() % 256) - 128; };
  fill(a), fill(b), fill(c);
  emulator::run_grid("mma", {1}, {32}, 0, [&] {
    const int lane = static_cast<int>(threadIdx.x);
    uint32_t left[2] = {}, right = 0;
    int sum[4];
    const auto byte = [](int v, int i) { return static_cast<uint32_t>(static_cast<uint8_t>(v)) << 8 * (i % 4); };
    for (int i = 0; i < 8; ++i) left[i / 4] |= byte(a[place_a_int8(lane, i).row][place_a_int8(lane, i).column], i);
    for (int i = 0; i < 4; ++i) right |= byte(b[place_b_int8(lane, i).row][place_b_int8(lane, i).column], i);
    for (int i = 0; i < 4; ++i) sum[i] = c[place_c(lane, i).row][place_c(lane, i).column];
    cuda::ptx::mma_int8(sum, left, right);
    for (int i = 0; i < 4; ++i) got[place_c(lane, i).row][place_c(lane, i).column] = sum[i];
  });
  bool ok = true;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      int want = c[i][j];
      for (int k = 0; k < 16; ++k) want += a[i][k] * b[k][j];
      ok &= want == got[i][j];
    }
  expect(ok, "mma.m16n8k16.s8: the product");
}

// Section 9.7.14.5.15: "Each row of a matrix is 16 bytes; thread 4 i + j of the warp receives elements 2 j and 2 j + 1 of row i".
void test_ldmatrix() {
  for (const bool transposed : {false, true}) {
    uint32_t got[32][4];
    emulator::run_grid("ldmatrix", {1}, {32}, 0, [&] {
      HEDDLE_SHARED(uint16_t, tile, [4][8][8]);
      const int lane = static_cast<int>(threadIdx.x);
      for (int i = 0; i < 8; ++i) tile[lane / 8][lane % 8][i] = static_cast<uint16_t>(lane / 8 * 100 + lane % 8 * 10 + i);
      __syncwarp();
      uint32_t to[4];
      if (transposed) cuda::ptx::load_matrices<true>(to, tile[lane / 8][lane % 8]);
      else cuda::ptx::load_matrices<false>(to, tile[lane / 8][lane % 8]);
      std::memcpy(got[lane], to, sizeof to);
    });
    bool ok = true;
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j)
        for (int matrix = 0; matrix < 4; ++matrix)
          for (int e = 0; e < 2; ++e) {
            const int row = transposed ? 2 * j + e : i, column = transposed ? i : 2 * j + e;
            ok &= ((got[4 * i + j][matrix] >> (16 * e)) & 0xffff) == static_cast<uint32_t>(matrix * 100 + row * 10 + column);
          }
    expect(ok, transposed ? "ldmatrix.trans" : "ldmatrix");
  }
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
  test_mma();
  test_mma_int8();
  test_ldmatrix();
  test_cp_async();
  test_reports();
  if (!failures) std::printf("the fragments are those of the manual\n");
  return failures ? 1 : 0;
}
