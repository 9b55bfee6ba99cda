// Tests which products decode their weights for tensor cores, and in which strips
// (native/cuda/runtime/decoded_weights.h), and the sizes of strips of logits (native/cuda/logits/strips.h).
#include <algorithm>

#include "cuda/logits/strips.h"
#include "cuda/runtime/decoded_weights.h"
#include "cuda_shapes.h"

using namespace heddle;
using namespace heddle::cuda;

namespace {

// Scratch that is planned for a number of rows also has to hold the strips of fewer rows, which may be larger, and the
// strips for wider tiles.
void test_strips() {
  bool enough = true, reached = true;
  for (const int64_t most : {int64_t{8} << 20, int64_t{16} << 20, int64_t{128} << 20, int64_t{8192}})
    for (const int64_t step : {64, 256}) {
      int64_t largest = 0;
      for (int64_t size = 1; size < 70000; size += size < 3000 ? 1 : 37) {
        largest = std::max(largest, logits::strip_width(most, size, step) * size);
        enough &= largest <= logits::strip_bound(most, size, step);
      }
      reached &=
          logits::strip_width(most, most / step, step) * (most / step) == logits::strip_bound(most, most / step, step);
    }
  expect("strips: the bound holds for all smaller sizes", enough);
  expect("strips: the bound is reached", reached);
  // Each row of logits over 151,936 entries has 594 parts in tiles of 256, and 2374 parts in tiles of 64. A strip of
  // 594 parts per row has more rows, and more parts in all.
  expect("strips: with wider tiles, a strip has more parts in all",
      logits::strip_width(8 << 20, 594, 256) * 594 > logits::strip_width(8 << 20, 2374, 256) * 2374);
}

// Quantized weights of experts are decoded if an expert has, on average, more than 32 pairs on cards with HBM, or more
// than 64 on cards with GDDR.
void test_decoded_experts() {
  const auto decodes = [](int64_t pairs, const DeviceProperties& d, bool forward = true, bool rowwise = false) {
    return decodes_expert_weights({pairs, 8, 5632, forward, rowwise, true}, d);
  };
  for (const DeviceProperties& d : {a100, h100, b200})
    expect("decoded experts: more than 32 pairs per expert", !decodes(256, d) && decodes(257, d));
  for (const DeviceProperties& d : {rtx3090, rtx5090})
    expect("decoded experts: more than 64 pairs per expert", !decodes(512, d) && decodes(513, d));
  expect("decoded experts: not for gradients", !decodes(4096, h100, false));
  expect("decoded experts: not in rowwise products", !decodes(4096, h100, true, true));
  expect("decoded experts: not for activations that tensor cores do not take",
      !decodes_expert_weights({4096, 8, 5632, true, false, false}, h100));

  const auto is = [](const char* what, const DecodedExperts& got, int64_t experts, int64_t columns) {
    expect(what, got.experts == experts && got.weights.columns == columns);
  };
  const DType h = DType::bf16, f = DType::f32;
  const size_t most = size_t{64} << 20;
  is("decoded experts: several experts", decoded_experts(128, 768, 2048, h, h, most), 10, 768);
  is("decoded experts: all experts", decoded_experts(4, 64, 64, h, h, most), 4, 64);
  is("decoded experts: strips of one expert", decoded_experts(8, 14336, 4096, h, h, most), 1, 4096);
  is("decoded experts: three terms for f32", decoded_experts(8, 14336, 4096, h, f, most), 1, 2688);
  is("decoded experts: one term for rounded weights", decoded_experts(8, 14336, 4096, h, f, most, true), 1, 8192);
}

// Weights are decoded for tensor cores if there are many rows of bf16, or of f32 where tf32 is allowed.
void test_decoded_weights() {
  const auto decodes = [](int64_t m, const DeviceProperties& d, DType a = DType::bf16, DType c = DType::bf16) {
    GemmShape g = product(m, 4096, 4096, a);
    g.b = DType::q4_k, g.c = c;
    return decodes_weights(g, d);
  };
  for (const DeviceProperties& d : {a100, h100, b200})
    expect("decoded weights: more than one tile of rows", !decodes(64, d) && decodes(65, d));
  for (const DeviceProperties& d : {rtx3090, rtx5090})
    expect("decoded weights: more than two tiles of rows", !decodes(128, d) && decodes(129, d));
  for (const DeviceProperties& d : {a100, h100, b200})
    expect("8-bit activations: up to two tiles of rows", max_rows_in_int8(d) == 128);
  for (const DeviceProperties& d : {rtx3090, rtx5090})
    expect("8-bit activations: up to 16 tiles of rows", max_rows_in_int8(d) == 1024);
  DeviceProperties allowing = a100;
  allowing.tf32 = true;
  expect("decoded weights: f32 needs tf32",
      !decodes(4096, a100, DType::f32, DType::f32) && decodes(4096, allowing, DType::f32, DType::f32));
  expect("decoded weights: f32 results of bf16", decodes(4096, a100, DType::bf16, DType::f32));
  GemmShape g = product(4096, 4096, 4096);
  g.rowwise = true;
  expect("decoded weights: not in rowwise products", !decodes_weights(g, h100));
  g.rowwise = false, g.aligned = false;
  expect("decoded weights: not with unaligned activations", !decodes_weights(g, h100));
  g.aligned = true, g.k = 0;
  expect("decoded weights: not without elements along k", !decodes_weights(g, h100));
  g.k = 4096, g.accumulate = true;
  expect("decoded weights: not added to bf16", !decodes_weights(g, h100));

  const auto is = [](const char* what, const DecodedWeights& got, int terms, int64_t depth, int64_t columns) {
    expect(what, got.terms == terms && got.depth == depth && got.columns == columns);
  };
  constexpr size_t most = size_t{64} << 20;
  is("strips: two terms for bf16", decoded_weights(4096, 4096, DType::bf16, DType::bf16, most), 2, 8192, 4096);
  is("strips: three terms for f32", decoded_weights(4096, 4096, DType::bf16, DType::f32, most), 3, 12288, 2688);
  is("strips: one term for rounded weights", decoded_weights(4096, 4096, DType::bf16, DType::f32, most, true), 1, 4096,
      4096);
  is("strips: tf32", decoded_weights(14336, 4096, DType::f32, DType::f32, most), 1, 4096, 4096);
  is("strips: a long k", decoded_weights(4096, 128256, DType::bf16, DType::bf16, most), 2, 256512, 128);
  is("strips: k is padded", decoded_weights(40, 100, DType::bf16, DType::bf16, most), 2, 256, 48);
  // A strip fits into its limit, unless it has the fewest columns that are possible. If there are several strips, their
  // columns are multiples of a tile. The scratch is the same for any number of rows above rows_never_decoded.
  bool fits = true, whole = true, same = true;
  for (const size_t limit : {size_t{64} << 10, size_t{64} << 20})
    for (const DType a : {DType::bf16, DType::f32})
      for (const DType c : {DType::bf16, DType::f32})
        for (const int64_t k : {32, 100, 4096, 14336, 128256})
          for (const int64_t n : {1, 32, 100, 129, 4096, 128256}) {
            const DecodedWeights d = decoded_weights(n, k, a, c, limit);
            fits &= d.bytes() <= limit || d.columns <= 128;
            fits &= d.type == a && d.depth % gemm_depth == 0 && d.depth >= d.terms * k;
            whole &= d.columns % 128 == 0 ? true : d.columns % 16 == 0 && d.columns >= n;
            same &= decoded_bytes(65, n, k, a, c, limit) == d.bytes() && decoded_bytes(64, n, k, a, c, limit) == 0 &&
                    decoded_bytes(100000, n, k, a, c, limit) == d.bytes();
          }
  expect("strips fit into their limit", fits);
  expect("strips have whole tiles of columns", whole);
  expect("the scratch for decoded weights does not depend on the number of rows", same);
  for (const DeviceProperties& d : {a100, rtx3090, h100, rtx5090, b200})
    expect("no device decodes for so few rows that it has no scratch", max_rows_on_cuda_cores(d) >= rows_never_decoded);
}

}  // namespace

int main() {
  test_decoded_weights();
  test_decoded_experts();
  test_strips();
  if (!failures) std::printf("weights are decoded as described\n");
  return failures ? 1 : 0;
}
