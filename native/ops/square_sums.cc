// Sums of squares over pieces of a tensor, in double precision.
#include <algorithm>

#include "core/round.h"
#include "ops/check.h"
#include "ops/double_terms.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// g f32 -> (ceil(elements / piece), 3) f32: the sum of each piece's squares as three floats (double_terms.h).
void check_square_sums(const Node& n) {
  Check c("square_sums", n, 1, 1, 1, 1);
  const int64_t piece = c.attr_int("piece", 1, int64_t{1} << 53);
  const Operand g = c.in(0, "g"), sums = c.out(0, "sums");
  c.dtype(g, f32_only), c.dtype(sums, f32_only);
  c.shape(sums, {ceil_div(g.tensor->shape.size(), piece), double_terms});
}

void square_sums(const Node& n) {
  const int64_t piece = n.attr_int("piece"), size = n.in[0].shape.size();
  const float* g = n.in[0].as<float>();
  float* y = n.out[0].as<float>();
  for (int64_t begin = 0; begin < size; begin += piece, y += double_terms) {
    double sum = 0;
    for (int64_t i = begin, end = std::min(size, begin + piece); i < end; ++i) {
      const double v = g[i];
      sum += v * v;
    }
    store_terms(sum, y);
  }
}

HEDDLE_OP(square_sums_op, {"square_sums", 1, 1, 1, check_square_sums, square_sums});

}  // namespace
}  // namespace heddle
