// Rotary position embedding (Su et al. 2021) over the first R dimensions of each head.
#include <cmath>

#include "ops/check.h"
#include "ops/reference.h"

namespace heddle {
namespace {

// x (N, H, D), positions (N) i32, inv_freq (R/2) or (N, R/2) f32 with R <= D -> y like x.
// Pair i rotates by position * inv_freq[i]. A pair is at (i, i + R/2), or at (2i, 2i + 1) if `interleaved` (for x) or
// `interleaved_out` (for y) is set. Cosine and sine are multiplied by `scale` (YaRN's attention factor). `inverse`
// rotates backwards, which gives the gradient.
void check_rope(const Node& n) {
  Check c("rope", n, 3, 3, 1, 1);
  const Operand x = c.in(0, "x"), positions = c.in(1, "positions"), inv_freq = c.in(2, "inv_freq"), y = c.out(0, "y");
  c.rank(x, 3), c.dtype(x, activation_types);
  c.rank(positions, 1), c.dtype(positions, i32_only), c.same_dim(positions, 0, x, 0);
  c.rank_at_least(inv_freq, 1), c.dtype(inv_freq, f32_only);
  if (inv_freq.shape().rank > 1) c.rank(inv_freq, 2), c.same_dim(inv_freq, 0, x, 0);
  c.positive(inv_freq, inv_freq.shape().rank - 1);
  if (inv_freq.shape().last() * 2 > x.shape()[2])
    c.mismatch("inv_freq: expected to rotate at most " + std::to_string(x.shape()[2]) +
               " dimensions, the size of a head of x, got " + std::to_string(inv_freq.shape().last() * 2));
  c.same_shape(y, x), c.same_dtype(y, x);
  c.attr_flag("interleaved"), c.attr_flag("interleaved_out"), c.attr_flag("inverse");
  c.attr("scale", -1e6, 1e6);
}

void rope(const Node& n) {
  const Tensor &x = n.in[0], &y = n.out[0];
  const int64_t N = x.shape[0], H = x.shape[1], D = x.shape[2], half = n.in[2].shape.last();
  const bool from = n.attr_flag("interleaved"), to = n.attr_flag("interleaved_out");
  const double scale = n.attr("scale"), direction = n.attr_flag("inverse") ? -1 : 1;
  const int64_t per_row = n.in[2].shape.rank > 1 ? half : 0;
  Row row(D), turned(D), cosine(half), sine(half);
  for (int64_t i = 0; i < N; ++i) {
    const float position = static_cast<float>(n.in[1].as<int32_t>()[i]);
    const float* inv_freq = n.in[2].as<float>() + i * per_row;
    for (int64_t j = 0; j < half; ++j) {
      // Rounds the angle to float, as training frameworks do. At large positions the rounding changes results.
      const float angle = position * inv_freq[j];
      cosine[j] = std::cos(static_cast<double>(angle)) * scale;
      sine[j] = std::sin(static_cast<double>(angle)) * scale * direction;
    }
    for (int64_t h = 0; h < H; ++h) {
      const int64_t at = (i * H + h) * D;
      load_row(x, at, D, row.data());
      turned = row;
      for (int64_t j = 0; j < half; ++j) {
        const double a = row[from ? 2 * j : j], b = row[from ? 2 * j + 1 : j + half];
        turned[to ? 2 * j : j] = a * cosine[j] - b * sine[j];
        turned[to ? 2 * j + 1 : j + half] = a * sine[j] + b * cosine[j];
      }
      store_row(y, at, turned);
    }
  }
}

// OpDef::by_rows: frequencies (R/2) are shared by all rows, and frequencies (N, R/2) are row-local.
int rope_rows(const Node& n) { return n.in[2].shape.rank > 1 ? 0b111 : 0b011; }

HEDDLE_OP(rope_op, {"rope", 3, 3, 1, check_rope, rope, 0, 0b001, false, false, false, rope_rows});

}  // namespace
}  // namespace heddle
