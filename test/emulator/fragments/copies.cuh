// Tests of copies of tiles to shared memory and to registers: ldmatrix, cp.async, TMA boxes.
#pragma once
#include "cuda/ptx/ptx_sm90.cuh"
#include "cuda/runtime/tensor_map.h"
#include "device.cuh"

namespace heddle {
namespace cuda {

template <bool transposed> __global__ void ldmatrix_once(uint32_t* got) {  // got: (32, 4)
  HEDDLE_SHARED(uint16_t, tile, [4][8][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) tile[lane / 8][lane % 8][i] = static_cast<uint16_t>(lane / 8 * 100 + lane % 8 * 10 + i);
  __syncwarp();
  uint32_t to[4];
  ptx::load_matrices<transposed>(to, tile[lane / 8][lane % 8]);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) got[lane * 4 + i] = to[i];
}

// Section 9.7.14.5.15: "Each row of a matrix is 16 bytes; thread 4 i + j of the warp receives elements 2 j and 2 j + 1
// of row i".
void test_ldmatrix(Device& device) {
  for (const bool transposed : {false, true}) {
    Shared<uint32_t> got(device, 32 * 4);
    launch(
        device.context, "ldmatrix", {1, 32}, transposed ? ldmatrix_once<true> : ldmatrix_once<false>, got.to_device());
    got.back();
    bool ok = true;
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j)
        for (int matrix = 0; matrix < 4; ++matrix)
          for (int e = 0; e < 2; ++e) {
            const int row = transposed ? 2 * j + e : i, column = transposed ? i : 2 * j + e;
            ok &= ((got.host[static_cast<size_t>((4 * i + j) * 4 + matrix)] >> (16 * e)) & 0xffff) ==
                  static_cast<uint32_t>(matrix * 100 + row * 10 + column);
          }
    expect(ok, transposed ? "ldmatrix.trans" : "ldmatrix");
  }
}

__global__ void copy_once(const uint32_t* from, uint32_t* to) {  // from, to: (32, 4); lane i copies i % 17 bytes
  HEDDLE_SHARED(uint32_t, tile, [32][4]);
  const int lane = static_cast<int>(threadIdx.x);
  ptx::copy_async_16(tile[lane], from + lane * 4, lane % 17);
  ptx::commit_copies();
  ptx::wait_copies<0>();
  for (int i = 0; i < 4; ++i) to[lane * 4 + i] = tile[lane][i];
}

void test_cp_async(Device& device) {
  Shared<uint32_t> from(device, 32 * 4), to(device, 32 * 4);
  for (size_t i = 0; i < from.host.size(); ++i) from.host[i] = 0x01020304u * static_cast<uint32_t>(i % 50 + 1);
  launch(device.context, "cp.async", {1, 32}, copy_once, from.to_device(), to.to_device());
  to.back();
  bool ok = true;
  for (size_t lane = 0; lane < 32; ++lane) {
    unsigned char want[16] = {};
    std::memcpy(want, &from.host[lane * 4], lane % 17);
    ok &= std::memcmp(want, &to.host[lane * 4], 16) == 0;
  }
  expect(ok, "cp.async: bytes that are not read become zeros");
}

// Copies the box of 64 columns and `lines` rows at (column, row) to shared memory, and from there to `to`.
__global__ void __launch_bounds__(32)
    box_once(const __grid_constant__ CUtensorMap map, int column, int row, int lines, uint16_t* to) {
#if HEDDLE_SM90A
  HEDDLE_DYNAMIC_SHARED(unsigned char, memory);
  HEDDLE_SHARED(uint64_t, barrier, [1]);
  unsigned char* tile = memory + (1024 - ptx::shared_address(memory) % 1024) % 1024;
  if (threadIdx.x == 0) {
    ptx::init_barrier(barrier, 1);
    ptx::fence_async();
  }
  __syncthreads();
  for (unsigned phase = 0; phase < 3; ++phase) {  // three phases, whose parities are 0, 1, 0
    if (threadIdx.x == 0) {
      ptx::arrive_expecting(barrier, static_cast<unsigned>(lines) * 128);
      ptx::copy_box(tile, &map, column, row, barrier);
    }
    ptx::wait_barrier(barrier, phase % 2);
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < lines * 64; i += 32)
    to[i] = reinterpret_cast<const uint16_t*>(tile)[i];
#endif
}

void test_boxes(Device& device) {
  constexpr int rows = 50, columns = 72, lines = 40;
  Shared<uint16_t> matrix(device, rows * columns), got(device, lines * 64);
  for (size_t i = 0; i < matrix.host.size(); ++i) matrix.host[i] = static_cast<uint16_t>(i + 1);
  const CUtensorMap map = map_of_matrix(matrix.to_device(), rows, columns, columns, lines);
  bool ok = true;
  // Boxes inside the matrix, across both edges, at a column that is not a multiple of the box, and outside.
  for (const auto& [column, row] : {std::pair<int, int>{0, 0}, {64, 32}, {8, 17}, {128, 0}}) {
    launch(device.context, "copy by TMA", {1, 32, 1024 + lines * 128}, box_once, map, column, row,
        static_cast<int>(lines), got.to_device());
    got.back();
    for (int r = 0; r < lines; ++r)
      for (int c = 0; c < 64; ++c) {
        const bool inside = row + r < rows && column + c < columns;
        const int want = inside ? (row + r) * columns + column + c + 1 : 0;
        const int chunk = c / 8 ^ r % 8;  // the swizzle, as in swizzled_byte of wgmma.cuh
        ok &= got.host[static_cast<size_t>(r * 64 + chunk * 8 + c % 8)] == want;
      }
  }
  expect(ok, "a TMA box: the 128-byte swizzle, and zeros outside the matrix");
}

}  // namespace cuda
}  // namespace heddle
