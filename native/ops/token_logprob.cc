// Log-probability of one target per row under softmax(h W^T), without materializing the logits, and its gradient.
// A logit is scale * (dot(h, w) + bias), then softcap * tanh(logit / softcap) if softcap > 0 (gemma 2).
#include <cmath>

#include "ops/attention.h"
#include "ops/indices.h"
#include "ops/token_logprob.h"

namespace heddle {
namespace {

void check_operands(const Check& c, Operand h, Operand w, Operand targets) {
  c.rank(h, 2), c.dtype(h, activation_types);
  c.rank(w, 2), c.dtype(w, weight_types), c.same_dim(h, 1, w, 1), c.positive(w, 0);
  c.rank(targets, 1), c.dtype(targets, i32_only), c.same_dim(targets, 0, h, 0);
  c.attr("softcap", 0, 1e6), c.attr("scale", -1e6, 1e6);
}

// Checks the bias (V) f32 of the output head, which models such as Phi have. It is added to the products.
void check_bias(const Check& c, size_t i, Operand w) {
  if (!c.has(i)) return;
  const Operand bias = c.in(i, "bias");
  c.dtype(bias, f32_only), c.shape(bias, {w.shape()[0]});
}

struct Logits {
  double scale, softcap;
  explicit Logits(const Node& n) : scale(n.attr("scale")), softcap(n.attr("softcap")) {}
  double of(double product) const {
    return softcap > 0 ? softcap * std::tanh(product * scale / softcap) : product * scale;
  }
  double gradient(double logit) const {  // d logit / d product
    return softcap > 0 ? scale * (1 - (logit / softcap) * (logit / softcap)) : scale;
  }
};

// h (N, C), w (V, C), targets (N) i32[, bias (V) f32] -> logprob (N) f32, lse (N) f32.
// A target below zero is ignored: its logprob is 0, and its lse may be any finite number (0 here).
void check_token_logprob(const Node& n) {
  Check c("token_logprob", n, 3, 4, 2, 2);
  const Operand h = c.in(0, "h"), logprob = c.out(0, "logprob"), lse = c.out(1, "lse");
  check_operands(c, h, c.in(1, "w"), c.in(2, "targets"));
  check_bias(c, 3, c.in(1, "w"));
  c.dtype(logprob, f32_only), c.shape(logprob, {h.shape()[0]});
  c.dtype(lse, f32_only), c.shape(lse, {h.shape()[0]});
}

void token_logprob(const Node& n) {
  const Tensor &h = n.in[0], &w = n.in[1], &targets = n.in[2];
  const int64_t N = h.shape[0], C = h.shape[1], V = w.shape[0];
  check_indices("token_logprob", "target", targets, V, true);
  const Logits logits(n);
  const Row ws = load_all(w), bias = n.has_input(3) ? load_all(n.in[3]) : Row(V, 0);
  Row row(C), p(V);
  for (int64_t i = 0; i < N; ++i) {
    const int32_t target = targets.as<int32_t>()[i];
    double logprob = 0, lse = 0;
    if (target >= 0) {
      load_row(h, i * C, C, row.data());
      for (int64_t v = 0; v < V; ++v) p[v] = logits.of(dot(row.data(), &ws[v * C], C) + bias[v]);
      const double logit = p[target];
      lse = softmax_in_place(p.data(), V);
      logprob = logit - lse;
    }
    store_float(n.out[0], i, static_cast<float>(logprob));
    store_float(n.out[1], i, static_cast<float>(lse));
  }
}

// dlogprob (N) f32, h, w, targets, lse (N) f32[, dlse (N) f32][, bias (V) f32]
//   -> dh (N, C)[, dw (V, C) f32: not for a quantized w][, dbias (V) f32]
void check_token_logprob_backward(const Node& n) {
  Check c("token_logprob_backward", n, 5, 7, 1, 3);
  const Operand dlogprob = c.in(0, "dlogprob"), h = c.in(1, "h"), w = c.in(2, "w"), lse = c.in(4, "lse");
  check_operands(c, h, w, c.in(3, "targets"));
  c.dtype(dlogprob, f32_only), c.shape(dlogprob, {h.shape()[0]});
  c.dtype(lse, f32_only), c.shape(lse, {h.shape()[0]});
  if (c.has(5)) {
    const Operand dlse = c.in(5, "dlse");
    c.dtype(dlse, f32_only), c.shape(dlse, {h.shape()[0]});
  }
  const Operand dh = c.out(0, "dh");
  c.same_shape(dh, h), c.dtype(dh, activation_types);
  check_bias(c, 6, w);
  const size_t of_bias = logprob_bias_gradient(n);
  if (of_bias != 0) {
    const Operand dbias = c.out(of_bias, "dbias");
    c.dtype(dbias, f32_only), c.shape(dbias, {w.shape()[0]});
    if (!n.has_input(6)) c.in(6, "bias");
  }
  if (!logprob_weight_gradient(n)) return;
  const Operand dw = c.out(1, "dw");
  c.same_shape(dw, w), c.dtype(dw, f32_only), c.dtype(w, float_types);
}

// Probabilities are recomputed in double, because lse carries the kernel's rounding.
void token_logprob_backward(const Node& n) {
  const Tensor &dlogprob = n.in[0], &h = n.in[1], &w = n.in[2], &targets = n.in[3];
  const int64_t N = h.shape[0], C = h.shape[1], V = w.shape[0];
  check_indices("token_logprob_backward", "target", targets, V, true);
  const Logits logits(n);
  const Row ws = load_all(w), bias = n.has_input(6) ? load_all(n.in[6]) : Row(V, 0);
  const bool wanted = logprob_weight_gradient(n);
  Row row(C), logit(V), p(V), dh(C), dw(wanted ? static_cast<size_t>(V * C) : 0), dbias(V, 0);
  for (int64_t i = 0; i < N; ++i) {
    const int32_t target = targets.as<int32_t>()[i];
    dh.assign(C, 0);
    if (target >= 0) {
      load_row(h, i * C, C, row.data());
      for (int64_t v = 0; v < V; ++v) p[v] = logit[v] = logits.of(dot(row.data(), &ws[v * C], C) + bias[v]);
      softmax_in_place(p.data(), V);
      const double upstream = load_float(dlogprob, i);
      const double of_lse = n.has_input(5) ? load_float(n.in[5], i) : 0;  // d lse / d logit is the probability
      for (int64_t v = 0; v < V; ++v) {
        const double dproduct = (upstream * ((v == target ? 1 : 0) - p[v]) + of_lse * p[v]) * logits.gradient(logit[v]);
        dbias[v] += dproduct;
        for (int64_t j = 0; j < C; ++j) {
          dh[j] += dproduct * ws[v * C + j];
          if (wanted) dw[v * C + j] += dproduct * row[j];
        }
      }
    }
    store_row(n.out[0], i * C, dh);
  }
  if (wanted) store_row(n.out[1], 0, dw);
  if (const size_t of_bias = logprob_bias_gradient(n)) store_row(n.out[of_bias], 0, dbias);
}

// Value and gradient in one pass, for a dlogprob that does not depend on the log-probabilities:
// dlogprob (N) f32, h, w, targets[, dlse (N) f32] -> logprob (N), lse (N), dh (N, C)[, dw (V, C) f32].
void check_token_logprob_with_gradient(const Node& n) {
  Check c("token_logprob_with_gradient", n, 4, 5, 3, 4);
  const Operand dlogprob = c.in(0, "dlogprob"), h = c.in(1, "h"), w = c.in(2, "w");
  check_operands(c, h, w, c.in(3, "targets"));
  c.dtype(dlogprob, f32_only), c.shape(dlogprob, {h.shape()[0]});
  if (c.has(4)) {
    const Operand dlse = c.in(4, "dlse");
    c.dtype(dlse, f32_only), c.shape(dlse, {h.shape()[0]});
  }
  const Operand logprob = c.out(0, "logprob"), lse = c.out(1, "lse"), dh = c.out(2, "dh");
  c.dtype(logprob, f32_only), c.shape(logprob, {h.shape()[0]});
  c.dtype(lse, f32_only), c.shape(lse, {h.shape()[0]});
  c.same_shape(dh, h), c.dtype(dh, activation_types);
  if (n.out.size() == 3) return;
  const Operand dw = c.out(3, "dw");
  c.same_shape(dw, w), c.dtype(dw, f32_only), c.dtype(w, float_types);
}

void token_logprob_with_gradient(const Node& n) {
  token_logprob(logprob_part(n));
  token_logprob_backward(logprob_gradient_part(n));
}

HEDDLE_OP(token_logprob_op,
    {"token_logprob", 3, 4, 2, check_token_logprob, token_logprob, 0, 0, false, false, false, nullptr, true});
HEDDLE_OP(token_logprob_backward_op,
    {"token_logprob_backward", 5, 7, 3, check_token_logprob_backward, token_logprob_backward});
HEDDLE_OP(token_logprob_with_gradient_op,
    {"token_logprob_with_gradient", 4, 5, 4, check_token_logprob_with_gradient, token_logprob_with_gradient});

}  // namespace
}  // namespace heddle
