// Routed experts. Each of N rows chooses k of E experts. An expert is a linear layer over the rows that chose it. The
// result of a row is the weighted sum of its experts' outputs. A slot is one of the k choices of a row.
#include "ops/experts.h"

#include "ops/indices.h"

namespace heddle {
namespace {

// logits (N, E) -> weights (N, k) f32, experts (N, k) i32
void check_route(const Node& n) {
  Check c("route_experts", n, 1, 1, 2, 2);
  const Operand logits = c.in(0, "logits"), weights = c.out(0, "weights"), experts = c.out(1, "experts");
  c.rank(logits, 2), c.dtype(logits, activation_types), c.positive(logits, 1);
  c.attr_flag("normalize");
  c.rank(weights, 2), c.dtype(weights, f32_only), c.same_dim(weights, 0, logits, 0);
  c.same_shape(experts, weights), c.dtype(experts, i32_only);
  const int64_t k = weights.shape()[1], E = logits.shape()[1];
  if (k < 1 || k > E)
    c.mismatch("weights: expected 1 to " + std::to_string(E) + " experts a row, got " + std::to_string(k));
}

void route(const Node& n) {
  const int64_t N = n.in[0].shape[0], E = n.in[0].shape[1], k = n.out[0].shape[1];
  for (int64_t r = 0; r < N; ++r)
    route_row(load_row(n.in[0], r * E, E).data(), E, k, n.attr_flag("normalize"), n.out[0].as<float>() + r * k,
        n.out[1].as<int32_t>() + r * k);
}

// dweights (N, k) f32, logits (N, E), experts (N, k) i32 -> dlogits like logits
void check_route_backward(const Node& n) {
  Check c("route_experts_backward", n, 3, 3, 1, 1);
  const Operand dweights = c.in(0, "dweights"), logits = c.in(1, "logits"), experts = c.in(2, "experts");
  c.rank(logits, 2), c.dtype(logits, activation_types);
  c.rank(dweights, 2), c.dtype(dweights, f32_only), c.same_dim(dweights, 0, logits, 0);
  c.same_shape(experts, dweights), c.dtype(experts, i32_only);
  c.same_shape(c.out(0, "dlogits"), logits), c.dtype(c.out(0, "dlogits"), activation_types);
  c.attr_flag("normalize");
}

void route_backward(const Node& n) {
  const int64_t N = n.in[1].shape[0], E = n.in[1].shape[1], k = n.in[0].shape[1];
  check_indices("route_experts_backward", "expert", n.in[2], E);
  Row dlogit(E);
  for (int64_t r = 0; r < N; ++r) {
    route_backward_row(load_row(n.in[1], r * E, E).data(), n.in[2].as<int32_t>() + r * k,
        load_row(n.in[0], r * k, k).data(), E, k, n.attr_flag("normalize"), dlogit.data());
    store_row(n.out[0], r * E, dlogit);
  }
}

void check_experts(const Check& c, Operand experts) {
  c.rank(experts, 2), c.dtype(experts, i32_only), c.positive(experts, 1);
}
// x: (N, K), or (N, k, K) for experts (N, k)
void check_rows(const Check& c, Operand x, Operand experts) {
  c.dtype(x, activation_types), c.same_dim(x, 0, experts, 0);
  if (x.shape().rank == 3) c.same_dim(x, 1, experts, 1);
  else c.rank(x, 2);
}

// x (N, K) or (N, k, K), w (E, M, K), experts (N, k) i32, bias? (E, M) -> y (N, k, M). If the attribute `bf16` is
// 1, x is rounded to bf16 first. If it is 2, w is rounded too. With `may_round`, kernels may round both.
void check_linear(const Node& n) {
  Check c("expert_linear", n, 3, 4, 1, 1);
  const Operand x = c.in(0, "x"), w = c.in(1, "w"), experts = c.in(2, "experts"), y = c.out(0, "y");
  check_experts(c, experts), check_rows(c, x, experts);
  c.rank(w, 3), c.dtype(w, weight_types), c.same_dim(w, 2, x, x.shape().rank - 1);
  if (c.has(3)) {
    const Operand bias = c.in(3, "bias");
    c.rank(bias, 2), c.dtype(bias, float_types), c.same_dim(bias, 0, w, 0), c.same_dim(bias, 1, w, 1);
  }
  c.dtype(y, activation_types), c.shape(y, {experts.shape()[0], experts.shape()[1], w.shape()[1]});
  if (n.attributes->get("bf16", 0) != 0) c.attr_int("bf16", 1, 2);
  if (n.attributes->get("may_round", 0) != 0) c.attr_flag("may_round");
}
// OpDef::alternative: kernels may round x and w.
bool rounds_both(Attributes& a) {
  if (!a.flag("may_round")) return false;
  a.set("bf16", 2);
  return true;
}

ExpertShape shape_of(const Tensor& x, const Tensor& w, const Tensor& experts) {
  return {experts.shape[0], experts.shape[1], w.shape[0], w.shape[2], w.shape[1], x.shape.rank == 3};
}

void linear(const Node& n) {
  const ExpertShape s = shape_of(n.in[0], n.in[1], n.in[2]);
  check_indices("expert_linear", "expert", n.in[2], s.experts);
  const int32_t* expert = n.in[2].as<int32_t>();
  Row x(s.inputs), w(s.inputs), y(s.outputs);
  for (int64_t p = 0; p < s.pairs(); ++p) {
    const int64_t e = expert[p];
    load_row(n.in[0], s.x_row(p) * s.inputs, s.inputs, x.data());
    if (n.attributes->flag("bf16")) round_to_bf16(x);
    if (n.has_input(3)) load_row(n.in[3], e * s.outputs, s.outputs, y.data());
    else y.assign(s.outputs, 0);
    for (int64_t m = 0; m < s.outputs; ++m) {
      load_row(n.in[1], (e * s.outputs + m) * s.inputs, s.inputs, w.data());
      if (n.attributes->get("bf16", 0) == 2) round_to_bf16(w);
      y[m] += dot(x.data(), w.data(), s.inputs);
    }
    store_row(n.out[0], p * s.outputs, y);
  }
}

// dy (N, k, M), w (E, M, K), experts (N, k) -> dx (N, K) or (N, k, K)
void check_backward_input(const Node& n) {
  Check c("expert_linear_backward_input", n, 3, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), w = c.in(1, "w"), experts = c.in(2, "experts"), dx = c.out(0, "dx");
  check_experts(c, experts), check_rows(c, dx, experts);
  c.rank(w, 3), c.dtype(w, weight_types), c.same_dim(w, 2, dx, dx.shape().rank - 1);
  c.dtype(dy, activation_types), c.shape(dy, {experts.shape()[0], experts.shape()[1], w.shape()[1]});
}

void backward_input(const Node& n) {
  const ExpertShape s = shape_of(n.out[0], n.in[1], n.in[2]);
  check_indices("expert_linear_backward_input", "expert", n.in[2], s.experts);
  const int32_t* expert = n.in[2].as<int32_t>();
  Row dx(s.inputs), w(s.inputs), dy(s.outputs);
  for (int64_t p = 0; p < s.pairs(); ++p) {
    if (s.per_slot || p % s.slots == 0) dx.assign(s.inputs, 0);
    load_row(n.in[0], p * s.outputs, s.outputs, dy.data());
    for (int64_t m = 0; m < s.outputs; ++m) {
      load_row(n.in[1], (expert[p] * s.outputs + m) * s.inputs, s.inputs, w.data());
      for (int64_t i = 0; i < s.inputs; ++i) dx[i] += dy[m] * w[i];
    }
    store_row(n.out[0], s.x_row(p) * s.inputs, dx);
  }
}

// dy (N, k, M), x (N, K) or (N, k, K), experts (N, k) -> dw (E, M, K) f32
void check_backward_weight(const Node& n) {
  Check c("expert_linear_backward_weight", n, 3, 3, 1, 1);
  const Operand dy = c.in(0, "dy"), x = c.in(1, "x"), experts = c.in(2, "experts"), dw = c.out(0, "dw");
  check_experts(c, experts), check_rows(c, x, experts);
  c.rank(dw, 3), c.dtype(dw, f32_only), c.same_dim(dw, 2, x, x.shape().rank - 1), c.positive(dw, 0);
  c.dtype(dy, activation_types), c.shape(dy, {experts.shape()[0], experts.shape()[1], dw.shape()[1]});
}

void backward_weight(const Node& n) {
  const ExpertShape s = shape_of(n.in[1], n.out[0], n.in[2]);
  check_indices("expert_linear_backward_weight", "expert", n.in[2], s.experts);
  const int32_t* expert = n.in[2].as<int32_t>();
  Row dw(static_cast<size_t>(s.experts * s.outputs * s.inputs)), x(s.inputs), dy(s.outputs);
  for (int64_t p = 0; p < s.pairs(); ++p) {
    load_row(n.in[0], p * s.outputs, s.outputs, dy.data());
    load_row(n.in[1], s.x_row(p) * s.inputs, s.inputs, x.data());
    double* to = dw.data() + expert[p] * s.outputs * s.inputs;
    for (int64_t m = 0; m < s.outputs; ++m)
      for (int64_t i = 0; i < s.inputs; ++i) to[m * s.inputs + i] += dy[m] * x[i];
  }
  store_row(n.out[0], 0, dw);
}

// dy (N, k, M), experts (N, k) -> (E, M) f32: the gradient of the biases
void check_bias_sum(const Node& n) {
  Check c("expert_bias_sum", n, 2, 2, 1, 1);
  const Operand dy = c.in(0, "dy"), experts = c.in(1, "experts"), y = c.out(0, "dbias");
  check_experts(c, experts);
  c.rank(dy, 3), c.dtype(dy, activation_types), c.same_dim(dy, 0, experts, 0), c.same_dim(dy, 1, experts, 1);
  c.rank(y, 2), c.dtype(y, f32_only), c.same_dim(y, 1, dy, 2), c.positive(y, 0);
}

void bias_sum(const Node& n) {
  const int64_t M = n.in[0].shape[2], E = n.out[0].shape[0], pairs = n.in[1].shape.size();
  check_indices("expert_bias_sum", "expert", n.in[1], E);
  Row sum(static_cast<size_t>(E * M)), dy(M);
  for (int64_t p = 0; p < pairs; ++p) {
    load_row(n.in[0], p * M, M, dy.data());
    for (int64_t m = 0; m < M; ++m) sum[n.in[1].as<int32_t>()[p] * M + m] += dy[m];
  }
  store_row(n.out[0], 0, sum);
}

// y (N, k, M), weights (N, k) f32 -> (N, M)
void check_combine(const Node& n) {
  Check c("combine_experts", n, 2, 2, 1, 1);
  const Operand y = c.in(0, "y"), weights = c.in(1, "weights"), out = c.out(0, "out");
  c.rank(y, 3), c.dtype(y, activation_types), c.positive(y, 1);
  c.dtype(weights, f32_only), c.shape(weights, {y.shape()[0], y.shape()[1]});
  c.dtype(out, activation_types), c.shape(out, {y.shape()[0], y.shape()[2]});
}

void combine(const Node& n) {
  const int64_t N = n.in[0].shape[0], k = n.in[0].shape[1], M = n.in[0].shape[2];
  Row y(M), sum(M);
  for (int64_t r = 0; r < N; ++r) {
    sum.assign(M, 0);
    for (int64_t j = 0; j < k; ++j) {
      load_row(n.in[0], (r * k + j) * M, M, y.data());
      const double weight = load_float(n.in[1], r * k + j);
      for (int64_t m = 0; m < M; ++m) sum[m] += weight * y[m];
    }
    store_row(n.out[0], r * M, sum);
  }
}

// dout (N, M), y (N, k, M), weights (N, k) -> dy (N, k, M), dweights (N, k) f32
void check_combine_backward(const Node& n) {
  Check c("combine_experts_backward", n, 3, 3, 2, 2);
  const Operand dout = c.in(0, "dout"), y = c.in(1, "y"), weights = c.in(2, "weights");
  c.rank(y, 3), c.dtype(y, activation_types);
  c.dtype(dout, activation_types), c.shape(dout, {y.shape()[0], y.shape()[2]});
  c.dtype(weights, f32_only), c.shape(weights, {y.shape()[0], y.shape()[1]});
  c.same_shape(c.out(0, "dy"), y), c.dtype(c.out(0, "dy"), activation_types);
  c.same_shape(c.out(1, "dweights"), weights), c.dtype(c.out(1, "dweights"), f32_only);
}

void combine_backward(const Node& n) {
  for (int64_t r = 0; r < n.in[1].shape[0]; ++r) combine_backward_row(n.in[0], n.in[1], n.in[2], n.out[0], n.out[1], r);
}

HEDDLE_OP(route_op, {"route_experts", 1, 1, 2, check_route, route});
HEDDLE_OP(route_backward_op, {"route_experts_backward", 3, 3, 1, check_route_backward, route_backward});
HEDDLE_OP(linear_op,
    {"expert_linear", 3, 4, 1, check_linear, linear, 0, 0, false, false, false, nullptr, false, nullptr, rounds_both});
HEDDLE_OP(backward_input_op, {"expert_linear_backward_input", 3, 3, 1, check_backward_input, backward_input});
HEDDLE_OP(backward_weight_op, {"expert_linear_backward_weight", 3, 3, 1, check_backward_weight, backward_weight});
HEDDLE_OP(bias_sum_op, {"expert_bias_sum", 2, 2, 1, check_bias_sum, bias_sum});
HEDDLE_OP(combine_op, {"combine_experts", 2, 2, 1, check_combine, combine});
HEDDLE_OP(combine_backward_op, {"combine_experts_backward", 3, 3, 2, check_combine_backward, combine_backward});

}  // namespace
}  // namespace heddle
