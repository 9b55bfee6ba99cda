// Which kernel makes a matrix product, with which tiles, and into how many parts its depth is cut; and which kernel
// attention takes: functions of the description and the device's properties alone, so that a shape gives the same bits
// in every run. Nothing here needs CUDA.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace heddle {
namespace cuda {

struct DeviceProperties {
  int capability = 80;  // 10 * major + minor
  int multiprocessors = 1;
  size_t shared_bytes = 99 << 10;  // that a block may ask for
  bool sm90a = false;              // this build's code for the device is that of sm_90a
  bool tf32 = false;               // the caller lets products of f32 round their operands to tf32
  bool e4m3 = false;               // this build's code for the device has mma.sync of 8-bit floats (sm_89, sm_120)
};

// c (m, n) = a (m, k) b (k, n); of a gated product, which makes two such, n counts the columns of both.
struct GemmShape {
  int64_t m = 0, n = 0, k = 0;
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  bool a_transposed = false, b_transposed = false;  // stored (k, m), (n, k)
  bool accumulate = false;
  bool rowwise = false;        // a row of c must not depend on how many rows there are
  bool aligned = false;        // both operands: 16-byte addresses, rows of a multiple of 16 bytes
  size_t workspace_bytes = 0;  // for the sums of parts
  bool gated = false;
};

enum class GemmKernel {
  few_rows,      // a warp an element of c
  multiply_add,  // f32 arithmetic
  tensor,        // bf16 by mma.sync (sm_80)
  tensor_tf32,   // f32 rounded to tf32, by mma.sync (sm_80)
  warpgroup,     // bf16 by wgmma and TMA (sm_90a)
};

struct GemmChoice {
  GemmKernel kernel;
  int tile_m, tile_n;
  int stages;    // of the ring in shared memory; 1: none
  int splits;    // parts of the depth, each with separate sums in the workspace, which are added in order
  int64_t part;  // depth of a part, a multiple of gemm_depth; the last may be shorter

  bool operator==(const GemmChoice& o) const {
    return kernel == o.kernel && tile_m == o.tile_m && tile_n == o.tile_n && stages == o.stages && splits == o.splits &&
           part == o.part;
  }
};

constexpr int gemm_depth = 64;                  // of a tile of bf16
constexpr int64_t few_rows = 4;                 // at most, of GemmKernel::few_rows
constexpr int64_t least_part = 8 * gemm_depth;  // shorter parts would spend their time filling the ring and adding up
constexpr int most_splits = 16;
constexpr size_t most_workspace = size_t{16} << 20;

// Bytes of workspace that any product of at most these sizes can use, on any device.
inline size_t gemm_workspace(int64_t m, int64_t n, int64_t k) {
  if (k < 2 * least_part) return 0;
  const int64_t splits = k / least_part < most_splits ? k / least_part : most_splits;
  const double wanted = static_cast<double>(splits) * static_cast<double>(m) * static_cast<double>(n) * sizeof(float);
  return wanted < static_cast<double>(most_workspace) ? static_cast<size_t>(wanted) : most_workspace;
}

inline int64_t gemm_tiles(const GemmShape& g, int tile_m, int tile_n) {
  return ((g.m + tile_m - 1) / tile_m) * ((g.n + tile_n - 1) / tile_n);
}

// A choice with as many parts as give every multiprocessor `blocks` tiles at once, where depth and workspace allow.
inline GemmChoice with_splits(const GemmShape& g, const DeviceProperties& device, int blocks, GemmChoice choice) {
  choice.splits = 1, choice.part = g.k;
  if (g.rowwise) return choice;
  int64_t splits = blocks * device.multiprocessors / gemm_tiles(g, choice.tile_m, choice.tile_n);
  const auto at_most = [&](int64_t most) { splits = splits < most ? splits : most; };
  at_most(most_splits);
  at_most(g.k / least_part);
  at_most(static_cast<int64_t>(g.workspace_bytes / sizeof(float)) / (g.m * g.n));
  if (splits < 2) return choice;
  const int64_t tiles = (g.k + gemm_depth - 1) / gemm_depth, of_part = (tiles + splits - 1) / splits;
  choice.part = of_part * gemm_depth;
  choice.splits = static_cast<int>((tiles + of_part - 1) / of_part);  // none is empty
  return choice;
}

// The share of the multiprocessors' time that has work, where each makes one tile after another.
inline double busy(int64_t tiles, int multiprocessors) {
  const int64_t rounds = (tiles + multiprocessors - 1) / multiprocessors;
  return static_cast<double>(tiles) / static_cast<double>(rounds * multiprocessors);
}

// Large tiles read less; three stages of them fit everywhere, a fourth where shared memory is 128 KB. A stage has the
// same bytes for bf16 (64 depths) and tf32 (32).
inline GemmKernel tensor_kernel_of(const GemmShape& g) {
  return g.a == DType::bf16 ? GemmKernel::tensor : GemmKernel::tensor_tf32;
}
inline GemmChoice large_tiles(const GemmShape& g, const DeviceProperties& device) {
  return {tensor_kernel_of(g), 128, 128, device.shared_bytes >= (size_t{128} << 10) ? 4 : 3, 1, g.k};
}
inline GemmChoice small_tiles(const GemmShape& g) { return {tensor_kernel_of(g), 64, 64, 3, 1, g.k}; }

// For products that can use tensor cores.
inline bool takes_warpgroups(const GemmShape& g, const DeviceProperties& device) {
  return g.a == DType::bf16 && device.capability == 90 && device.sm90a && g.k >= gemm_depth;
}
inline GemmChoice wide_warpgroups(const GemmShape& g) { return {GemmKernel::warpgroup, 128, 256, 4, 1, g.k}; }
inline GemmChoice half_warpgroups(const GemmShape& g) { return {GemmKernel::warpgroup, 128, 128, 6, 1, g.k}; }

// g.m, g.n > 0
inline GemmChoice choose_gemm(const GemmShape& g, const DeviceProperties& device) {
  if (g.m <= few_rows && !g.a_transposed && g.b_transposed && !g.rowwise)
    return {GemmKernel::few_rows, 1, 1, 1, 1, g.k};
  const bool bf16 = g.a == DType::bf16 && g.b == DType::bf16,
             tf32 = device.tf32 && g.a == DType::f32 && g.b == DType::f32;
  const bool tensor_cores = (bf16 || tf32) && g.aligned && !(g.a_transposed && g.b_transposed) &&
                            (g.c == DType::f32 || (g.c == DType::bf16 && !g.accumulate));
  if (!tensor_cores) return with_splits(g, device, 2, {GemmKernel::multiply_add, 64, 64, 1, 1, 0});

  const int64_t wanted = device.multiprocessors;
  const GemmChoice large = large_tiles(g, device), small = small_tiles(g);
  if (g.rowwise) return large;  // whatever m is
  if (takes_warpgroups(g, device)) {
    // A tile of 128 x 256 reads least; half of it where multiprocessors would be idle for longer than that saves.
    const double wide = busy(gemm_tiles(g, 128, 256), device.multiprocessors),
                 half = busy(gemm_tiles(g, 128, 128), device.multiprocessors);
    if (g.n > 128 && wide >= 0.7 && wide >= 0.9 * half) return wide_warpgroups(g);
    if (half >= 0.7) return half_warpgroups(g);
  }
  // Large tiles read less. Small ones, and then parts of the depth, where large ones would be empty or leave
  // multiprocessors idle.
  if (g.m > 64 && g.n > 64) {
    if (gemm_tiles(g, 128, 128) >= wanted) return large;
    const GemmChoice parts = with_splits(g, device, 1, large);
    if (parts.splits > 1 && gemm_tiles(g, 128, 128) * parts.splits * 4 >= wanted * 3) return parts;
  }
  return with_splits(g, device, 2, small);
}

// Whether products of 8-bit floats, of more rows than few_rows, take wgmma: a tile that is not full costs less than
// weights that become numbers one by one.
inline bool takes_fp8_warpgroups(const DeviceProperties& device) { return device.capability == 90 && device.sm90a; }

// Otherwise mma.sync if the device has it (DeviceProperties::e4m3), with 128 x 128 tiles if every multiprocessor gets
// one, else 64 x 64. A row's bits do not depend on this choice.
inline bool fp8_takes_large_tiles(int64_t m, int64_t n, const DeviceProperties& device) {
  return m > 64 && n > 64 && ((m + 127) / 128) * ((n + 127) / 128) >= device.multiprocessors;
}

// Positions per part of cached attention on tensor cores, for a cache of L positions per slot. Each part may have its
// own block. Short parts keep multiprocessors busy with few sequences. Long sequences have enough parts, and combining
// more of them would cost time. Only L decides, so that a row's bits do not depend on other rows.
inline int64_t cached_part(int64_t L) { return L <= 8192 ? 256 : L <= 32768 ? 512 : 1024; }

// Whether attention over sequences of T rows, of bf16 heads of D elements, takes the kernel of sm_90a: its blocks have
// 128 rows.
inline bool attention_takes_warpgroups(int64_t D, int64_t T, const DeviceProperties& device) {
  return device.capability == 90 && device.sm90a && D <= 256 && T >= 128;
}
// And its gradients: of wider heads the sums of two outputs would not stay in registers.
inline bool attention_gradients_take_warpgroups(int64_t D, int64_t T, const DeviceProperties& device) {
  return attention_takes_warpgroups(D, T, device) && D <= 128;
}

// Tiles of rows and columns as one dimension of a grid, since others have at most 65535: block by block the columns of
// one row of tiles, then the next row's. 2^31 blocks would be results of 2^43 elements with tiles of 64 x 64: no device
// has that memory.
struct TileGrid {
  unsigned columns;  // tiles of a row
  unsigned blocks;

  TileGrid(int64_t row_tiles, int64_t column_tiles)
      : columns(static_cast<unsigned>(column_tiles)), blocks(static_cast<unsigned>(row_tiles * column_tiles)) {}
};

// Tiles of tile_m rows that as many groups of `rows` rows in all can have at most: each group's last may be short.
inline int64_t most_group_tiles(int64_t rows, int64_t groups, int tile_m) {
  return rows / tile_m + (rows < groups ? rows : groups);
}

}  // namespace cuda
}  // namespace heddle
