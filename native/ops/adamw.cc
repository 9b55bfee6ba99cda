// AdamW (Loshchilov & Hutter 2019).
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// Inputs: param, grad f32, m f32, v f32, hyper (7) f32, factor (1) f32.
// hyper = [lr, beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t]. `factor` multiplies the gradient.
// param, m and v change in place. decay = 0 turns weight decay off.
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
  const double lr = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3], correction1 = hyper[5],
               correction2 = hyper[6];
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

HEDDLE_OP(adamw_op, {"adamw", 6, 6, 0, check_adamw, adamw, 0b1101});

}  // namespace
}  // namespace heddle
