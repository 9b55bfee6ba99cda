// Tests of bulk writes from shared to global memory, and of the words by which blocks signal their progress
// (ptx_bulk.cuh). Section numbers are those of the PTX manual.
#pragma once
#include "cuda/ptx/ptx_bulk.cuh"
#include "cuda/runtime/tensor_map.h"
#include "device.cuh"

namespace heddle {
namespace cuda {

// Sections 9.7.9.25.4.1 and 9.7.9.25.4.2. Stores 16, 48 and 1024 bytes of `from` to the same offsets of `to`, or adds
// them as floats. The writes form two groups. Both arrays have 2048 floats.
constexpr int bulk_floats = 2048;
struct BulkPart {
  int at, floats;  // index of the first float, and their number
};
constexpr BulkPart bulk_parts[] = {{4, 4}, {64, 12}, {1024, 256}};

template <bool add>
__global__ void __launch_bounds__(32) write_once(const float* from, float* to, BulkPart a, BulkPart b, BulkPart c) {
#if HEDDLE_SM90A
  HEDDLE_SHARED(float4, memory, [bulk_floats / 4]);
  float* shared = reinterpret_cast<float*>(memory);
  for (int i = static_cast<int>(threadIdx.x); i < bulk_floats; i += 32) shared[i] = from[i];
  ptx::fence_async();
  __syncthreads();
  if (threadIdx.x > 0) return;
  const auto write = [&](const BulkPart& p) {
    if (add) ptx::add_bytes(to + p.at, shared + p.at, static_cast<unsigned>(p.floats) * 4);
    else ptx::store_bytes(to + p.at, shared + p.at, static_cast<unsigned>(p.floats) * 4);
  };
  write(a);
  write(b);
  ptx::commit_writes();
  write(c);
  ptx::commit_writes();
  ptx::wait_writes();
#endif
}

void test_bulk_writes(Device& device) {
  for (const bool add : {false, true}) {
    Shared<float> from(device, bulk_floats), to(device, bulk_floats);
    for (int i = 0; i < bulk_floats; ++i)
      from.host[static_cast<size_t>(i)] = static_cast<float>(i + 1),
      to.host[static_cast<size_t>(i)] = static_cast<float>(-3 * i);
    launch(device.context, "bulk writes", {1, 32}, add ? write_once<true> : write_once<false>, from.to_device(),
        to.to_device(), bulk_parts[0], bulk_parts[1], bulk_parts[2]);
    to.back();
    bool ok = true;
    for (int i = 0; i < bulk_floats; ++i) {
      bool written = false;
      for (const BulkPart& p : bulk_parts) written = written || (i >= p.at && i < p.at + p.floats);
      const int before = -3 * i, want = !written ? before : add ? before + i + 1 : i + 1;
      ok &= to.host[static_cast<size_t>(i)] == static_cast<float>(want);
    }
    expect(ok, add ? "cp.reduce.async.bulk.add.f32: adds the given range only"
                   : "cp.async.bulk to global memory: writes the given range only");
  }
}

// "The floating point operation .add rounds to the nearest even. The current implementation [of .f32] flushes subnormal
// inputs and results to sign-preserving zero."
void test_bulk_sums(Device& device) {
  struct Sum {
    float before, added, want;
  };
  const float least = 1.17549435e-38f;  // the smallest normal number, 2^-126
  const Sum sums[] = {{1, 0x1p-24f, 1}, {1 + 0x1p-23f, 0x1p-24f, 1 + 0x1p-22f}, {1, 0x1.8p-24f, 1 + 0x1p-23f},
      {INFINITY, 1, INFINITY}, {0, least / 2, 0}, {-least / 4, -0.0f, -0.0f}, {least, least / 2, least},
      {-least / 2, 3, 3}, {1.5f * least, -least, 0}, {-1.5f * least, least, -0.0f}, {least, least, 2 * least},
      {-least, 2 * least, least}};
  Shared<float> from(device, bulk_floats), to(device, bulk_floats);
  size_t count = 0;
  for (const Sum& s : sums) from.host[64 + count] = s.added, to.host[64 + count++] = s.before;
  static_assert(sizeof sums / sizeof sums[0] == 12, "the sums fill the second part");
  launch(device.context, "bulk sums", {1, 32}, write_once<true>, from.to_device(), to.to_device(), bulk_parts[0],
      bulk_parts[1], bulk_parts[2]);
  to.back();
  bool ok = true;
  for (size_t i = 0; i < count; ++i) ok &= std::memcmp(&sums[i].want, &to.host[64 + i], sizeof(float)) == 0;
  expect(ok, "cp.reduce.async.bulk.add.f32: rounds to nearest even and flushes subnormals");
}

// Stores a box of 16 rows and 64 columns at (column, row) of the map's matrix. `from` has the bytes of the box as in
// shared memory.
constexpr int box_lines = 16;
__global__ void __launch_bounds__(32)
    store_box_once(const __grid_constant__ CUtensorMap map, int column, int row, const uint16_t* from) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* box = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  for (int i = static_cast<int>(threadIdx.x); i < box_lines * 64; i += 32)
    reinterpret_cast<uint16_t*>(box)[i] = from[i];
  ptx::fence_async();
  __syncthreads();
  if (threadIdx.x > 0) return;
  ptx::store_box(&map, column, row, box);
  ptx::commit_writes();
  ptx::wait_writes_read();
#endif
}

// Section 9.7.9.25.5.2. The bytes of the box are swizzled as in a copy to shared memory, and elements outside the
// matrix are not written.
void test_stored_boxes(Device& device) {
  constexpr int rows = 50, columns = 72;
  constexpr uint16_t untouched = 0xffff;
  Shared<uint16_t> from(device, box_lines * 64), matrix(device, rows * columns);
  for (size_t i = 0; i < from.host.size(); ++i) from.host[i] = static_cast<uint16_t>(i + 1);
  bool ok = true;
  // Boxes inside the matrix, across both edges, at a column that is not a multiple of the box, across the beginnings,
  // and outside.
  for (const auto& [column, row] : {std::pair<int, int>{0, 0}, {64, 40}, {8, 17}, {-8, -3}, {128, 0}, {0, 50}}) {
    for (uint16_t& v : matrix.host) v = untouched;
    const CUtensorMap map = map_of_matrix(matrix.to_device(), rows, columns, columns, box_lines);
    launch(device.context, "store by TMA", {1, 32, 1024 + box_lines * 128}, store_box_once, map, column, row,
        from.to_device());
    matrix.back();
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) {
        const int line = r - row, place = c - column;
        const bool written = line >= 0 && line < box_lines && place >= 0 && place < 64;
        const int chunk = place / 8 ^ line % 8;  // the swizzle, as in swizzled_byte of wgmma.cuh
        const int want = written ? line * 64 + chunk * 8 + place % 8 + 1 : untouched;
        ok &= matrix.host[static_cast<size_t>(r * columns + c)] == want;
      }
  }
  expect(ok, "cp.async.bulk.tensor to global memory: the 128-byte swizzle, and nothing outside the matrix");
}

// Four warps overwrite their sources after wait_group.read, and wait for the results by wait_group. They all add to the
// same addresses, because additions are atomic.
__global__ void __launch_bounds__(128) write_again(float* to, float* sums) {
#if HEDDLE_SM90A
  HEDDLE_SHARED(float4, memory, [4][8]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float* own = reinterpret_cast<float*>(memory[warp]);
  for (int round = 0; round < 3; ++round) {
    own[lane] = static_cast<float>(100 * warp + lane + 1000 * round);
    ptx::fence_async();
    __syncwarp();
    if (lane == 0) {
      ptx::store_bytes(to + (round * 4 + warp) * 32, own, 128);
      ptx::add_bytes(sums, own, 128);
      ptx::commit_writes();
      ptx::wait_writes_read();
    }
    __syncwarp();
  }
  if (lane == 0) ptx::wait_writes();
#endif
}

void test_bulk_sources(Device& device) {
  Shared<float> to(device, 3 * 4 * 32), sums(device, 32);
  launch(device.context, "bulk sources", {1, 128}, write_again, to.to_device(), sums.to_device());
  to.back(), sums.back();
  bool ok = true;
  for (int lane = 0; lane < 32; ++lane) {
    float sum = 0;
    for (int round = 0; round < 3; ++round)
      for (int warp = 0; warp < 4; ++warp) {
        const float want = static_cast<float>(100 * warp + lane + 1000 * round);
        ok &= to.host[static_cast<size_t>((round * 4 + warp) * 32 + lane)] == want;
        sum += want;
      }
    ok &= sums.host[static_cast<size_t>(lane)] == sum;
  }
  expect(ok, "cp.async.bulk.wait_group.read: sources may be overwritten, and all writes complete");
}

// Sections 9.7.13.5, 9.7.9.8 and 9.7.9.12. Each block takes a number when it starts. It adds to the sums after the
// block with the previous number has done so. Any other order would give other sums. words (2): the next number, and
// the number of blocks that have added.
__host__ __device__ inline float part_of_block(int number) {
  const float large = 33554432.0f;  // 2^25, so that adding small numbers rounds
  return number % 3 == 1 ? large : number % 3 == 2 ? -large : static_cast<float>(number + 1);
}
__global__ void __launch_bounds__(32) one_after_another(int32_t* words, float* sums, int32_t* taken) {
#if HEDDLE_SM90A
  HEDDLE_SHARED(float4, memory, [8]);
  HEDDLE_SHARED(int32_t, number, [1]);
  float* own = reinterpret_cast<float*>(memory);
  if (threadIdx.x == 0) number[0] = ptx::take_number(words);
  __syncthreads();
  own[threadIdx.x] = part_of_block(number[0]) + static_cast<float>(threadIdx.x);
  ptx::fence_async();
  __syncthreads();
  if (threadIdx.x > 0) return;
  taken[number[0]] += 1;
  ptx::wait_for_word(words + 1, number[0]);
  ptx::fence_async_global();
  if (number[0] == 0) ptx::store_bytes(sums, own, 128);
  else ptx::add_bytes(sums, own, 128);
  ptx::commit_writes();
  ptx::wait_writes();
  ptx::fence_async_global();
  ptx::release_word(words + 1, number[0] + 1);
#endif
}

void test_words(Device& device) {
  constexpr int blocks = 20;
  Shared<int32_t> words(device, 2), taken(device, blocks);
  Shared<float> sums(device, 32);
  for (float& v : sums.host) v = NAN;  // overwritten by the first block's store
  launch(
      device.context, "words", {blocks, 32}, one_after_another, words.to_device(), sums.to_device(), taken.to_device());
  words.back(), sums.back(), taken.back();
  bool ok = words.host[0] == blocks && words.host[1] == blocks;
  for (const int32_t times : taken.host) ok &= times == 1;
  for (size_t i = 0; i < 32; ++i) {
    float want = part_of_block(0) + static_cast<float>(i);
    for (int n = 1; n < blocks; ++n) want += part_of_block(n) + static_cast<float>(i);
    ok &= sums.host[i] == want;
  }
  expect(ok, "take_number, wait_for_word: each number is taken once, and blocks add in order");
}

}  // namespace cuda
}  // namespace heddle
