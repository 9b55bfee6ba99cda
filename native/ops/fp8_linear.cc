// y = x W^T + bias with W (M, K) in e4m3 and one scale per 128 x 128 block (ops/fp8.h). With the attribute fp8,
// x is first rounded to e4m3 in groups of 128, for tensor cores that multiply 8-bit floats. The gradient of the input
// ignores this rounding.
#include "ops/fp8.h"

#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"
#include "core/error.h"

namespace heddle {

void fp8_quantize(const float* from, int64_t rows, int64_t columns, uint8_t* to, float* scales, int64_t first_row) {
  for (int64_t row0 = 0; row0 < rows; row0 += fp8_block)
    for (int64_t column0 = 0; column0 < columns; column0 += fp8_block) {
      const int64_t row_end = row0 + fp8_block < rows ? row0 + fp8_block : rows;
      const int64_t column_end = column0 + fp8_block < columns ? column0 + fp8_block : columns;
      float largest = 0;
      for (int64_t i = row0; i < row_end; ++i)
        for (int64_t j = column0; j < column_end; ++j) {
          const float magnitude = std::fabs(from[i * columns + j]);
          if (!std::isfinite(magnitude))
            throw Error("NUMERICAL", "fp8: expected finite numbers, got " + std::to_string(from[i * columns + j]) +
                                         " in row " + std::to_string(first_row + i));
          largest = std::fmax(largest, magnitude);
        }
      const float inverse = largest > fp8_least ? fp8_largest / largest : 0.0f;
      for (int64_t i = row0; i < row_end; ++i)
        for (int64_t j = column0; j < column_end; ++j)
          to[i * columns + j] = float_to_e4m3(from[i * columns + j] * inverse);
      *scales++ = largest > fp8_least ? largest / fp8_largest : 0.0f;
    }
}

void round_to_fp8(float* x, int64_t n) {
  for (int64_t begin = 0; begin < n; begin += fp8_block) {
    const int64_t end = begin + fp8_block < n ? begin + fp8_block : n;
    float largest = 0;
    bool finite = true;
    for (int64_t i = begin; i < end; ++i) largest = std::fmax(largest, std::fabs(x[i])), finite &= std::isfinite(x[i]);
    const float inverse = largest > fp8_least ? fp8_largest / largest : 0.0f, scale = largest / fp8_largest;
    for (int64_t i = begin; i < end; ++i) x[i] = finite ? e4m3_to_float(float_to_e4m3(x[i] * inverse)) * scale : NAN;
  }
}

namespace {

constexpr unsigned u8_only = type_bit(DType::u8);

void check_weight(const Check& c, Operand w, Operand scale) {
  c.rank(w, 2), c.dtype(w, u8_only);
  c.rank(scale, 2), c.dtype(scale, f32_only), c.shape(scale, {fp8_blocks(w.shape()[0]), fp8_blocks(w.shape()[1])});
}

// x (N, K), w (M, K), scale (fp8_blocks(M), fp8_blocks(K)), bias? (M) -> y (N, M)
void check_linear(const Node& n) {
  Check c("fp8_linear", n, 3, 4, 1, 1);
  const Operand x = c.in(0, "x"), w = c.in(1, "w"), scale = c.in(2, "scale"), y = c.out(0, "y");
  c.rank(x, 2), c.dtype(x, activation_types);
  check_weight(c, w, scale);
  c.same_dim(x, 1, w, 1);
  c.attr_flag("fp8"), c.attr_flag("rowwise");
  if (c.has(3)) {
    const Operand bias = c.in(3, "bias");
    c.rank(bias, 1), c.dtype(bias, float_types), c.same_dim(bias, 0, w, 0);
  }
  c.dtype(y, activation_types), c.shape(y, {x.shape()[0], w.shape()[0]});
}

// Reads row m of w. Products of scale and byte are rounded to float, as in the kernels.
void load_weights(const Tensor& w, const Tensor& scale, int64_t m, Row& row) {
  const int64_t K = w.shape[1];
  const uint8_t* bytes = w.as<uint8_t>() + m * K;
  const float* scales = scale.as<float>() + m / fp8_block * fp8_blocks(K);
  for (int64_t k = 0; k < K; ++k) row[k] = scales[k / fp8_block] * e4m3_to_float(bytes[k]);
}

void linear(const Node& n) {
  const Tensor &x = n.in[0], &w = n.in[1], &y = n.out[0];
  const int64_t N = x.shape[0], K = x.shape[1], M = y.shape[1];
  Row xs = load_all(x), row(K), sum(static_cast<size_t>(N * M));
  if (n.attr_flag("fp8")) {
    std::vector<float> rounded(static_cast<size_t>(K));
    for (int64_t i = 0; i < N; ++i) {
      for (int64_t k = 0; k < K; ++k) rounded[k] = static_cast<float>(xs[i * K + k]);
      round_to_fp8(rounded.data(), K);
      for (int64_t k = 0; k < K; ++k) xs[i * K + k] = rounded[k];
    }
  }
  const bool narrow = n.attributes->flag("bf16");
  if (narrow) round_to_bf16(xs);
  for (int64_t m = 0; m < M; ++m) {
    load_weights(w, n.in[2], m, row);
    if (narrow) round_to_bf16(row);
    const double bias = n.has_input(3) ? load_float(n.in[3], m) : 0;
    for (int64_t i = 0; i < N; ++i) sum[i * M + m] = bias + dot(xs.data() + i * K, row.data(), K);
  }
  store_row(y, 0, sum);
}

// dy (N, M), w, scale -> dx (N, K)
void check_backward(const Node& n) {
  Check c("fp8_linear_backward_input", n, 3, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), w = c.in(1, "w"), dx = c.out(0, "dx");
  c.rank(dy, 2), c.dtype(dy, activation_types);
  check_weight(c, w, c.in(2, "scale"));
  c.same_dim(dy, 1, w, 0);
  c.dtype(dx, activation_types), c.shape(dx, {dy.shape()[0], w.shape()[1]});
}

void backward(const Node& n) {
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  const int64_t N = dy.shape[0], M = dy.shape[1], K = dx.shape[1];
  const Row dys = load_all(dy);
  Row row(K), sum(static_cast<size_t>(N * K));
  for (int64_t m = 0; m < M; ++m) {
    load_weights(w, n.in[2], m, row);
    for (int64_t i = 0; i < N; ++i)
      for (int64_t k = 0; k < K; ++k) sum[i * K + k] += dys[i * M + m] * row[k];
  }
  store_row(dx, 0, sum);
}

// OpDef::alternative: rounds activations and weights to bf16, which is more exact than activations in e4m3.
bool bf16_for_e4m3(Attributes& a) {
  if (!a.flag("fp8") || a.flag("rowwise")) return false;
  a.set("fp8", 0), a.set("bf16", 1);
  return true;
}

HEDDLE_OP(fp8_linear_op,
    {"fp8_linear", 3, 4, 1, check_linear, linear, 0, 0, false, false, false, nullptr, false, nullptr, bf16_for_e4m3});
HEDDLE_OP(fp8_linear_backward_input_op, {"fp8_linear_backward_input", 3, 3, 1, check_backward, backward});

}  // namespace
}  // namespace heddle
