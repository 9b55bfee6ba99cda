// The Euclidean norm of all gradients as one vector.
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

HEDDLE_OP(global_norm_op, {"global_norm", 1, any_number, 1, check_global_norm, global_norm});

}  // namespace
}  // namespace heddle
