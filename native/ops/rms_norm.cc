// Root mean square normalization (Zhang & Sennrich 2019) with an optional preceding residual addition, and its
// gradient.
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

void check_attributes(const Check& c) {
  c.attr("eps", 0, 1);
  c.attr("offset", -1e6, 1e6);
}

// x (.., C), w (C), residual? like x -> y like x or bf16, and h = x + residual if there is a residual.
// y = h / sqrt(mean(h^2) + eps) * (offset + w)
void check_rms_norm(const Node& n) {
  const bool residual = n.has_input(2);
  Check c("rms_norm", n, 2, 3, residual ? 2 : 1, residual ? 2 : 1);
  const Operand x = c.in(0, "x"), w = c.in(1, "w"), y = c.out(0, "y");
  c.rank_at_least(x, 1), c.dtype(x, activation_types), c.positive(x, x.shape().rank - 1);
  c.rank(w, 1), c.dtype(w, float_types), c.same_dim(x, x.shape().rank - 1, w, 0);
  c.same_shape(y, x), c.same_dtype_or_bf16(y, x);
  if (residual) {
    const Operand r = c.in(2, "residual"), h = c.out(1, "h");
    c.same_shape(r, x), c.same_dtype(r, x);
    c.same_shape(h, x), c.same_dtype(h, x);
  }
  check_attributes(c);
}

void rms_norm(const Node& n) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t C = x.shape.last(), rows = x.shape.rows();
  const double eps = n.attr("eps"), offset = n.attr("offset");
  const bool residual = n.has_input(2);
  const Row w = load_all(n.in[1]);
  Row h(C), r(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(x, i * C, C, h.data());
    if (residual) {
      load_row(n.in[2], i * C, C, r.data());
      for (int64_t j = 0; j < C; ++j) h[j] += r[j];
      store_row(n.out[1], i * C, h);
      load_row(n.out[1], i * C, C, h.data());  // normalizes h as stored, which is what the rest of the network reads
    }
    const double scale = 1 / std::sqrt(dot(h.data(), h.data(), C) / C + eps);
    for (int64_t j = 0; j < C; ++j) h[j] *= scale * (offset + w[j]);
    store_row(y, i * C, h);
  }
}

// dy, h, w, dh? -> dx (the norm's gradient + dh), dw (C) f32
void check_rms_norm_backward(const Node& n) {
  Check c("rms_norm_backward", n, 3, 4, 2, 2);
  const Operand dy = c.in(0, "dy"), h = c.in(1, "h"), w = c.in(2, "w"), dx = c.out(0, "dx"), dw = c.out(1, "dw");
  c.rank_at_least(dy, 1), c.dtype(dy, activation_types), c.positive(dy, dy.shape().rank - 1);
  c.same_shape(h, dy), c.dtype(h, activation_types);
  c.rank(w, 1), c.dtype(w, float_types), c.same_dim(dy, dy.shape().rank - 1, w, 0);
  if (c.has(3)) {
    const Operand dh = c.in(3, "dh");
    c.same_shape(dh, dy), c.dtype(dh, activation_types);
  }
  c.same_shape(dx, dy), c.dtype(dx, activation_types);
  c.same_shape(dw, w), c.dtype(dw, f32_only);
  check_attributes(c);
}

void rms_norm_backward(const Node& n) {
  const Tensor &dy = n.in[0], &dx = n.out[0];
  const int64_t C = dy.shape.last(), rows = dy.shape.rows();
  const double eps = n.attr("eps"), offset = n.attr("offset");
  const Row w = load_all(n.in[2]);
  Row g(C), h(C), dh(C), dw(C);
  for (int64_t i = 0; i < rows; ++i) {
    load_row(dy, i * C, C, g.data());
    load_row(n.in[1], i * C, C, h.data());
    if (n.has_input(3)) load_row(n.in[3], i * C, C, dh.data());
    const double scale = 1 / std::sqrt(dot(h.data(), h.data(), C) / C + eps);
    for (int64_t j = 0; j < C; ++j) {
      dw[j] += g[j] * h[j] * scale;
      g[j] *= offset + w[j];
    }
    const double projection = dot(g.data(), h.data(), C) / C * scale * scale;
    for (int64_t j = 0; j < C; ++j) dh[j] = (n.has_input(3) ? dh[j] : 0) + scale * (g[j] - h[j] * projection);
    store_row(dx, i * C, dh);
  }
  store_row(n.out[1], 0, dw);
}

HEDDLE_OP(rms_norm_op, {"rms_norm", 2, 3, 2, check_rms_norm, rms_norm, 0, 0b101, false, false, false, by_rows<0b101>});
HEDDLE_OP(rms_norm_backward_op, {"rms_norm_backward", 3, 4, 2, check_rms_norm_backward, rms_norm_backward});

}  // namespace
}  // namespace heddle
