// fp8_product: both operands are rounded to e4m3 into bf16 copies, which the bf16 kernels multiply. The copies are
// exact, because scales are powers of two.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/round.h"
#include "cpu/nodes/nodes.h"
#include "ops/fp8.h"

namespace heddle {
namespace cpu {
namespace {

// The elements that share a scale: 128 of a row, 128 of a column, or a block of 128 x 128.
enum class Group { row, column, block };

// Rounds n elements, given as the bits of floats. The arithmetic is that of float_to_e4m3, without the encoding and
// without its clamp, because no scaled magnitude exceeds 448.
void round_elements(const uint32_t* bits, const Fp8Scale* of, uint16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t magnitude = bits[i] & 0x7fffffff;
    float x;
    std::memcpy(&x, &magnitude, 4);
    x *= of[i].inverse;
    const float of_subnormal = (x + 16384.0f) - 16384.0f;  // a multiple of 2^-9
    uint32_t normal;
    std::memcpy(&normal, &x, 4);
    normal = (normal + 0x7ffff + (normal >> 20 & 1)) & 0xfff00000;
    float rounded;
    std::memcpy(&rounded, &normal, 4);
    rounded = (x < 0x1p-6f ? of_subnormal : rounded) * of[i].scale;
    uint32_t result;
    std::memcpy(&result, &rounded, 4);
    to[i] = static_cast<uint16_t>((result | (bits[i] & 0x80000000)) >> 16);
  }
}

// Returns the scale of a group with this largest magnitude, given as bits. The bits of infinity and NaN are the
// largest.
Fp8Scale scale_of(uint32_t largest) {
  if (largest >= 0x7f800000) return {NAN, 0};
  float magnitude;
  std::memcpy(&magnitude, &largest, 4);
  return fp8_power_of_two(magnitude);
}

// Rounds rows [row0, row_end) and columns [column0, column_end) of x, at most 128 of each.
void round_block(
    const Tensor& x, Group group, int64_t row0, int64_t row_end, int64_t column0, int64_t column_end, uint16_t* to) {
  constexpr int64_t side = fp8_block;
  const int64_t columns = x.shape[1], wide = column_end - column0, high = row_end - row0;
  uint32_t bits[side][side], largest[side] = {};  // of rows, or of columns
  for (int64_t r = 0; r < high; ++r) {
    const int64_t begin = ((row0 + r) * columns + column0) * static_cast<int64_t>(dtype_bytes(x.dtype));
    float row[side];
    active().convert(static_cast<const char*>(x.data) + begin, x.dtype, row, DType::f32, wide);
    std::memcpy(bits[r], row, static_cast<size_t>(wide) * 4);
    for (int64_t c = 0; c < wide; ++c) {
      const uint32_t magnitude = bits[r][c] & 0x7fffffff;
      uint32_t& most = largest[group == Group::column ? c : group == Group::row ? r : 0];
      most = magnitude > most ? magnitude : most;
    }
  }
  Fp8Scale of[side];
  for (int64_t r = 0; r < high; ++r) {
    if (group == Group::column && r == 0)
      for (int64_t c = 0; c < wide; ++c) of[c] = scale_of(largest[c]);
    else if (group == Group::row || r == 0) std::fill_n(of, wide, scale_of(largest[group == Group::row ? r : 0]));
    round_elements(bits[r], of, to + (row0 + r) * columns + column0, wide);
  }
}

// Rounds x (rows, columns) to bf16 elements in the same layout.
void round_matrix(const Tensor& x, Group group, uint16_t* to, Pool& pool) {
  const int64_t high = fp8_blocks(x.shape[0]), wide = fp8_blocks(x.shape[1]);
  pool.range(high * wide, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / wide * fp8_block, column = i % wide * fp8_block;
      const auto edge = [](int64_t from, int64_t n) { return from + fp8_block < n ? from + fp8_block : n; };
      round_block(x, group, row, edge(row, x.shape[0]), column, edge(column, x.shape[1]), to);
    }
  });
}

size_t copy_bytes(const Tensor& x) { return padded_to_line(static_cast<size_t>(x.shape.size()) * 2); }

bool supports(const Node& n) {
  return is_float(n.in[0]) && is_float(n.in[1]) && is_activation(n.out[0]) && (!n.has_input(2) || is_float(n.in[2]));
}

size_t scratch(const Node& n, int threads) {
  const int64_t k = n.in[0].shape[n.attr_flag("a_transposed") ? 0 : 1];
  return copy_bytes(n.in[0]) + copy_bytes(n.in[1]) +
         active().gemm_scratch(n.out[0].shape[0], n.out[0].shape[1], k, threads);
}

void run(const Node& n, Context& c) {
  const Tensor &a = n.in[0], &b = n.in[1], &to = n.out[0];
  char* const copy = static_cast<char*>(c.scratch);
  Gemm g{};
  g.a_transposed = n.attr_flag("a_transposed"), g.b_transposed = n.attr_flag("b_transposed");
  g.m = to.shape[0], g.n = to.shape[1], g.k = a.shape[g.a_transposed ? 0 : 1];
  g.a = copy, g.a_type = DType::bf16, g.lda = a.shape[1];
  g.b = copy + copy_bytes(a), g.b_type = DType::bf16, g.ldb = b.shape[1];
  g.c = to.data, g.c_type = to.dtype, g.ldc = g.n;
  if (n.has_input(2)) g.bias = n.in[2].data, g.bias_type = n.in[2].dtype;
  round_matrix(a, g.a_transposed ? Group::column : Group::row, reinterpret_cast<uint16_t*>(copy), c.pool);
  round_matrix(b, Group::block, reinterpret_cast<uint16_t*>(copy + copy_bytes(a)), c.pool);
  active().gemm(g, c.pool, copy + copy_bytes(a) + copy_bytes(b));
}

}  // namespace

void register_fp8_product() { add_kernel("fp8_product", "fp8_product", supports, scratch, run); }

}  // namespace cpu
}  // namespace heddle
