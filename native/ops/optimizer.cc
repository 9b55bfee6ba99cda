// The update step: gradient norm and clipping, accumulation, and AdamW (Loshchilov & Hutter 2019).
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// n gradients f32 -> (1) f32: the square root of the sum of all squares
void check_global_norm(const Node& n) {
  Check c("global_norm", n, 1, any_number, 1, 1);
  for (size_t i = 0; i < n.in.size(); ++i) c.dtype(c.in(i, "gradient"), f32_only);
  c.dtype(c.out(0, "norm"), f32_only), c.shape(c.out(0, "norm"), {1});
}

void global_norm(const Node& n) {
  double sum = 0;
  for (const Tensor& g : n.in)
    for (int64_t i = 0, count = g.shape.size(); i < count; ++i) {
      const double v = g.as<float>()[i];
      sum += v * v;
    }
  store_float(n.out[0], 0, static_cast<float>(std::sqrt(sum)));
}

// norm (1), max (1) -> factor (1), all f32. A NaN norm gives a NaN factor: it must not pass for a small gradient.
void check_clip_factor(const Node& n) {
  Check c("clip_factor", n, 2, 2, 1, 1);
  for (const Operand& a : {c.in(0, "norm"), c.in(1, "max"), c.out(0, "factor")}) c.dtype(a, f32_only), c.shape(a, {1});
}

void clip_factor(const Node& n) {
  const double norm = load_float(n.in[0], 0), max = load_float(n.in[1], 0);
  const double factor = max / (norm + 1e-6);
  store_float(n.out[0], 0, max > 0 && !(factor >= 1) ? static_cast<float>(factor) : 1.0f);
}

// state f32 = keep * state + g, in place; keep (1) f32. keep = 0 overwrites whatever the state holds, even NaN.
void check_accumulate(const Node& n) {
  Check c("accumulate", n, 3, 3, 0, 0);
  const Operand state = c.in(0, "state"), g = c.in(1, "g"), keep = c.in(2, "keep");
  c.dtype(state, f32_only);
  c.same_shape(g, state), c.dtype(g, activation_types);
  c.dtype(keep, f32_only), c.shape(keep, {1});
}

void accumulate(const Node& n) {
  const double keep = load_float(n.in[2], 0);
  map2(n.in[0], n.in[1], n.in[0], [&](double state, double g) { return keep == 0 ? g : keep * state + g; });
}

// param, grad f32, m f32, v f32, hyper (7) f32 = [lr, beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t],
// factor (1) f32 that multiplies the gradient. param, m and v change in place; decay = 0 leaves weight decay out.
void check_adamw(const Node& n) {
  Check c("adamw", n, 6, 6, 0, 0);
  const Operand param = c.in(0, "param"), hyper = c.in(4, "hyper"), factor = c.in(5, "factor");
  c.dtype(param, activation_types);
  for (const Operand& a : {c.in(1, "grad"), c.in(2, "m"), c.in(3, "v")}) c.same_shape(a, param), c.dtype(a, f32_only);
  c.dtype(hyper, f32_only), c.shape(hyper, {7});
  c.dtype(factor, f32_only), c.shape(factor, {1});
  c.attr_flag("decay");
}

void adamw(const Node& n) {
  const Tensor &param = n.in[0], &grad = n.in[1], &m = n.in[2], &v = n.in[3];
  const Row hyper = load_all(n.in[4]);
  const double lr = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3], correction1 = hyper[5], correction2 = hyper[6];
  const double weight_decay = n.attr_flag("decay") ? hyper[4] : 0, factor = load_float(n.in[5], 0);
  for (int64_t i = 0, count = param.shape.size(); i < count; ++i) {
    const double g = grad.as<float>()[i] * factor;
    const double mean = beta1 * m.as<float>()[i] + (1 - beta1) * g;
    const double square = beta2 * v.as<float>()[i] + (1 - beta2) * g * g;
    m.as<float>()[i] = static_cast<float>(mean);
    v.as<float>()[i] = static_cast<float>(square);
    const double decayed = load_float(param, i) * (1 - lr * weight_decay);  // decay first, as PyTorch's AdamW
    const double step = mean / correction1 / (std::sqrt(square / correction2) + eps);
    store_float(param, i, static_cast<float>(decayed - lr * step));
  }
}

HEDDLE_OP(global_norm_op, {"global_norm", 1, any_number, 1, check_global_norm, global_norm});
HEDDLE_OP(clip_factor_op, {"clip_factor", 2, 2, 1, check_clip_factor, clip_factor});
HEDDLE_OP(accumulate_op, {"accumulate", 3, 3, 0, check_accumulate, accumulate, 0b1});
HEDDLE_OP(adamw_op, {"adamw", 6, 6, 0, check_adamw, adamw, 0b1101});

}  // namespace
}  // namespace heddle
