// Gradient clipping by norm (Pascanu et al. 2013). Computes a factor for the update.
#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// norm (1), max (1) -> factor (1), all f32. factor = min(1, max / (norm + 1e-6)), as in PyTorch. max = 0 turns clipping
// off. Otherwise a NaN norm gives a NaN factor, so that it is not mistaken for a small gradient.
void check_clip_factor(const Node& n) {
  Check c("clip_factor", n, 2, 2, 1, 1);
  for (const Operand& a : {c.in(0, "norm"), c.in(1, "max"), c.out(0, "factor")}) c.dtype(a, f32_only), c.shape(a, {1});
}

void clip_factor(const Node& n) {
  const double norm = load_float(n.in[0], 0), max = load_float(n.in[1], 0);
  const double factor = max / (norm + 1e-6);
  store_float(n.out[0], 0, max > 0 && !(factor >= 1) ? static_cast<float>(factor) : 1.0f);
}

HEDDLE_OP(clip_factor_op, {"clip_factor", 2, 2, 1, check_clip_factor, clip_factor});

}  // namespace
}  // namespace heddle
