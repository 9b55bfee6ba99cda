// Layer normalization (Ba et al. 2016) with an optional preceding residual addition, and its gradient.
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

struct Moments {
  double mean, scale;  // scale = 1 / sqrt(variance + eps)
};

Moments moments(const Row& h, double eps) {
  double mean = 0, variance = 0;
  for (double v : h) mean += v;
  mean /= h.size();
  for (double v : h) variance += (v - mean) * (v - mean);
  return {mean, 1 / std::sqrt(variance / h.size() + eps)};
}

// x (.., C), w (C), b? (C), residual? like x -> y like x or bf16, and h = x + residual if there is a residual.
void check_layer_norm(const Node& n) {
  const bool residual = n.has_input(3);
  Check c("layer_norm", n, 2, 4, residual ? 2 : 1, residual ? 2 : 1);
  const Operand x = c.in(0, "x"), w = c.in(1, "w"), y = c.out(0, "y");
  c.rank_at_least(x, 1), c.dtype(x, activation_types), c.positive(x, x.shape().rank - 1);
  c.rank(w, 1), c.dtype(w, float_types), c.same_dim(x, x.shape().rank - 1, w, 0);
  if (c.has(2)) {
    const Operand b = c.in(2, "b");
    c.same_shape(b, w), c.dtype(b, float_types);
  }
  c.same_shape(y, x), c.same_dtype_or_bf16(y, x);
  if (residual) {
    const Operand r = c.in(3, "residual"), h = c.out(1, "h");
    c.same_shape(r, x), c.same_dtype(r, x);
    c.same_shape(h, x), c.same_dtype(h, x);
  }
  c.attr("eps", 0, 1);
}

void layer_norm(const Node& n) {
  const Tensor& x = n.in[0];
  const int64_t C = x.shape.last(), rows = x.shape.rows();
  const double eps = n.attr("eps");
  const bool residual = n.has_input(3);
  const Row w = load_all(n.in[1]), b = n.has_input(2) ? load_all(n.in[2]) : Row(C);
  Row h(C), r(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(x, i * C, C, h.data());
    if (residual) {
      load_row(n.in[3], i * C, C, r.data());
      for (int64_t j = 0; j < C; ++j) h[j] += r[j];
      store_row(n.out[1], i * C, h);
      load_row(n.out[1], i * C, C, h.data());  // normalizes h as stored, which is what the rest of the network reads
    }
    const Moments m = moments(h, eps);
    for (int64_t j = 0; j < C; ++j) h[j] = (h[j] - m.mean) * m.scale * w[j] + b[j];
    store_row(n.out[0], i * C, h);
  }
}

// dy, h, w, dh? -> dx (the norm's gradient + dh), dw (C) f32, db (C) f32
void check_layer_norm_backward(const Node& n) {
  Check c("layer_norm_backward", n, 3, 4, 3, 3);
  const Operand dy = c.in(0, "dy"), h = c.in(1, "h"), w = c.in(2, "w");
  c.rank_at_least(dy, 1), c.dtype(dy, activation_types), c.positive(dy, dy.shape().rank - 1);
  c.same_shape(h, dy), c.dtype(h, activation_types);
  c.rank(w, 1), c.dtype(w, float_types), c.same_dim(dy, dy.shape().rank - 1, w, 0);
  if (c.has(3)) {
    const Operand dh = c.in(3, "dh");
    c.same_shape(dh, dy), c.dtype(dh, activation_types);
  }
  const Operand dx = c.out(0, "dx"), dw = c.out(1, "dw"), db = c.out(2, "db");
  c.same_shape(dx, dy), c.dtype(dx, activation_types);
  c.same_shape(dw, w), c.dtype(dw, f32_only);
  c.same_shape(db, w), c.dtype(db, f32_only);
  c.attr("eps", 0, 1);
}

void layer_norm_backward(const Node& n) {
  const Tensor& dy = n.in[0];
  const int64_t C = dy.shape.last(), rows = dy.shape.rows();
  const double eps = n.attr("eps");
  const Row w = load_all(n.in[2]);
  Row g(C), h(C), dh(C), dw(C), db(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(dy, i * C, C, g.data());
    load_row(n.in[1], i * C, C, h.data());
    if (n.has_input(3)) load_row(n.in[3], i * C, C, dh.data());
    const Moments m = moments(h, eps);
    double mean = 0, projection = 0;
    for (int64_t j = 0; j < C; ++j) {
      h[j] = (h[j] - m.mean) * m.scale;
      db[j] += g[j];
      dw[j] += g[j] * h[j];
      g[j] *= w[j];
      mean += g[j] / C;
      projection += g[j] * h[j] / C;
    }
    for (int64_t j = 0; j < C; ++j) dh[j] = (n.has_input(3) ? dh[j] : 0) + m.scale * (g[j] - mean - h[j] * projection);
    store_row(n.out[0], i * C, dh);
  }
  store_row(n.out[1], 0, dw);
  store_row(n.out[2], 0, db);
}

HEDDLE_OP(layer_norm_op,
    {"layer_norm", 2, 4, 2, check_layer_norm, layer_norm, 0, 0b1001, false, false, false, by_rows<0b1001>});
HEDDLE_OP(layer_norm_backward_op, {"layer_norm_backward", 3, 4, 3, check_layer_norm_backward, layer_norm_backward});

}  // namespace
}  // namespace heddle
