// y = x W^T + bias with W (M, K) as in PyTorch. With `transposed`, y = x W with W (K, M) as in GPT-2's Conv1D. W may be
// quantized. With the attribute int8, x is first rounded to 8 bits by groups (ops/quant.h), for kernels that multiply
// integers. With bf16 = 1, x is first rounded to bf16, and with bf16 = 2, W too. Kernels may use bf16 = 2 instead of
// int8, except for `rowwise` nodes, whose rows must not depend on the rest of the batch.
#include "ops/linear.h"

#include <cmath>

#include "ops/check.h"

namespace heddle {
namespace {

// x (N, K), w, bias? (M) -> y (N, M). y may be f32 with a bf16 x, for logits in full precision.
void check_linear(const Node& n) {
  Check c("linear", n, 2, 3, 1, 1);
  const Operand x = c.in(0, "x"), w = c.in(1, "w"), y = c.out(0, "y");
  const int m = output_axis(c.attr_flag("transposed"));
  c.rank(x, 2), c.dtype(x, activation_types);
  c.rank(w, 2), c.dtype(w, weight_types), c.same_dim(x, 1, w, 1 - m);
  if (c.has(2)) {
    const Operand bias = c.in(2, "bias");
    c.rank(bias, 1), c.dtype(bias, float_types), c.same_dim(bias, 0, w, m);
  }
  c.dtype(y, activation_types), c.shape(y, {x.shape()[0], w.shape()[m]});
}

Row rounded(const Tensor& x) {
  Row rows = load_all(x);
  const int64_t K = x.shape[1];
  std::vector<float> row(static_cast<size_t>(K));
  for (int64_t i = 0; i < x.shape[0]; ++i) {
    for (int64_t k = 0; k < K; ++k) row[k] = static_cast<float>(rows[i * K + k]);
    round_activations(row.data(), K);
    for (int64_t k = 0; k < K; ++k) rows[i * K + k] = row[k];
  }
  return rows;
}

Row rounded_bf16(const Tensor& x) {
  Row rows = load_all(x);
  round_to_bf16(rows);
  return rows;
}
// OpDef::alternative: replaces int8 by bf16 = 2.
bool bf16_for_int8(Attributes& a) {
  if (!a.flag("int8") || a.flag("rowwise")) return false;
  a.set("int8", 0), a.set("bf16", 2);
  return true;
}

}  // namespace

Row linear_sums(const Node& n, const Tensor& w, const Tensor* bias_of) {
  const Tensor& x = n.in[0];
  const int64_t N = x.shape[0], K = x.shape[1], M = w.shape[output_axis(n.attr_flag("transposed"))];
  const Row xs = n.attr_flag("int8") ? rounded(x) : n.attr_flag("bf16") ? rounded_bf16(x) : load_all(x);
  Row sum(static_cast<size_t>(N * M));
  if (bias_of) {
    const Row bias = load_all(*bias_of);
    for (int64_t i = 0; i < N * M; ++i) sum[i] = bias[i % M];
  }
  const bool narrow = n.attributes->get("bf16", 0) == 2;
  const auto load_weights = [&](int64_t from, Row& row) {
    load_row(w, from, static_cast<int64_t>(row.size()), row.data());
    if (narrow) round_to_bf16(row);
  };
  if (n.attr_flag("transposed")) {
    Row row(M);
    for (int64_t k = 0; k < K; ++k) {
      load_weights(k * M, row);
      for (int64_t i = 0; i < N; ++i)
        for (int64_t m = 0; m < M; ++m) sum[i * M + m] += xs[i * K + k] * row[m];
    }
  } else {
    Row row(K);
    for (int64_t m = 0; m < M; ++m) {
      load_weights(m * K, row);
      for (int64_t i = 0; i < N; ++i) sum[i * M + m] += dot(xs.data() + i * K, row.data(), K);
    }
  }
  return sum;
}

Row linear_backward_input_sums(const Node& n) {
  const Tensor &dy = n.in[0], &w = n.in[1], &dx = n.out[0];
  const int64_t N = dy.shape[0], M = dy.shape[1], K = dx.shape[1];
  const Row dys = load_all(dy);
  Row sum(static_cast<size_t>(N * K));
  if (n.attr_flag("transposed")) {
    Row row(M);
    for (int64_t k = 0; k < K; ++k) {
      load_row(w, k * M, M, row.data());
      for (int64_t i = 0; i < N; ++i) sum[i * K + k] = dot(dys.data() + i * M, row.data(), M);
    }
  } else {
    Row row(K);
    for (int64_t m = 0; m < M; ++m) {
      load_row(w, m * K, K, row.data());
      for (int64_t i = 0; i < N; ++i)
        for (int64_t k = 0; k < K; ++k) sum[i * K + k] += dys[i * M + m] * row[k];
    }
  }
  return sum;
}

namespace {

void linear(const Node& n) { store_row(n.out[0], 0, linear_sums(n, n.in[1], n.has_input(2) ? &n.in[2] : nullptr)); }

// dy (N, M), w -> dx (N, K)
void check_linear_backward_input(const Node& n) {
  Check c("linear_backward_input", n, 2, 2, 1, 1);
  const Operand dy = c.in(0, "dy"), w = c.in(1, "w"), dx = c.out(0, "dx");
  const int m = output_axis(c.attr_flag("transposed"));
  c.rank(dy, 2), c.dtype(dy, activation_types);
  c.rank(w, 2), c.dtype(w, weight_types), c.same_dim(dy, 1, w, m);
  c.dtype(dx, activation_types), c.shape(dx, {dy.shape()[0], w.shape()[1 - m]});
}

void linear_backward_input(const Node& n) { store_row(n.out[0], 0, linear_backward_input_sums(n)); }

// dy (N, M), x (N, K) -> dw f32, in the layout of w
void check_linear_backward_weight(const Node& n) {
  Check c("linear_backward_weight", n, 2, 2, 1, 1);
  const Operand dy = c.in(0, "dy"), x = c.in(1, "x"), dw = c.out(0, "dw");
  const bool transposed = c.attr_flag("transposed");
  c.rank(dy, 2), c.dtype(dy, activation_types);
  c.rank(x, 2), c.dtype(x, activation_types), c.same_dim(x, 0, dy, 0);
  const int64_t M = dy.shape()[1], K = x.shape()[1];
  c.dtype(dw, f32_only), c.shape(dw, {transposed ? K : M, transposed ? M : K});
}

void linear_backward_weight(const Node& n) {
  const bool transposed = n.attr_flag("transposed");
  // dw = left^T right, with the operands in the order of w's axes.
  const Tensor &left = n.in[transposed ? 1 : 0], &right = n.in[transposed ? 0 : 1], &dw = n.out[0];
  const int64_t N = left.shape[0], A = left.shape[1], B = right.shape[1];
  Row sum(static_cast<size_t>(A * B)), l(A), r(B);
  for (int64_t i = 0; i < N; ++i) {
    load_row(left, i * A, A, l.data());
    load_row(right, i * B, B, r.data());
    for (int64_t a = 0; a < A; ++a)
      for (int64_t b = 0; b < B; ++b) sum[a * B + b] += l[a] * r[b];
  }
  store_row(dw, 0, sum);
}

// dy (N, M) -> (M) f32: the gradient of a bias.
void check_column_sum(const Node& n) {
  Check c("column_sum", n, 1, 1, 1, 1);
  const Operand dy = c.in(0, "dy"), y = c.out(0, "y");
  c.rank(dy, 2), c.dtype(dy, activation_types);
  c.dtype(y, f32_only), c.shape(y, {dy.shape()[1]});
}

void column_sum(const Node& n) {
  const Tensor& dy = n.in[0];
  const int64_t N = dy.shape[0], M = dy.shape[1];
  Row sum(M), row(M);
  for (int64_t i = 0; i < N; ++i) {
    load_row(dy, i * M, M, row.data());
    for (int64_t m = 0; m < M; ++m) sum[m] += row[m];
  }
  store_row(n.out[0], 0, sum);
}

// Column sums may cancel, so their errors are relative to the sum of the terms' magnitudes. For example, the gradient
// of a key bias is zero except for rounding, because softmax is invariant to a common shift of the scores.
SumBounds column_sum_bounds(const Node& n) {
  const Tensor& dy = n.in[0];
  const int64_t N = dy.shape[0], M = dy.shape[1];
  SumBounds bounds{sum_rounding(N), std::vector<double>(static_cast<size_t>(M))};
  Row row(M);
  for (int64_t i = 0; i < N; ++i) {
    load_row(dy, i * M, M, row.data());
    for (int64_t m = 0; m < M; ++m) bounds.magnitudes[m] += std::fabs(row[m]);
  }
  return bounds;
}

HEDDLE_OP(linear_op,
    {"linear", 2, 3, 1, check_linear, linear, 0, 0, false, false, false, by_rows<0b1>, false, nullptr, bf16_for_int8});
HEDDLE_OP(
    linear_backward_input_op, {"linear_backward_input", 2, 2, 1, check_linear_backward_input, linear_backward_input});
HEDDLE_OP(linear_backward_weight_op,
    {"linear_backward_weight", 2, 2, 1, check_linear_backward_weight, linear_backward_weight});
HEDDLE_OP(column_sum_op, {"column_sum", 1, 1, 1, check_column_sum, column_sum, 0, 0, false, false, false, nullptr,
                             false, column_sum_bounds});

}  // namespace
}  // namespace heddle
