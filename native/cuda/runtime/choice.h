// Chooses the kernel of a matrix product, its tiles and its split along k, and the kernel of attention. A choice
// depends only on the description of the operands and the device's properties. The same shape therefore gives the same
// bits in every run. This header compiles without CUDA. All thresholds are estimates, not measurements.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/round.h"
#include "core/tensor.h"

namespace heddle {
namespace cuda {

struct DeviceProperties {
  int capability = 80;  // 10 * major + minor
  int multiprocessors = 1;
  size_t shared_bytes = 99 << 10;  // maximum shared memory per block, with opt-in
  bool sm90a = false;              // this build's code for the device is that of sm_90a
  bool tf32 = false;               // the caller permits rounding f32 operands of products to tf32
  bool e4m3 = false;               // this build's code for the device has mma.sync of e4m3 (sm_89, sm_120)
};

// The product c (m, n) = a (m, k) b (k, n). For a gated product, n counts the columns of both factors.
struct GemmShape {
  int64_t m = 0, n = 0, k = 0;
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  bool a_transposed = false, b_transposed = false;  // stored as (k, m), (n, k)
  bool accumulate = false;
  bool rowwise = false;        // a row of c must not depend on the number of rows
  bool aligned = false;        // tensor cores can read both operands and, if a is transposed, store the result
  size_t workspace_bytes = 0;  // for partial sums of split-k
  bool gated = false;
};

enum class GemmKernel {
  few_rows,      // CUDA cores, one warp per column, for up to few_rows rows
  multiply_add,  // CUDA cores, f32 arithmetic
  tensor,        // bf16 by mma.sync (sm_80)
  tensor_tf32,   // f32 rounded to tf32, by mma.sync (sm_80)
  warpgroup,     // bf16 by wgmma and TMA (sm_90a)
};

struct GemmChoice {
  GemmKernel kernel;
  int tile_m, tile_n;
  int stages;  // stages of the ring in shared memory; 1: no ring
  int splits;  // parts along k (split-k), whose sums go to the workspace and are added in order
  // Elements of k per part. With several parts, a multiple of gemm_depth, and the last part may be shorter.
  int64_t part;

  bool operator==(const GemmChoice& o) const {
    return kernel == o.kernel && tile_m == o.tile_m && tile_n == o.tile_n && stages == o.stages && splits == o.splits &&
           part == o.part;
  }
};

constexpr int gemm_depth = 64;   // elements along k of a bf16 tile
constexpr int64_t few_rows = 4;  // maximum number of rows for GemmKernel::few_rows
// Minimum elements of k per part of split-k. In shorter parts, filling the ring and adding up the parts would dominate.
constexpr int64_t least_part = 8 * gemm_depth;
constexpr int most_splits = 16;
// Limits of the workspace, in bytes. The limit is higher for the gradient of a weight: its result may be large although
// it has fewer tiles than multiprocessors.
constexpr size_t most_workspace = size_t{16} << 20, most_gradient_workspace = size_t{64} << 20;

// Returns the most workspace, in bytes, that a product of at most these sizes can use on any device.
inline size_t gemm_workspace(int64_t m, int64_t n, int64_t k, size_t most = most_workspace) {
  if (k < 2 * least_part) return 0;
  const int64_t splits = k / least_part < most_splits ? k / least_part : most_splits;
  const double wanted = static_cast<double>(splits) * static_cast<double>(m) * static_cast<double>(n) * sizeof(float);
  return wanted < static_cast<double>(most) ? static_cast<size_t>(wanted) : most;
}
// Does so for the gradient of a weight: the product of a transposed left operand.
inline size_t gradient_workspace(int64_t m, int64_t n, int64_t k) {
  return gemm_workspace(m, n, k, most_gradient_workspace);
}

inline int64_t gemm_tiles(const GemmShape& g, int tile_m, int tile_n) {
  return ceil_div(g.m, tile_m) * ceil_div(g.n, tile_n);
}

// Returns `choice` with the largest split along k that gives each multiprocessor at most `blocks` tiles. most_splits,
// least_part and the workspace limit the number of parts. Rowwise products are not split.
inline GemmChoice with_splits(const GemmShape& g, const DeviceProperties& device, int blocks, GemmChoice choice) {
  choice.splits = 1, choice.part = g.k;
  if (g.rowwise) return choice;
  int64_t splits = blocks * device.multiprocessors / gemm_tiles(g, choice.tile_m, choice.tile_n);
  const auto at_most = [&](int64_t most) { splits = splits < most ? splits : most; };
  at_most(most_splits);
  at_most(g.k / least_part);
  at_most(static_cast<int64_t>(g.workspace_bytes / sizeof(float)) / (g.m * g.n));
  if (splits < 2) return choice;
  const int64_t tiles = ceil_div(g.k, gemm_depth), of_part = ceil_div(tiles, splits);
  choice.part = of_part * gemm_depth;
  choice.splits = static_cast<int>(ceil_div(tiles, of_part));  // no part is empty
  return choice;
}

// Returns the fraction of multiprocessors that have a tile, averaged over the waves of a product of equal tiles. Only
// the last wave may be partial.
inline double busy(int64_t tiles, int multiprocessors) {
  const int64_t rounds = ceil_div(tiles, multiprocessors);
  return static_cast<double>(tiles) / static_cast<double>(rounds * multiprocessors);
}

inline GemmKernel tensor_kernel_of(const GemmShape& g) {
  return g.a == DType::bf16 ? GemmKernel::tensor : GemmKernel::tensor_tf32;
}
// Large tiles load fewer bytes for each multiply-add. Three stages fit on every device. A stage has as many bytes for
// bf16 (64 elements along k) as for tf32 (32).
inline GemmChoice large_tiles(const GemmShape& g) { return {tensor_kernel_of(g), 128, 128, 3, 1, g.k}; }
inline GemmChoice small_tiles(const GemmShape& g) { return {tensor_kernel_of(g), 64, 64, 3, 1, g.k}; }
inline GemmChoice wide_tiles(const GemmShape& g) { return {GemmKernel::tensor, 128, 256, 3, 1, g.k}; }

// Whether mma.sync computes a product in large tiles without split-k, because every multiprocessor gets one.
inline bool takes_large_tiles(const GemmShape& g, const DeviceProperties& device) {
  return g.m > 64 && g.n > 64 && gemm_tiles(g, 128, 128) >= device.multiprocessors;
}
// Whether mma.sync can compute a product in wide tiles: for bf16, if the device has shared memory for three stages, and
// does not run code for sm_90a. There, mma.sync computes only products with few elements along k, or few tiles.
inline bool has_wide_tiles(const GemmShape& g, const DeviceProperties& device) {
  constexpr size_t bytes = 3 * (128 + 256) * gemm_depth * sizeof(uint16_t);
  const bool runs_sm90a = device.capability == 90 && device.sm90a;
  return g.a == DType::bf16 && g.n > 128 && device.shared_bytes >= bytes && !runs_sm90a;
}
// Whether it should use them instead of large tiles. Shared memory limits large tiles, and a wide tile loads less from
// it for each multiply-add. So wide tiles are better unless they leave clearly more multiprocessors idle.
inline bool takes_wide_tiles(const GemmShape& g, const DeviceProperties& device) {
  const auto busy_with = [&](int tile_n) { return busy(gemm_tiles(g, 128, tile_n), device.multiprocessors); };
  return has_wide_tiles(g, device) && busy_with(256) >= 0.9 * busy_with(128);
}

// Whether a product that can use tensor cores can use wgmma.
inline bool takes_warpgroups(const GemmShape& g, const DeviceProperties& device) {
  return g.a == DType::bf16 && device.capability == 90 && device.sm90a && g.k >= gemm_depth;
}
inline GemmChoice wide_warpgroups(const GemmShape& g) { return {GemmKernel::warpgroup, 128, 256, 4, 1, g.k}; }
inline GemmChoice half_warpgroups(const GemmShape& g) { return {GemmKernel::warpgroup, 128, 128, 6, 1, g.k}; }

// Returns the blocks of a cluster for a product by wgmma: 2 if clusters of two need no more rounds than single blocks.
// The tiles of such a cluster are one below the other, and the lower one may be empty.
inline int warpgroup_cluster(
    int64_t m, int64_t n, int tile_m, int tile_n, const DeviceProperties& device, int splits = 1) {
  const int64_t tiles_m = ceil_div(m, tile_m), tiles_n = splits * ceil_div(n, tile_n),
                clusters = device.multiprocessors / 2;
  if (tiles_m < 2 || clusters == 0) return 1;
  return ceil_div(ceil_div(tiles_m, 2) * tiles_n, clusters) <= ceil_div(tiles_m * tiles_n, device.multiprocessors) ? 2
                                                                                                                   : 1;
}

// Returns `choice` with the split along k that takes the fewest clocks, for the gradient of a weight by wgmma. Such a
// product sums over all tokens, and small models have fewer tiles than multiprocessors. Clocks are estimates for an
// H100: 4096 operations a clock, and 4000 clocks to fill the ring and store a tile. The second launch takes 3000, and
// the sums of the parts move 1800 bytes a clock.
inline GemmChoice with_warpgroup_splits(const GemmShape& g, const DeviceProperties& device, GemmChoice choice) {
  if (!g.a_transposed) return choice;
  const int64_t tiles = gemm_tiles(g, choice.tile_m, choice.tile_n), stages = ceil_div(g.k, gemm_depth);
  const double of_stage = 2.0 * gemm_depth * choice.tile_m * choice.tile_n / 4096,
               bytes = static_cast<double>(g.m) * static_cast<double>(g.n) * sizeof(float);
  double least = 0;
  for (int splits = 1; splits <= most_splits; ++splits) {
    const int64_t part = ceil_div(stages, splits), rounds = ceil_div(tiles * splits, device.multiprocessors);
    const bool possible = part * gemm_depth >= least_part && ceil_div(stages, part) == splits &&
                          splits * bytes <= static_cast<double>(g.workspace_bytes);
    if (splits > 1 && !possible) continue;
    const double clocks = static_cast<double>(rounds) * (static_cast<double>(part) * of_stage + 4000) +
                          (splits > 1 ? 3000 + (splits + 1) * bytes / 1800 : 0);
    if (splits > 1 && clocks >= least) continue;
    least = clocks, choice.splits = splits, choice.part = splits > 1 ? part * gemm_depth : g.k;
  }
  return choice;
}

// Chooses the kernel, tiles and split of a product. Requires g.m > 0 and g.n > 0.
inline GemmChoice choose_gemm(const GemmShape& g, const DeviceProperties& device) {
  if (g.m <= few_rows && !g.a_transposed && g.b_transposed && !g.rowwise)
    return {GemmKernel::few_rows, 1, 1, 1, 1, g.k};
  const bool bf16 = g.a == DType::bf16 && g.b == DType::bf16,
             tf32 = device.tf32 && g.a == DType::f32 && g.b == DType::f32;
  const bool tensor_cores = (bf16 || tf32) && g.aligned && !(g.a_transposed && g.b_transposed) &&
                            (g.c == DType::f32 || (g.c == DType::bf16 && !g.accumulate));
  if (!tensor_cores) return with_splits(g, device, 2, {GemmKernel::multiply_add, 64, 64, 1, 1, 0});

  const int64_t wanted = device.multiprocessors;
  const GemmChoice large = large_tiles(g), small = small_tiles(g);
  if (g.rowwise) return large;  // the same choice for any m
  if (takes_warpgroups(g, device)) {
    // Tiles of 128 x 256 load the fewest bytes. Tiles of half the width are better if they keep clearly more
    // multiprocessors busy. If both leave over 30 % idle, mma.sync is used where it can have smaller tiles or split-k.
    // It cannot if every multiprocessor gets a large tile. mma.sync would then use tiles of the same size as
    // half_warpgroups, and leave as many multiprocessors idle.
    const GemmChoice wide = with_warpgroup_splits(g, device, wide_warpgroups(g)),
                     half = with_warpgroup_splits(g, device, half_warpgroups(g));
    const auto busy_with = [&](const GemmChoice& c) {
      return busy(gemm_tiles(g, c.tile_m, c.tile_n) * c.splits, device.multiprocessors);
    };
    const double least = takes_large_tiles(g, device) ? 0 : 0.7;
    if (g.n > 128 && busy_with(wide) >= least && busy_with(wide) >= 0.9 * busy_with(half)) return wide;
    if (busy_with(half) >= least) return half;
  }
  // Large tiles load fewer bytes. They are used if every multiprocessor gets one, or if split-k of large tiles keeps at
  // least 3/4 of the multiprocessors busy. Otherwise small tiles are used, with split-k if possible. Large tiles would
  // be mostly empty with up to 64 rows or columns.
  if (takes_large_tiles(g, device)) return takes_wide_tiles(g, device) ? wide_tiles(g) : large;
  if (g.m > 64 && g.n > 64) {
    const GemmChoice parts = with_splits(g, device, 1, large);
    if (parts.splits > 1 && gemm_tiles(g, 128, 128) * parts.splits * 4 >= wanted * 3) return parts;
  }
  return with_splits(g, device, 2, small);
}

// The product of a mixture of experts. A pair is a row and one of its experts, and only the device knows how many pairs
// an expert has.
struct ExpertProduct {
  int64_t pairs, experts, columns;  // columns of the result
  bool forward;                     // expert_linear, not the gradient of its input
  bool rowwise;                     // a row must not depend on the number of rows
  bool tensor_cores;                // bf16 operands with 16-byte aligned rows, and a result of bf16 or f32
};
enum class ExpertKernel {
  few_pairs,     // CUDA cores, one warp per element, which reads an expert's weights for each of its pairs
  multiply_add,  // CUDA cores, f32 arithmetic
  tensor,        // bf16 by mma.sync (sm_80)
};
struct ExpertChoice {
  ExpertKernel kernel;
  int tile_m, tile_n;

  bool operator==(const ExpertChoice& o) const {
    return kernel == o.kernel && tile_m == o.tile_m && tile_n == o.tile_n;
  }
};
constexpr int64_t few_pairs = 32;  // maximum pairs for ExpertKernel::few_pairs

inline ExpertChoice expert_tiles(bool large) {
  return large ? ExpertChoice{ExpertKernel::tensor, 128, 128} : ExpertChoice{ExpertKernel::tensor, 64, 64};
}

// Chooses the kernel and tiles of expert_linear, or of the gradient of its input. Requires g.pairs > 0. The bits of a
// row are the same with both tile sizes.
inline ExpertChoice choose_experts(const ExpertProduct& g, const DeviceProperties& device) {
  // Tensor cores read the weights of an expert once for up to 64 pairs. With as many pairs as experts, chosen at
  // random, few_pairs reads 1.6 times as many bytes, but has more loads in flight.
  const int64_t most = g.tensor_cores && g.experts < few_pairs ? g.experts : few_pairs;
  if (g.forward && !g.rowwise && g.pairs <= most) return {ExpertKernel::few_pairs, 1, 1};
  if (!g.tensor_cores) return {ExpertKernel::multiply_add, 64, 64};
  // An expert's last tile of rows is half empty on average. Small tiles waste less, but load twice the bytes for each
  // multiply-add. Large tiles are better above 64 pairs per expert, if every multiprocessor gets one.
  const int64_t tiles = ceil_div(g.pairs, 128) * ceil_div(g.columns, 128);
  return expert_tiles(g.columns > 64 && g.pairs > 64 * g.experts && tiles >= device.multiprocessors);
}

// Chooses the kernel and tiles of the gradient of the weights (experts, M, K).
inline ExpertChoice choose_expert_gradient(
    int64_t M, int64_t K, int64_t experts, bool tensor_cores, const DeviceProperties& device) {
  if (!tensor_cores) return {ExpertKernel::multiply_add, 64, 64};
  const int64_t tiles = experts * ceil_div(M, 128) * ceil_div(K, 128);
  return expert_tiles(M > 64 && K > 64 && tiles >= device.multiprocessors);
}

// Whether fp8 products on tensor cores use wgmma. Small products use it too: computing a partly empty tile costs less
// than converting the weights one by one.
inline bool takes_fp8_warpgroups(const DeviceProperties& device) { return device.capability == 90 && device.sm90a; }

// Whether fp8 products by mma.sync use tiles of 128 x 128, which they do if every multiprocessor gets a tile. Otherwise
// tiles are 64 x 64. A row has the same bits with both sizes.
inline bool fp8_takes_large_tiles(int64_t m, int64_t n, const DeviceProperties& device) {
  return m > 64 && n > 64 && ceil_div(m, 128) * ceil_div(n, 128) >= device.multiprocessors;
}

// Cached attention on tensor cores splits the positions of a sequence into parts, which may run in separate blocks.
// Returns the positions per part, for a cache of L positions per slot. Short parts give a few sequences enough blocks
// for all multiprocessors. Long sequences have enough blocks even with long parts, and fewer parts take less time to
// merge. Only L decides, so that a row's bits do not depend on other rows.
inline int64_t cached_part(int64_t L) { return L <= 8192 ? 256 : L <= 32768 ? 512 : 1024; }

// Whether the long segments of cached attention, with heads of D elements, use the kernel of sm_90a. It needs a cache
// of bf16 rows, and queries of one term. For heads over 128, the copying threads would need registers of the others.
inline bool cached_attention_takes_warpgroups(int64_t D, DType cache, int terms, const DeviceProperties& device) {
  return device.capability == 90 && device.sm90a && D <= 128 && cache == DType::bf16 && terms == 1;
}

// Returns the minimum number of rows of a long segment. Cached attention on tensor cores computes short segments in
// tiles of 16 pairs of a row and a head, and long ones in tiles of 64 or more. Only the row's own segment decides, so
// that a row's bits do not depend on other sequences. For the same keys, a tile of 64 pairs takes 1.6 to 2 times as
// long as one of 16 by mma.sync. By wgmma, it takes 1.2 times as long (docs/internals/cuda-attention.md). So tiles of
// 64 are faster for more than 32 pairs, or 16 with wgmma, unless they leave too many multiprocessors idle. A tile of 64
// replaces four of 16. In 1.6 times the time it needs blocks for 2/5 of the multiprocessors, and in 1.2 times for 3/10.
// Drafts have at most 16 rows, and must have the bits of single rows.
inline int64_t long_segment(int64_t H, int64_t KH, bool warpgroups, const DeviceProperties& device) {
  constexpr int64_t most_draft_rows = 16, tile = 64;
  const int64_t most_short_pairs = warpgroups ? 16 : 32, of_pairs = most_short_pairs / (H / KH) + 1,
                blocks = ceil_div((warpgroups ? 3 : 4) * device.multiprocessors, 10),
                of_blocks = ceil_div(blocks * tile, H), least = of_pairs > of_blocks ? of_pairs : of_blocks;
  return least > most_draft_rows ? least : most_draft_rows + 1;
}

// Returns the pairs of a row and a head per block of the kernel of sm_90a for long segments, which have `pairs` pairs
// in all. A block of 128 pairs takes up to 1.2 times as long as one of 64. So blocks of 64 are faster if each
// multiprocessor gets at most one of them. A row has the same bits with both.
inline int warpgroup_pairs(int64_t pairs, const DeviceProperties& device) {
  return ceil_div(pairs, 64) <= device.multiprocessors ? 64 : 128;
}

// Whether attention over sequences of T rows, with bf16 heads of D elements, uses the kernel of sm_90a. Shorter
// sequences would leave its blocks of 128 rows partly empty.
inline bool attention_takes_warpgroups(int64_t D, int64_t T, const DeviceProperties& device) {
  return device.capability == 90 && device.sm90a && D <= 256 && T >= 128;
}
// Whether the gradients of attention with these sizes use the kernels of sm_90a too. For heads over 128, the
// accumulators of dk and dv do not fit into registers.
inline bool attention_gradients_take_warpgroups(int64_t D, int64_t T, const DeviceProperties& device) {
  return attention_takes_warpgroups(D, T, device) && D <= 128;
}

// Blocks of keys of one head add their parts of dq to a tile of queries in a fixed order. Without a causal mask, all
// blocks begin at the same tile. Of those that start together, each waits one step longer than the block before it.
// Returns the number of heads (of all sequences) whose blocks start alternately. The blocks that begin together then
// belong to several heads. Fewer heads share more tiles of queries in the L2 cache. The result is therefore the
// smallest number that limits the wait to about 1/32 of the whole time. blocks: blocks of keys per head. steps: tiles
// of queries per block.
inline int64_t interleaved_heads(int64_t heads, int64_t blocks, int64_t steps, int multiprocessors) {
  const int64_t wait = steps * blocks * heads / multiprocessors / 32,
                together = wait < 1        ? 1
                           : wait < blocks ? wait
                                           : blocks;  // blocks of one head that begin together
  const int64_t wanted = ceil_div(multiprocessors, together);
  return wanted < heads ? wanted : heads;
}

// A 1-D grid with one block per tile, in row-major order. The grid's other dimensions are limited to 65535, and this
// one to 2^31 - 1. With tiles of 64 x 64, that is 2^43 elements of the result, more than fit into any device's memory.
struct TileGrid {
  unsigned columns;  // tiles per row
  unsigned blocks;

  TileGrid(int64_t row_tiles, int64_t column_tiles)
      : columns(static_cast<unsigned>(column_tiles)), blocks(static_cast<unsigned>(row_tiles * column_tiles)) {}
};

// Returns an upper bound for the number of tiles of a grouped product. A tile has tile_m rows of one group. `rows` is
// the total over all groups. The last tile of each nonempty group may be partial.
inline int64_t most_group_tiles(int64_t rows, int64_t groups, int tile_m) {
  return rows / tile_m + (rows < groups ? rows : groups);
}

}  // namespace cuda
}  // namespace heddle
