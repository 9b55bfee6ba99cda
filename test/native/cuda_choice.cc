// Tests the choice of the kernel, tiles, stages and splits of a matrix product, and of the kernel of attention
// (native/cuda/runtime/choice.h).
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cuda_shapes.h"

using namespace heddle;
using namespace heddle::cuda;

namespace {

void test_table() {
  constexpr GemmKernel few = GemmKernel::few_rows, plain = GemmKernel::multiply_add, tensor = GemmKernel::tensor,
                       warpgroup = GemmKernel::warpgroup;
  // Decoding: one to four rows, on any device.
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090}) {
    expect("one row", choose_gemm(product(1, 4096, 4096), d), {few, 1, 1, 1, 1, 4096});
    expect("four rows", choose_gemm(product(4, 11008, 4096), d), {few, 1, 1, 1, 1, 4096});
  }
  // Few tiles with a large inner dimension: split along k.
  expect("16 rows, A100", choose_gemm(product(16, 4096, 4096), a100), {tensor, 64, 64, 3, 3, 1408});
  expect("16 rows, RTX 3090", choose_gemm(product(16, 4096, 4096), rtx3090), {tensor, 64, 64, 3, 2, 2048});
  expect("16 rows, H100", choose_gemm(product(16, 4096, 4096), h100), {tensor, 64, 64, 3, 4, 1024});
  expect("16 rows, RTX 5090", choose_gemm(product(16, 4096, 4096), rtx5090), {tensor, 64, 64, 3, 5, 832});
  expect("16 rows, small inner dimension", choose_gemm(product(16, 4096, 768), h100), {tensor, 64, 64, 3, 1, 768});
  expect("a weight's gradient of 64 x 64", choose_gemm(product(64, 64, 16384), h100), {tensor, 64, 64, 3, 16, 1024});
  expect(
      "a weight's gradient of 768 x 768", choose_gemm(product(768, 768, 8192), a100), {tensor, 128, 128, 3, 3, 2752});
  // Many rows and columns.
  expect("512, A100", choose_gemm(product(512, 512, 512), a100), {tensor, 64, 64, 3, 1, 512});
  expect("1024, A100", choose_gemm(product(1024, 1024, 1024), a100), {tensor, 64, 64, 3, 1, 1024});
  expect("2048, H100", choose_gemm(product(2048, 2048, 2048), h100), {warpgroup, 128, 256, 4, 1, 2048});
  expect("1536 x 1280, H100", choose_gemm(product(1536, 1280, 2048), h100), {warpgroup, 128, 128, 6, 1, 2048});
  expect("128 columns, H100", choose_gemm(product(16384, 128, 2048), h100), {warpgroup, 128, 128, 6, 1, 2048});
  // With at least 132 tiles of 128 x 128, every multiprocessor of the H100 has a tile. mma.sync would use tiles of this
  // size too, and leave as many multiprocessors idle in the last wave as wgmma does. So wgmma is used.
  expect("132 tiles, H100", choose_gemm(product(1408, 1536, 4096), h100), {warpgroup, 128, 128, 6, 1, 4096});
  expect("133 tiles, H100", choose_gemm(product(896, 2432, 4096), h100), {warpgroup, 128, 256, 4, 1, 4096});
  expect("144 tiles, H100", choose_gemm(product(1536, 1536, 4096), h100), {warpgroup, 128, 256, 4, 1, 4096});
  expect("184 tiles, H100", choose_gemm(product(2944, 1024, 4096), h100), {warpgroup, 128, 256, 4, 1, 4096});
  expect(
      "144 tiles in a column, H100", choose_gemm(product(18432, 128, 4096), h100), {warpgroup, 128, 128, 6, 1, 4096});
  expect("266 tiles, H100", choose_gemm(product(1792, 2432, 4096), h100), {warpgroup, 128, 128, 6, 1, 4096});
  expect("64 columns, H100", choose_gemm(product(18432, 64, 4096), h100), {tensor, 64, 64, 3, 1, 4096});
  expect("144 tiles, H100 with the code of another architecture", choose_gemm(product(1536, 1536, 4096), plain_h100),
      {tensor, 128, 256, 3, 1, 4096});
  expect("small inner dimension, H100", choose_gemm(product(4096, 4096, 56), h100), {tensor, 128, 128, 3, 1, 56});
  expect("1024, H100", choose_gemm(product(1024, 1024, 4096), h100), {tensor, 128, 128, 3, 2, 2048});
  expect("4096, A100", choose_gemm(product(4096, 4096, 4096), a100), {tensor, 128, 256, 3, 1, 4096});
  expect("4096, RTX 3090", choose_gemm(product(4096, 4096, 4096), rtx3090), {tensor, 128, 128, 3, 1, 4096});
  expect("4096, H100", choose_gemm(product(4096, 4096, 4096), h100), {warpgroup, 128, 256, 4, 1, 4096});
  expect("4096, H100 with the code of another architecture", choose_gemm(product(4096, 4096, 4096), plain_h100),
      {tensor, 128, 256, 3, 1, 4096});
  // Half as many tiles of 128 x 256 would leave 14 % of the B200 idle, instead of 1 %.
  expect("4096, B200", choose_gemm(product(4096, 4096, 4096), b200), {tensor, 128, 128, 3, 1, 4096});
  expect("4096, RTX 5090", choose_gemm(product(4096, 4096, 4096), rtx5090), {tensor, 128, 128, 3, 1, 4096});
  expect("8192, B200", choose_gemm(product(8192, 8192, 4096), b200), {tensor, 128, 256, 3, 1, 4096});
  expect("128 columns, A100", choose_gemm(product(16384, 128, 2048), a100), {tensor, 128, 128, 3, 1, 2048});
  // The logits of a vocabulary.
  expect("logits, H100", choose_gemm(product(8192, 128256, 4096), h100), {warpgroup, 128, 256, 4, 1, 4096});
  // Partial tiles do not change the kernel, but rows that are not a multiple of 16 bytes do.
  expect("1000 x 3000 x 777", choose_gemm(product(1000, 3000, 777), a100), {tensor, 128, 256, 3, 1, 777});
  GemmShape odd = product(1000, 3000, 777);
  odd.aligned = false;
  expect("unaligned", choose_gemm(odd, h100), {plain, 64, 64, 1, 1, 777});
  // f32 and mixed types.
  expect("f32", choose_gemm(product(4096, 4096, 4096, DType::f32), h100), {plain, 64, 64, 1, 1, 4096});
  expect("f32, few tiles", choose_gemm(product(64, 64, 4096, DType::f32), h100), {plain, 64, 64, 1, 8, 512});
  // tf32 is used only if the caller allows it. It has the large and small tiles of bf16 by mma.sync, because a stage
  // has the same number of bytes. It has no tiles of 128 x 256.
  DeviceProperties allowing = a100, allowing_h100 = h100;
  allowing.tf32 = allowing_h100.tf32 = true;
  expect("tf32", choose_gemm(product(4096, 4096, 4096, DType::f32), allowing),
      {GemmKernel::tensor_tf32, 128, 128, 3, 1, 4096});
  expect("tf32, H100", choose_gemm(product(4096, 4096, 4096, DType::f32), allowing_h100),
      {GemmKernel::tensor_tf32, 128, 128, 3, 1, 4096});
  expect("tf32, few tiles", choose_gemm(product(16, 4096, 4096, DType::f32), allowing),
      {GemmKernel::tensor_tf32, 64, 64, 3, 3, 1408});
  expect("tf32, one row", choose_gemm(product(1, 4096, 4096, DType::f32), allowing), {few, 1, 1, 1, 1, 4096});
  expect(
      "bf16 where tf32 is allowed", choose_gemm(product(4096, 4096, 4096), allowing), {tensor, 128, 256, 3, 1, 4096});
  GemmShape mixed = product(4096, 4096, 4096);
  mixed.a = DType::f32;
  expect("f32 by bf16 where tf32 is allowed", choose_gemm(mixed, allowing), {plain, 64, 64, 1, 1, 4096});
  GemmShape adds = product(4096, 4096, 4096);
  adds.accumulate = true;
  expect("added to bf16", choose_gemm(adds, h100), {plain, 64, 64, 1, 1, 4096});
  adds.c = DType::f32;
  expect("added to f32", choose_gemm(adds, h100), {warpgroup, 128, 256, 4, 1, 4096});
}

// Returns the shape of the gradient (m, n) of a weight, summed over k tokens.
GemmShape gradient(int64_t m, int64_t n, int64_t k) {
  GemmShape g = product(m, n, k);
  g.a_transposed = true, g.b_transposed = false, g.c = DType::f32;
  g.workspace_bytes = gradient_workspace(m, n, k);
  return g;
}

// Gradients of weights have few tiles and a large inner dimension. wgmma splits them along k.
void test_gradients() {
  constexpr GemmKernel tensor = GemmKernel::tensor, warpgroup = GemmKernel::warpgroup;
  expect("gradient: 18 tiles", choose_gemm(gradient(768, 768, 65536), h100), {warpgroup, 128, 256, 4, 7, 9408});
  expect("gradient: 72 tiles", choose_gemm(gradient(768, 3072, 65536), h100), {warpgroup, 128, 256, 4, 7, 9408});
  expect("gradient: half tiles", choose_gemm(gradient(1536, 128, 65536), h100), {warpgroup, 128, 128, 6, 11, 6016});
  expect("gradient: a tile for most multiprocessors", choose_gemm(gradient(2048, 2048, 8192), h100),
      {warpgroup, 128, 256, 4, 1, 8192});
  expect(
      "gradient: too few tiles for wgmma", choose_gemm(gradient(64, 64, 65536), h100), {tensor, 64, 64, 3, 16, 4096});
  expect("gradient: mma.sync", choose_gemm(gradient(768, 768, 65536), a100), {tensor, 128, 128, 3, 3, 21888});
  GemmShape alone = gradient(768, 3072, 65536);
  alone.workspace_bytes = 0;
  expect("gradient: no workspace", choose_gemm(alone, h100), {warpgroup, 128, 256, 4, 1, 65536});
  expect("gradient: the workspace has a limit", gradient_workspace(8192, 8192, 65536) == most_gradient_workspace);
}

// Clusters on the H100, which has room for 66 clusters of two blocks.
void test_clusters() {
  const auto blocks = [](int64_t m, int64_t n, int tile_n = 256) { return warpgroup_cluster(m, n, 128, tile_n, h100); };
  expect("clusters: 4096", blocks(4096, 4096) == 2);
  expect("clusters: one row of tiles", blocks(128, 32768) == 1);
  expect("clusters: three rows of tiles in one round", blocks(384, 22 * 256) == 2);
  expect("clusters: three rows of tiles, where empty tiles would take another round", blocks(384, 34 * 256) == 1);
  expect("clusters: 132 tiles in a column", blocks(132 * 128, 128, 128) == 2);
  expect("clusters: 131 tiles in a column", blocks(131 * 128, 128, 128) == 2);
  expect("clusters: each part of split k has its own tiles",
      warpgroup_cluster(768, 768, 128, 256, h100, 7) == 2 && warpgroup_cluster(384, 34 * 256, 128, 256, h100, 2) == 1);
  expect("clusters: one multiprocessor", warpgroup_cluster(4096, 4096, 128, 256, {90, 1, 227 << 10, true}) == 1);
}

// With `rowwise`, the bits of a row must not depend on the number of rows, so the choice must not either.
void test_rowwise() {
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090})
    for (const DType type : {DType::bf16, DType::f32}) {
      GemmShape one = product(1, 768, 8192, type), other = product(5000, 768, 8192, type);
      one.rowwise = other.rowwise = true;
      expect("rowwise: the same for all numbers of rows", choose_gemm(one, d) == choose_gemm(other, d));
      expect("rowwise: no split k", choose_gemm(one, d).splits == 1);
    }
}

// For every shape, the splits cover the inner dimension, none is empty, and their partial sums fit into the workspace.
// Products without a workspace are not split. The workspace never shrinks with a larger shape, so it also suffices for
// fewer rows than planned.
void test_parts() {
  bool covered = true, fits = true, enough = true;
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090})
    for (const DType type : {DType::bf16, DType::f32})
      for (const int64_t n : {8, 64, 200, 768, 4096})
        for (const int64_t k : {1, 512, 1023, 1024, 1100, 4096, 65536})
          for (int64_t m = 1; m <= 4096; m = m * 3 / 2 + 1) {
            GemmShape g = product(m, n, k, type);
            const GemmChoice c = choose_gemm(g, d);
            covered &= c.splits == 1
                           ? c.part >= k
                           : (c.splits - 1) * c.part < k && c.splits * c.part >= k && c.part % gemm_depth == 0;
            fits &= c.splits == 1 || static_cast<size_t>(c.splits * m * n) * sizeof(float) <= g.workspace_bytes;
            enough &= gemm_workspace(m, n, k) <= gemm_workspace(m + 100, n, k + 100);
            g.workspace_bytes = 0;
            fits &= choose_gemm(g, d).splits == 1;
          }
  expect("splits cover the inner dimension, and none is empty", covered);
  expect("splits fit into their workspace", fits);
  expect("a larger product has at least as much workspace", enough);
}

// For every shape, the first candidate is the default choice, and names of candidates are unique. Also tests that a
// tuning table selects candidates by name.
void test_candidates() {
  bool chosen = true, named_once = true, covered = true, fits = true;
  DeviceProperties tf32 = a100;
  tf32.tf32 = true;
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090, tf32})
    for (const DType type : {DType::bf16, DType::f32})
      for (const int64_t n : {8, 64, 200, 4096})
        for (const int64_t k : {1, 1100, 4096})
          for (int64_t m = 1; m <= 4096; m = m * 3 / 2 + 1)
            for (const bool rowwise : {false, true}) {
              GemmShape g = product(m, n, k, type);
              g.rowwise = rowwise;
              const auto all = gemm_candidates(g, d);
              chosen &= all[0] == choose_gemm(g, d);
              std::set<std::string> names;
              for (const GemmChoice& c : all) {
                named_once &= names.insert(variant_name(c)).second;
                covered &= c.splits == 1 ? c.part >= k : (c.splits - 1) * c.part < k && c.splits * c.part >= k;
                fits &= c.splits == 1 || static_cast<size_t>(c.splits * m * n) * sizeof(float) <= g.workspace_bytes;
                chosen &= choose_gemm(g, d, {{gemm_key(g), variant_name(c)}}) == (rowwise ? choose_gemm(g, d) : c);
              }
              if (rowwise) chosen &= all.size() == 1;
            }
  expect(
      "candidates: the default comes first, the tuning table selects any, and rowwise allows the default only", chosen);
  expect("candidates: names are unique", named_once);
  expect("candidates: splits cover the inner dimension", covered);
  expect("candidates: splits fit into their workspace", fits);

  const GemmShape g = product(100, 4096, 4096);
  expect("key", gemm_key(g) == "128 4096 4096 bf16 bf16 bf16 NT");
  expect("key: rows are rounded up to a power of two", gemm_key(product(128, 4096, 4096)) == gemm_key(g));
  expect("key: the rows of a weight's gradient are along k",
      gemm_key(gradient(100, 64, 1000)) == gemm_key(gradient(100, 64, 1024)) &&
          gemm_key(gradient(100, 64, 1000)) != gemm_key(gradient(101, 64, 1000)));
  expect("key: one row more than a power of two changes it", gemm_key(product(129, 4096, 4096)) != gemm_key(g));
  for (const char* name : {"", "tensor 1x1", "warpgroup 128x256", "tensor 64x64 parts parts"})
    expect("an unknown kernel name in the tuning table is ignored",
        choose_gemm(g, a100, {{gemm_key(g), name}}) == choose_gemm(g, a100));
  expect("a tuning table of other products is ignored",
      choose_gemm(g, a100, {{"x", "tensor 128x128"}}) == choose_gemm(g, a100));
  expect("the tuning table's kernel is used",
      choose_gemm(g, a100, {{gemm_key(g), "tensor 64x64"}}) == GemmChoice{GemmKernel::tensor, 64, 64, 3, 1, 4096});
}

// Simulates the gradients of attention without a causal mask: multiprocessors take blocks in the order of their
// numbers. In each step, a block adds to one tile. It waits until the previous block of its head has added to that
// tile. Returns the number of steps until all blocks have ended.
int64_t steps_of(int64_t heads, int64_t blocks, int64_t tiles, int64_t interleaved, int multiprocessors) {
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<int64_t>> free;
  for (int i = 0; i < multiprocessors; ++i) free.push(0);
  std::map<int64_t, std::vector<int64_t>> added;  // by head: when its last block has added to each tile
  int64_t end = 0;
  for (int64_t first = 0; first < heads; first += interleaved)
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t head = first; head < std::min(first + interleaved, heads); ++head) {
        int64_t now = free.top();
        free.pop();
        std::vector<int64_t>& before = added[head];
        before.resize(static_cast<size_t>(tiles), -1);
        for (int64_t& tile : before) tile = now = std::max(now, tile) + 1;
        free.push(now);
        end = std::max(end, now);
      }
  return end;
}

// With several heads, blocks wait little for each other, whatever the number and length of the sequences.
void test_interleaved_heads() {
  for (const int64_t T : {512, 1024, 2048, 4096, 16384})
    for (const int64_t heads : {16, 32, 64, 128}) {
      const int64_t blocks = T / 128, tiles = T / 64, own = interleaved_heads(heads, blocks, tiles, 132);
      const int64_t waves = (heads * blocks + 131) / 132, steps = steps_of(heads, blocks, tiles, own, 132);
      expect("interleaved heads: at least one, at most all heads", own >= 1 && own <= heads);
      if (heads * blocks >= 2 * 132)
        expect("interleaved heads: waits add at most a sixteenth", steps * 16 <= waves * tiles * 17);
      expect("interleaved heads: no slower than one head after the other",
          steps <= steps_of(heads, blocks, tiles, 1, 132));
    }
  expect("interleaved heads: one head", interleaved_heads(1, 128, 256, 132) == 1);
  expect("interleaved heads: long sequences share tiles in the L2 cache", interleaved_heads(16, 128, 256, 132) == 2);
  expect("interleaved heads: short sequences do not wait", interleaved_heads(256, 4, 8, 132) == 132);
}

void test_attention() {
  const int64_t parts[][2] = {{40, 256}, {8192, 256}, {8193, 512}, {32768, 512}, {131072, 1024}};
  for (const auto& [L, part] : parts) expect("splits of cached attention", cached_part(L) == part && part % 64 == 0);
  // Query heads, key heads, and the minimum rows of a long segment: by mma.sync on an A100, an H100 and a 5090, and by
  // wgmma on an H100.
  const int64_t segments[][6] = {{32, 8, 88, 106, 136, 80}, {64, 8, 44, 53, 68, 40}, {16, 8, 176, 212, 272, 160},
      {32, 32, 88, 106, 136, 80}, {128, 128, 33, 33, 34, 20}};
  for (const auto& [H, KH, on_a100, on_h100, on_5090, by_wgmma] : segments)
    expect("long segments of cached attention",
        long_segment(H, KH, false, a100) == on_a100 && long_segment(H, KH, false, h100) == on_h100 &&
            long_segment(H, KH, false, rtx5090) == on_5090 && long_segment(H, KH, true, h100) == by_wgmma);
  expect(
      "drafts are short segments", long_segment(256, 8, false, a100) == 17 && long_segment(256, 8, true, h100) == 17);
  expect("long segments by wgmma", cached_attention_takes_warpgroups(128, DType::bf16, 1, h100) &&
                                       cached_attention_takes_warpgroups(40, DType::bf16, 1, h100));
  expect(
      "long segments that wgmma does not support", !cached_attention_takes_warpgroups(136, DType::bf16, 1, h100) &&
                                                       !cached_attention_takes_warpgroups(128, DType::f16, 1, h100) &&
                                                       !cached_attention_takes_warpgroups(128, DType::u8, 1, h100) &&
                                                       !cached_attention_takes_warpgroups(128, DType::bf16, 3, h100));
  for (const DeviceProperties& d : {a100, rtx3090, plain_h100, rtx5090, b200})
    expect("long segments, other devices", !cached_attention_takes_warpgroups(128, DType::bf16, 1, d));
  expect("pairs per block: 64 if each multiprocessor gets at most one block",
      warpgroup_pairs(256 * 32, h100) == 64 && warpgroup_pairs(132 * 64, h100) == 64 &&
          warpgroup_pairs(132 * 64 + 1, h100) == 128 && warpgroup_pairs(256 * 64, h100) == 128);
  expect("8-bit floats, H100", takes_fp8_warpgroups(h100));
  for (const DeviceProperties& d : {a100, rtx3090, plain_h100, rtx5090, b200})
    expect("8-bit floats, other devices", !takes_fp8_warpgroups(d));
  expect("8-bit floats by mma.sync: a tile for each multiprocessor", fp8_takes_large_tiles(2048, 1408, rtx5090));
  expect("8-bit floats by mma.sync: fewer tiles than multiprocessors, or few rows",
      !fp8_takes_large_tiles(2048, 1280, rtx5090) && !fp8_takes_large_tiles(64, 1 << 20, rtx5090));
  // A gated product has the columns of both factors.
  GemmShape gated = product(2048, 2 * 5632, 2048), single = product(2048, 2 * 5632, 2048);
  gated.gated = true;
  expect("a gated product", choose_gemm(gated, h100), choose_gemm(single, h100));
  expect("a gated product's key", gemm_key(gated) == gemm_key(single) + "*");
  const GemmTable measured{{gemm_key(gated), "tensor 128x128"}, {gemm_key(single), "tensor 64x64"}};
  expect("a gated product uses its own entry in the tuning table", choose_gemm(gated, h100, measured),
      {GemmKernel::tensor, 128, 128, 3, 1, 2048});
  expect("another product ignores the entry of a gated one", choose_gemm(single, h100, measured),
      {GemmKernel::tensor, 64, 64, 3, 1, 2048});
  expect("attention, H100", attention_takes_warpgroups(128, 4096, h100) && attention_takes_warpgroups(64, 128, h100) &&
                                attention_takes_warpgroups(72, 200, h100));
  expect("heads of 256, H100",
      attention_takes_warpgroups(256, 4096, h100) && !attention_gradients_take_warpgroups(256, 4096, h100));
  expect("attention gradients, H100",
      attention_gradients_take_warpgroups(128, 4096, h100) && attention_gradients_take_warpgroups(40, 128, h100));
  expect("heads that are too wide and sequences that are too short",
      !attention_takes_warpgroups(264, 4096, h100) && !attention_takes_warpgroups(128, 127, h100) &&
          !attention_gradients_take_warpgroups(64, 100, h100));
  for (const DeviceProperties& d : {a100, rtx3090, plain_h100, rtx5090, b200})
    expect("attention, other devices",
        !attention_takes_warpgroups(128, 4096, d) && !attention_gradients_take_warpgroups(128, 4096, d));
}

// The grids of expert products have one block for every tile of every group, and are within the device's grid limits.
void test_tile_grids() {
  std::mt19937 random(3);
  bool enough = true, tight = true, once = true, possible = true;
  for (int i = 0; i < 2000; ++i) {
    const int64_t groups = 1 + random() % 200;
    int64_t rows = 0, tiles = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t own = random() % 3 == 0 ? 0 : random() % (i % 2 ? 5 : 400);
      rows += own, tiles += (own + 63) / 64;
    }
    enough &= most_group_tiles(rows, groups, 64) >= tiles;
    tight &= most_group_tiles(rows, groups, 64) <= rows / 64 + groups;
    const int64_t columns = 1 + random() % 40, all = most_group_tiles(rows, groups, 64);
    const TileGrid grid(all, columns);
    std::set<std::pair<int64_t, int64_t>> places;
    for (unsigned b = 0; b < grid.blocks && i < 100; ++b) places.insert({b / grid.columns, b % grid.columns});
    once &= i >= 100 || (static_cast<int64_t>(places.size()) == all * columns && grid.blocks == all * columns);
    if (i < 100 && all > 0)
      once &= *places.begin() == std::pair<int64_t, int64_t>{0, 0} &&
              *places.rbegin() == std::pair<int64_t, int64_t>{all - 1, columns - 1};
  }
  // Grids with more than 65535 row tiles, which is the limit of the second grid dimension. There are at most 2^31 - 1
  // pairs of a token and an expert. Results have at most 8 TiB in bf16.
  for (const int64_t pairs :
      {int64_t{4194240}, int64_t{4194304}, int64_t{5000000}, int64_t{1} << 28, (int64_t{1} << 31) - 1})
    for (const int64_t M : {64, 768, 4096, 14336, 28672, 131072}) {
      if (pairs * M > int64_t{1} << 42) continue;
      const int64_t rows = most_group_tiles(pairs, 256, 64), columns = (M + 63) / 64;
      const TileGrid grid(rows, columns);
      possible &= rows > 65535 && grid.blocks == rows * columns && grid.blocks <= 0x7fffffffu;
      const unsigned last = grid.blocks - 1;
      possible &= last / grid.columns == rows - 1 && last % grid.columns == columns - 1;
    }
  expect("tiles of groups: the bound covers every distribution", enough);
  expect("tiles of groups: the bound has at most one extra tile per group", tight);
  expect("tiles of groups: every tile has exactly one block", once);
  expect("tiles of groups: the grid is within device limits", possible);
}

// The kernels and tiles of expert products. Both the number of pairs and the widths decide.
void test_experts() {
  const auto is = [](const char* what, const ExpertChoice& got, const ExpertChoice& want) {
    expect(what, got == want);
  };
  constexpr ExpertKernel few = ExpertKernel::few_pairs, plain = ExpertKernel::multiply_add,
                         tensor = ExpertKernel::tensor;
  const ExpertChoice small{tensor, 64, 64};
  // {pairs, experts, columns, forward, rowwise, tensor_cores}
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090, b200}) {
    is("one token, 2 of 8 experts", choose_experts({2, 8, 5632, true, false, true}, d), {few, 1, 1});
    is("16 tokens, 1 of 128 experts", choose_experts({16, 128, 768, true, false, true}, d), {few, 1, 1});
    is("8 tokens, 2 of 8 experts", choose_experts({16, 8, 5632, true, false, true}, d), small);
    is("8 tokens, 2 of 8 experts, f32", choose_experts({16, 8, 5632, true, false, false}, d), {few, 1, 1});
    is("one token, rowwise", choose_experts({2, 8, 5632, true, true, true}, d), small);
    is("one token, gradient", choose_experts({2, 8, 2048, false, false, true}, d), small);
    is("512 pairs, 64 per expert", choose_experts({512, 8, 5632, true, false, true}, d), small);
    is("64 columns", choose_experts({8192, 8, 64, true, false, true}, d), small);
    is("few large tiles", choose_experts({1024, 2, 256, true, false, true}, d), small);
    is("8192 pairs, f32", choose_experts({8192, 8, 5632, true, false, false}, d), {plain, 64, 64});
    is("weights, f32", choose_expert_gradient(5632, 2048, 8, false, d), {plain, 64, 64});
    is("weights of 64 columns", choose_expert_gradient(5632, 64, 8, true, d), small);
    is("few weights", choose_expert_gradient(128, 128, 8, true, d), small);
  }
  for (const DeviceProperties& d : {a100, h100, b200}) {
    is("8192 pairs", choose_experts({8192, 8, 5632, true, false, true}, d), {tensor, 128, 128});
    is("8192 pairs, gradient", choose_experts({8192, 8, 2048, false, false, true}, d), {tensor, 128, 128});
    is("weights", choose_expert_gradient(5632, 2048, 8, true, d), {tensor, 128, 128});
  }
  is("8192 pairs, RTX 3090", choose_experts({8192, 8, 5632, true, false, true}, rtx3090), {tensor, 128, 128});
  is("weights, RTX 5090", choose_expert_gradient(5632, 2048, 8, true, rtx5090), {tensor, 128, 128});
}

}  // namespace

int main() {
  test_experts();
  test_attention();
  test_interleaved_heads();
  test_tile_grids();
  test_table();
  test_gradients();
  test_clusters();
  test_rowwise();
  test_parts();
  test_candidates();
  if (!failures) std::printf("every shape has the kernel that the table names\n");
  return failures ? 1 : 0;
}
